// HOT
/**
 * What the switches know about their ports: parallel arrays by port index, so that a stage reads
 * numbers and never follows an object. Cold code fills them (setPort, vlan.ts), hot code reads.
 */
import { BATCH, MAX_PORTS } from '../packet/layout.ts'
import { QUEUE_WORDS } from '../packet/memory.ts'

export const enum PortFlag {
  /** Traffic flows. */
  Up = 1,
  Learning = 2,
  FloodUnknown = 4,
  FloodMulticast = 8,
  FloodBroadcast = 16,
  /** Isolated ports talk to no other isolated port. */
  Isolated = 32,
  /** A frame may go back out of the port it came from. */
  Hairpin = 64,
  /** Only frames from static addresses of the port are let in. */
  Locked = 128,
  /** Everything is put into the port's VLAN as it is, tags and all (802.1ad customer port). */
  Tunnel = 256,
  /** Some VLANs have another number on the wire than inside. */
  Translate = 512,
  /** Some kind of flood is limited (storm.ts). */
  Storm = 1024,
}

/** How a VLAN leaves by a port. */
export const enum Member {
  No = 0,
  Untagged = 1,
  Tagged = 2,
}

export const VIDS = 4096

export class PortTable {
  readonly flags = new Int32Array(MAX_PORTS)
  /** VLAN of untagged frames; -1 = refused. */
  readonly pvid = new Int32Array(MAX_PORTS)
  /** EtherType of the tags the port reads and writes, 0 = no port tag is read (VLAN-unaware switch). */
  readonly tpid = new Int32Array(MAX_PORTS)
  /** A tagged frame is accepted (trunk). */
  readonly tagged = new Uint8Array(MAX_PORTS)
  /** Longest frame without the port's tag: MTU + Ethernet header + one inner tag. */
  readonly maxFrame = new Int32Array(MAX_PORTS)
  /** Most addresses; 0 = no limit of its own. */
  readonly limit = new Int32Array(MAX_PORTS)
  /** Member, by port * VIDS + VID. */
  readonly member = new Uint8Array(MAX_PORTS * VIDS)
  /** VID inside by VID on the wire, and back; rows only for ports with Translate. */
  readonly inward: (Uint16Array | null)[] = new Array(MAX_PORTS).fill(null)
  readonly outward: (Uint16Array | null)[] = new Array(MAX_PORTS).fill(null)

  /** The transmit queues: pairs (slot, tag) at port * QUEUE_WORDS. */
  readonly queue: Int32Array
  readonly queued = new Int32Array(MAX_PORTS)
  /** Ports with something queued, in the order they got it. */
  readonly dirty = new Int32Array(MAX_PORTS)
  dirtyCount = 0
  private readonly isDirty = new Uint8Array(MAX_PORTS)
  /** Sends what is queued on a port now. */
  onFull: (port: number) => void = () => {
    throw new RangeError('a port was given more than a batch')
  }

  constructor(txq: Int32Array) {
    this.queue = txq
  }

  /** Forgets the list of ports that have something queued: it was sent. */
  clean(): void {
    for (let i = 0; i < this.dirtyCount; i++) this.isDirty[this.dirty[i]] = 0
    this.dirtyCount = 0
  }

  /** Queues a packet on a port. A full queue is sent first. */
  push(port: number, slot: number, tag: number): void {
    if (this.isDirty[port] === 0) {
      this.isDirty[port] = 1
      this.dirty[this.dirtyCount++] = port
    }
    if (this.queued[port] === BATCH) this.onFull(port)
    const count = this.queued[port]
    const at = port * QUEUE_WORDS + 2 * count
    this.queue[at] = slot
    this.queue[at + 1] = tag
    this.queued[port] = count + 1
  }
}
