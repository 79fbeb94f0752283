// HOT
/**
 * Which MAC an IP address has behind the tunnel: (VXLAN port, address) -> MAC, told by ARP and neighbour
 * discovery that came out of it, or by the operator. For suppression (suppress.ts) alone: nothing is forwarded
 * by it. A binding counts for as long as its station is known, and goes with the oldest of a few when the
 * table is full.
 */
import { MAX_PORTS } from '../packet/layout.ts'
import { RowIndex } from './row-index.ts'
import { Binding, BindingFlag } from './tables.ts'

const SHIFT = 3
const EVICT_REACH = 64
const EVICT_CANDIDATES = 8

export class Bindings {
  readonly words: Int32Array
  private readonly index: RowIndex
  private readonly perPort = new Int32Array(MAX_PORTS)
  private hand = 0

  constructor(memory: SharedArrayBuffer, seed: number) {
    this.words = new Int32Array(memory)
    this.index = new RowIndex(this.words, SHIFT, seed)
    this.recount()
  }

  get size(): number {
    return this.index.size
  }

  private static key(port: number, family: number): number {
    return 0x80000000 | (port << 8) | family
  }

  /** Offset of a binding in `words`, or -1. IPv4 uses the first word alone. */
  find(port: number, family: number, a0: number, a1: number, a2: number, a3: number): number {
    const row = this.index.find(Bindings.key(port, family), a0, a1, a2, a3)
    return row < 0 ? -1 : row << SHIFT
  }

  /** `hi`: bytes 0..1 of the MAC and BindingFlag bits. What the operator said is not overwritten. */
  learn(
    port: number,
    family: number,
    a0: number,
    a1: number,
    a2: number,
    a3: number,
    hi: number,
    lo: number,
    nowS: number,
  ): void {
    const { words } = this
    let at = this.find(port, family, a0, a1, a2, a3)
    if (at < 0) at = this.add(port, family, a0, a1, a2, a3)
    if (at < 0 || (words[at + Binding.MacHi] & BindingFlag.Static) !== 0) return
    words[at + Binding.MacHi] = hi
    words[at + Binding.MacLo] = lo
    words[at + Binding.SeenS] = nowS
  }

  private add(port: number, family: number, a0: number, a1: number, a2: number, a3: number): number {
    if (this.index.size === this.index.rows && !this.evict()) return -1
    const at = this.index.add(Bindings.key(port, family), a0, a1, a2, a3) << SHIFT
    this.words[at + Binding.MacHi] = 0
    this.perPort[port]++
    return at
  }

  private evict(): boolean {
    const { words } = this
    let victim = -1
    let candidates = 0
    let row = this.hand
    for (let step = 0; step < EVICT_REACH && candidates < EVICT_CANDIDATES; step++) {
      row = row + 1 === this.index.rows ? 0 : row + 1
      const at = row << SHIFT
      if ((words[at + Binding.MacHi] & BindingFlag.Static) !== 0) continue
      candidates++
      if (victim < 0 || words[at + Binding.SeenS] - words[victim + Binding.SeenS] < 0) victim = at
    }
    this.hand = row
    if (victim < 0) return false
    this.removeAt(victim)
    return true
  }

  private removeAt(at: number): void {
    this.perPort[(this.words[at] >>> 8) & 0x7fffff]--
    this.index.remove(at >> SHIFT)
  }

  /** Our side has the address now. */
  remove(port: number, family: number, a0: number, a1: number, a2: number, a3: number): void {
    const at = this.find(port, family, a0, a1, a2, a3)
    if (at >= 0 && (this.words[at + Binding.MacHi] & BindingFlag.Static) === 0) this.removeAt(at)
  }

  /** A binding of the operator's. False when there is no room. */
  pin(port: number, address: number[], hi: number, lo: number): boolean {
    const [a0, a1 = 0, a2 = 0, a3 = 0] = address
    const family = address.length === 1 ? 4 : 6
    let at = this.find(port, family, a0, a1, a2, a3)
    if (at < 0) at = this.add(port, family, a0, a1, a2, a3)
    if (at < 0) return false
    this.words[at + Binding.MacHi] = hi | BindingFlag.Static
    this.words[at + Binding.MacLo] = lo
    return true
  }

  /** Takes back what the operator said of a port. */
  unpin(port: number): void {
    this.flush(port, true)
  }

  /** Forgets the bindings of a port, or only those of the operator's. */
  flush(port: number, onlyStatic = false): void {
    const { words } = this
    for (let at = 0; this.perPort[port] > 0 && at < words.length; at += Binding.Words) {
      if (words[at] === 0 || ((words[at] >>> 8) & 0x7fffff) !== port) continue
      if (!onlyStatic || (words[at + Binding.MacHi] & BindingFlag.Static) !== 0) this.removeAt(at)
    }
  }

  /** After adopting a table of another worker: static ones come anew with their ports. */
  private recount(): void {
    const { words } = this
    for (let at = 0; at < words.length; at += Binding.Words) {
      if (words[at] === 0) continue
      this.perPort[(words[at] >>> 8) & 0x7fffff]++
      if ((words[at + Binding.MacHi] & BindingFlag.Static) !== 0) this.removeAt(at)
    }
  }
}
