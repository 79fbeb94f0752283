// HOT
/**
 * The VXLAN ports of a VTEP: parallel arrays by port index, so that the stage reads numbers. Cold code
 * (segment-settings.ts) fills them; a VNI is found by a small hash table.
 */
import { Inboxes } from '../packet/inbox.ts'
import { MAX_PORTS } from '../packet/layout.ts'
import { HashTable } from '../table/hash.ts'

export const enum SegmentFlag {
  Learning = 1,
  /** Only named remotes are let in. */
  Known = 2,
  Suppress = 4,
  ClampMss = 8,
  /** Inner VLAN tags are let through. */
  KeepTags = 16,
}

export const NOBODY = new Int32Array(0)
/** Configuration decides what is in these tables, so nobody can aim. */
export const SEED = 0x5bd1e995

export class Segments {
  /** SegmentFlag bits. */
  readonly flags = new Int32Array(MAX_PORTS)
  /** Second word of the tunnel header: VNI << 8. */
  readonly header = new Int32Array(MAX_PORTS)
  /** Row of the group that floods go to; -1 = none. */
  readonly group = new Int32Array(MAX_PORTS).fill(-1)
  /** Rows that floods go to. */
  readonly lists: Int32Array[] = new Array(MAX_PORTS).fill(NOBODY)
  /** 1 = the port is one of this VTEP's. */
  readonly present = new Uint8Array(MAX_PORTS)
  /** Where packets wait for their port's turn. */
  readonly inboxes: Inboxes
  /** VNI -> port index. */
  readonly vnis = new HashTable(HashTable.memory(MAX_PORTS, SEED))
  /** (row, port + 1) -> how often the port names that remote. */
  named = new HashTable(HashTable.memory(16, SEED))

  /** @param slots of the pool */
  constructor(slots: number) {
    this.inboxes = new Inboxes(slots)
  }

  /** Port index of a VNI, or -1. */
  portOf(vni: number): number {
    const at = this.vnis.find(vni, 1)
    return at < 0 ? -1 : this.vnis.words[at + 2]
  }

  /** The port names this remote: in its list, as its group, or in a static entry. */
  names(port: number, row: number): boolean {
    return this.named.find(row, port + 1) >= 0
  }
}
