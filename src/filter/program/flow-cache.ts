// HOT
/**
 * What became of the packets of a flow at a hook: the counters of the rules that matched, the verdict, the marks.
 * The next packet that is the same in all that the rules have looked at takes it from here.
 *
 *     line     0     1       2      3      4     5        6        7         8        9           10 ..
 *             node  serial  class  Scan   mark  ct mark  mark     ct mark   verdict  generation  path
 *                                  .Key                  after    after     | length
 *
 * Same means: the connection and direction (so addresses, ports, protocol), its state (ESTABLISHED, or NEW once it is
 * confirmed), hook, interfaces, both marks, kind of frame (to us, broadcast ...), and the TCP flags that any rule looks
 * at. A way on which anything else was asked (plane.variable), or a target had an effect beyond marks, is not noted. The serial
 * tells a connection from one that had its place before; the generation changes with the rules.
 *
 * A cache, not a table: one line per place, a new one takes it. Losing a line costs a walk, nothing else. Where so many
 * flows talk that a line is lost before it is asked for again, it is left alone but for a try (table/credit.ts).
 */
import { CtState, IP_SHIFT, Ip } from '../../packet/ip.ts'
import { Credit } from '../../table/credit.ts'
import { lineWords } from '../../table/line.ts'
import { HOOKS, Scan } from './layout.ts'
import { flagsOf, type Plane } from './plane.ts'
import type { Program } from './program.ts'
import { MAX_PATH, type Walk } from './walk.ts'

const enum Line {
  Node = 0,
  Serial = 1,
  Class = 2,
  Key = 3,
  Mark = 4,
  CtMark = 5,
  MarkAfter = 6,
  CtMarkAfter = 7,
  Verdict = 8,
  Generation = 9,
  Path = 10,
}
/** A line that is found spares as much as so many questions in vain cost. */
const WORTH = 16
const LINE_SHIFT = 5
const LENGTH_SHIFT = 8
const TCP = 6
/** Of Line.Class, above six TCP flags. */
const NEW = 1 << 15

export class FlowCache {
  enabled = true
  hits = 0
  misses = 0
  readonly lines: Int32Array
  private readonly mask: number
  private readonly serials: Int32Array
  private generation = 1
  private readonly credit = new Credit(WORTH)
  /** Keeps the loads of `prefetch` from being optimised away. */
  fetched = 0

  /** @param lines places, a power of two: a flow takes one for each direction and hook with rules */
  constructor(lines: number, serials: Int32Array) {
    this.lines = lineWords(lines << LINE_SHIFT)
    this.mask = lines - 1
    this.serials = serials
  }

  /** All that was noted is void: rules, sets, anything they depend on has changed. */
  invalidate(): void {
    this.generation = (this.generation + 1) | 0 || 1
  }

  /** Entries are numbered in a row: so are their lines, which is kinder to caches than a hash would be. */
  private place(hook: number, node: number): number {
    return ((node * HOOKS + hook) & this.mask) << LINE_SHIFT
  }

  /**
   * Reads the serials and the lines that the packets `slots[0..n)` will probably need at a hook: the loads do not
   * depend on each other, so the cache misses of a batch overlap.
   */
  prefetch(ip: Int32Array, hook: number, slots: Int32Array, n: number): void {
    const { lines, serials } = this
    let sum = 0
    for (let i = 0; i < n; i++) sum ^= serials[ip[(slots[i] << IP_SHIFT) + Ip.CtGuess] >> 1]
    if (this.credit.good) {
      for (let i = 0; i < n; i++) sum ^= lines[this.place(hook, ip[(slots[i] << IP_SHIFT) + Ip.CtGuess])]
    }
    this.fetched = sum
  }

  private kind(plane: Plane, program: Program, slot: number, row: number): number {
    const { ip } = plane
    const flags =
      ip[row + Ip.Proto] === TCP && program.tcpFlags !== 0 ? flagsOf(plane, slot, row) & program.tcpFlags : 0
    const packet = (ip[row + Ip.Family] << 3) | ((ip[row + Ip.PktType] & 3) << 7) | (flags << 9)
    return plane.hook | packet | (ip[row + Ip.CtState] === CtState.New ? NEW : 0)
  }

  /** True when this packet is worth looking for, and may be noted at all. */
  covers(plane: Plane, row: number): boolean {
    return this.enabled && plane.short === 0 && plane.goesOn(row) && this.credit.ask()
  }

  /** The line of this packet, or -1. */
  find(plane: Plane, program: Program, slot: number, row: number): number {
    const { lines } = this
    const { ip } = plane
    const node = ip[row + Ip.Ct]
    const at = this.place(plane.hook, node)
    if (
      lines[at + Line.Node] === node &&
      lines[at + Line.Generation] === this.generation &&
      lines[at + Line.Serial] === this.serials[node >> 1] &&
      lines[at + Line.Key] === ip[row + Scan.Key] &&
      lines[at + Line.Mark] === ip[row + Ip.Mark] &&
      lines[at + Line.Class] === this.kind(plane, program, slot, row) &&
      lines[at + Line.CtMark] === plane.conntrack.mark(node >> 1)
    ) {
      this.hits++
      this.credit.answered()
      return at
    }
    this.credit.inVain()
    this.misses++
    return -1
  }

  /** Does what the walk did. The verdict. */
  replay(at: number, plane: Plane, program: Program, row: number): number {
    const { lines } = this
    const { counters } = program
    const { ip } = plane
    const word = lines[at + Line.Verdict]
    const bytes = ip[row + Ip.Length]
    const end = at + Line.Path + (word >> LENGTH_SHIFT)
    for (let i = at + Line.Path; i < end; i++) {
      const c = 2 * lines[i]
      counters[c]++
      counters[c + 1] += bytes
    }
    ip[row + Ip.Mark] = lines[at + Line.MarkAfter]
    if (lines[at + Line.CtMarkAfter] !== lines[at + Line.CtMark])
      plane.conntrack.setMark(ip[row + Ip.Ct] >> 1, lines[at + Line.CtMarkAfter])
    return word & 0xff
  }

  /** Notes what the walk did. @param mark and ctMark: as they were before it */
  note(
    plane: Plane,
    program: Program,
    walk: Walk,
    slot: number,
    row: number,
    mark: number,
    ctMark: number,
    verdict: number,
  ): void {
    if (plane.variable !== 0 || walk.length > MAX_PATH) return
    const { lines } = this
    const { ip } = plane
    const node = ip[row + Ip.Ct]
    const at = this.place(plane.hook, node)
    lines[at + Line.Node] = node
    lines[at + Line.Serial] = this.serials[node >> 1]
    lines[at + Line.Class] = this.kind(plane, program, slot, row)
    lines[at + Line.Key] = ip[row + Scan.Key]
    lines[at + Line.Mark] = mark
    lines[at + Line.CtMark] = ctMark
    lines[at + Line.MarkAfter] = ip[row + Ip.Mark]
    lines[at + Line.CtMarkAfter] = plane.conntrack.mark(node >> 1)
    lines[at + Line.Verdict] = verdict | (walk.length << LENGTH_SHIFT)
    lines[at + Line.Generation] = this.generation
    for (let i = 0; i < walk.length; i++) lines[at + Line.Path + i] = walk.path[i]
  }
}
