/** What a fabric is opened with, and what it tells while it runs. */

/** Pino's, or anything like it. */
export interface Log {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}
export const silent: Log = { info() {}, warn() {}, error() {} }

export interface FabricOptions {
  /** What nobody asked for: a worker that died, a step that could not be undone. Ports are told by events. */
  log?: Log
  /** Shown by `status`. */
  configFile?: string
  /** Ends `open` and `apply` between two steps: what they did is undone, and they throw its reason. */
  signal?: AbortSignal
  /** Has the names of the namespaces that were made, until they are removed. */
  created?: string[]
  /** How names of remotes are looked up: all addresses of the family. Default: the system's resolver. */
  lookup?: (name: string, family: 4 | 6) => Promise<string[]>
  /** Packets in flight at most; each is SLOT_SIZE bytes of address space. */
  poolSlots?: number
}

/** What became of an address of a router's interface. */
export interface AddressEvent {
  router: string
  interface: string
  address: string
  /** valid with a `mac`: both use it. */
  state: 'tentative' | 'valid' | 'duplicate'
  /** Who else has it; null = nobody. */
  mac: string | null
}

export interface FabricEvents {
  /** A port's device is gone or down. */
  'port-down': [{ switch: string; port: string; errno: number; reason: string }]
  'port-up': [{ switch: string; port: string }]
  address: [AddressEvent]
  /** Another packet length fits the path; `mtu` is what is left for inner IP packets. */
  'remote-mtu': [
    {
      vtep: string
      remote: string
      mtu: number
      pathMtu: number
      source: 'config' | 'device' | 'icmp' | 'probe'
    },
  ]
  /** With `probe: { liveness: true }`. */
  'remote-up': [{ vtep: string; remote: string }]
  'remote-down': [{ vtep: string; remote: string }]
  /** The name of a remote stands for another address; `was` null = it had none. */
  'remote-address': [{ vtep: string; name: string; address: string; was: string | null }]
  'worker-restarted': [{ error: Error }]
  /** The worker died too often; nothing is forwarded any more. */
  failed: [Error]
}
