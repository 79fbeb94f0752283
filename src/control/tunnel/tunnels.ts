/**
 * What goes on at the tunnels of a fabric without anybody asking: paths whose MTU changes, remotes that die and
 * come back, names that get another address. Says so in the log and by events, and draws the consequences.
 *
 *     news                          so
 *     another MTU                   the worker has it at once; devices of the switch get theirs
 *     a remote is down              no floods for it; its stations are forgotten, by the switches too
 *     another address of a name     the worker gets the new list; what was learned of the others stays
 *     an underlay TAP loses packets  its VTEP goes on with sockets
 */
import type { WorkerLink } from '../../engine/worker-link.ts'
import { REMOTE_SHIFT, Remote, stationsOf } from '../../tunnel/tables.ts'
import type { FabricEvents, Log } from '../fabric-options.ts'
import type { Inventory } from '../inventory.ts'
import { deviceMtu, innerMtu, type LiveVtep } from './live-vtep.ts'
import { chooseMtus, PathTable } from './mtu.ts'
import { addressOf, rowOf } from './remote-rows.ts'
import { TICK_MS, VtepWatch, type WatchedRemote, type WatchNews } from './watch.ts'

export interface TunnelOwner {
  inventory: Inventory
  link: WorkerLink
  log: Log
  /** Changes are made one after the other. */
  exclusive<T>(work: () => Promise<T>): Promise<T>
  emit<E extends keyof FabricEvents>(event: E, ...args: FabricEvents[E]): void
}

export interface FlushFilter {
  vtep?: string
  /** Its address. */
  remote?: string
  /** 'switch.port'. */
  port?: string
}

/** How often the underlay's devices are looked at. */
const DEVICE_MS = 500
/** How often devices may get another MTU. */
const CHOOSE_MS = 200

export class Tunnels {
  private readonly owner: TunnelOwner
  private readonly watches = new Map<LiveVtep, VtepWatch>()
  private readonly timer: NodeJS.Timeout
  /** Devices are to get another MTU. */
  private pending = false
  private busy = false
  private lookedMs = 0
  private chosenMs = Number.NEGATIVE_INFINITY
  private readonly news: WatchNews

  constructor(owner: TunnelOwner) {
    this.owner = owner
    this.news = {
      mtu: (vtep, remote, was) => this.mtuChanged(vtep, remote, was),
      state: (vtep, remote, was) => this.stateChanged(vtep, remote, was),
      changed: () => {
        this.pending = true
      },
      trouble: (vtep, reason) => owner.log.warn({ vtep: vtep.name }, `VTEP ${vtep.name}: ${reason}`),
    }
    owner.inventory.tunnels.news = {
      address: (vtep, name, address, was) => this.addressChanged(vtep, name, address, was),
      unknown: (vtep, name, reason) =>
        owner.log.warn(
          { vtep: vtep.name, name },
          `VTEP ${vtep.name}: remote ${name} is not known: ${reason}`,
        ),
    }
    this.timer = setInterval(() => this.tick(), TICK_MS)
    this.timer.unref()
  }

  watchOf(vtep: LiveVtep): VtepWatch | undefined {
    return this.watches.get(vtep)
  }

  /** The worker met EMSGSIZE at the VTEP whose port index this is. */
  poke(index: number): void {
    for (const [vtep, watch] of this.watches) if (vtep.index === index) watch.poke()
  }

  /** After changes, in the same turn: what tunnels mean for MTUs is in force when it returns. */
  async settle(): Promise<void> {
    this.look()
    await this.chooseMtus()
  }

  private tick(): void {
    if (this.owner.inventory.tunnels.vteps.size === 0 && this.watches.size === 0) return
    this.look()
    // Remotes that are only learned may come and go all the time.
    if (!this.pending || this.busy || performance.now() - this.chosenMs < CHOOSE_MS) return
    this.busy = true
    this.owner
      .exclusive(() => this.chooseMtus())
      .catch((error: Error) => this.owner.log.error({}, `MTU of devices: ${error.message}`))
      .finally(() => {
        this.busy = false
      })
  }

  private look(): void {
    const { vteps } = this.owner.inventory.tunnels
    const nowMs = performance.now()
    for (const [vtep, watch] of this.watches) {
      if (vteps.get(vtep.name) === vtep) continue
      watch.close()
      this.watches.delete(vtep)
    }
    const looked = nowMs - this.lookedMs >= DEVICE_MS
    if (looked) this.lookedMs = nowMs
    for (const vtep of vteps.values()) {
      if (!this.watches.has(vtep)) this.watches.set(vtep, new VtepWatch(vtep, this.news))
      this.watches.get(vtep)!.tick(nowMs)
      if (!looked) continue
      if (deviceMtu(vtep) !== vtep.mtu) this.refresh(vtep)
      if (vtep.underlay?.loses()) this.leaveUnderlay(vtep)
    }
  }

  private refreshing = new Set<LiveVtep>()

  private refresh(vtep: LiveVtep): void {
    if (this.refreshing.has(vtep)) return
    this.refreshing.add(vtep)
    const { inventory, log, exclusive } = this.owner
    exclusive(async () => {
      if (inventory.tunnels.vteps.get(vtep.name) !== vtep) return
      const was = vtep.mtu
      if (!(await inventory.tunnels.refreshMtu(vtep))) return
      this.pending = true
      log.info(
        { vtep: vtep.name, mtu: vtep.mtu, was },
        `VTEP ${vtep.name}: the underlay takes ${vtep.mtu} bytes`,
      )
    })
      .catch((error: Error) => log.error({ vtep: vtep.name }, error.message))
      .finally(() => this.refreshing.delete(vtep))
  }

  private leaveUnderlay(vtep: LiveVtep): void {
    const { inventory, log, exclusive } = this.owner
    exclusive(async () => {
      if (inventory.tunnels.vteps.get(vtep.name) !== vtep || vtep.underlay === null) return
      const device = vtep.underlay.name
      await inventory.tunnels.leaveUnderlay(vtep)
      const why = `the kernel does not forward what ${device} hands over (FORWARD rules, reverse path filter?)`
      log.warn({ vtep: vtep.name, device }, `VTEP ${vtep.name}: ${why}: its sockets send everything now`)
    }).catch((error: Error) => log.error({ vtep: vtep.name }, error.message))
  }

  private async chooseMtus(): Promise<void> {
    this.pending = false
    this.chosenMs = performance.now()
    const { inventory, log } = this.owner
    const table = new PathTable()
    for (const name of inventory.switches.keys()) {
      for (const { port, mtu } of chooseMtus(inventory, name, table)) {
        try {
          await inventory.chooseMtu(port, mtu)
        } catch (error) {
          log.warn({ port: `${port.switch}.${port.name}`, mtu }, (error as Error).message)
        }
      }
    }
  }

  private mtuChanged(vtep: LiveVtep, remote: WatchedRemote, was: number): void {
    this.pending = true
    const { mtu: pathMtu, source } = remote.probe
    const mtu = innerMtu(pathMtu, vtep.config.family, 'discard')
    const { log, emit } = this.owner
    const fields = { vtep: vtep.name, remote: remote.text, mtu, pathMtu, was, source }
    log.info(
      fields,
      `remote ${remote.text} of VTEP ${vtep.name}: MTU ${mtu} (the path takes ${pathMtu}, ${source})`,
    )
    emit('remote-mtu', { vtep: vtep.name, remote: remote.text, mtu, pathMtu, source })
  }

  private stateChanged(vtep: LiveVtep, remote: WatchedRemote, was: WatchedRemote['state']): void {
    if (!vtep.config.probe.liveness) return
    const { state, text } = remote
    const { log, emit, link } = this.owner
    const where = { vtep: vtep.name, remote: text }
    if (state === 'down') {
      log.warn(where, `remote ${text} of VTEP ${vtep.name} does not answer`)
      emit('remote-down', where)
    } else if (state === 'up') {
      log.info(where, `remote ${text} of VTEP ${vtep.name} answers`)
      emit('remote-up', where)
    }
    if (state !== 'down' && was !== 'down') return
    this.pending = true
    const words = vtep.memory.remotes
    const address = {
      address: [...addressOf(words, remote.row)],
      scope: words[(remote.row << REMOTE_SHIFT) + Remote.Scope],
    }
    const told = async (): Promise<void> => {
      const behind = stationsOf(vtep.memory).filter((s) => s.remote === remote.row)
      await link.send({ op: 'remote-state', id: vtep.id, remote: address, dead: state === 'down' })
      if (state === 'down') await this.forget(new Set(behind.map((s) => s.port)))
    }
    this.owner.exclusive(told).catch((error: Error) => log.error(where, error.message))
  }

  private addressChanged(vtep: LiveVtep, name: string, address: string, was: string | null): void {
    const { log, emit, inventory, exclusive } = this.owner
    const fields = { vtep: vtep.name, name, address, was }
    log.info(fields, `VTEP ${vtep.name}: remote ${name} is ${address}${was === null ? '' : `, was ${was}`}`)
    emit('remote-address', fields)
    exclusive(() => inventory.tunnels.readdress(vtep)).catch((error: Error) =>
      log.error(fields, error.message),
    )
  }

  /** The switches forget too what is behind these ports: else they would send where nobody is known. */
  async flush(filter: FlushFilter): Promise<number> {
    const { inventory, link } = this.owner
    const port = filter.port === undefined ? undefined : inventory.find(filter.port)
    let forgotten = 0
    for (const vtep of inventory.tunnels.vteps.values()) {
      if (filter.vtep !== undefined && filter.vtep !== vtep.name) continue
      const words = vtep.memory.remotes
      const row = filter.remote === undefined ? -1 : rowOf(words, filter.remote.split('%')[0])
      if (filter.remote !== undefined && row < 0) continue
      const matching = stationsOf(vtep.memory).filter(
        (s) => !s.static && (row < 0 || s.remote === row) && (!port || s.port === port.index),
      )
      if (port && !vtep.tunnels.has(`${port.switch}.${port.name}`)) continue
      const scope = words[(row << REMOTE_SHIFT) + Remote.Scope]
      const remote = row < 0 ? null : { address: [...addressOf(words, row)], scope }
      await link.send({ op: 'vxlan-flush', id: vtep.id, index: port?.index ?? -1, remote })
      forgotten += matching.length
      await this.forget(new Set(matching.map((s) => s.port)))
    }
    return forgotten
  }

  /** What switches learned at these ports. */
  private async forget(indices: ReadonlySet<number>): Promise<void> {
    const { inventory, link } = this.owner
    for (const index of indices) {
      const port = inventory.portAt(index)
      const sw = port && inventory.switches.get(port.switch)
      if (sw) await link.send({ op: 'flush', switch: sw.id, port: index, vid: -1 })
    }
  }

  close(): void {
    clearInterval(this.timer)
    for (const watch of this.watches.values()) watch.close()
    this.watches.clear()
  }
}
