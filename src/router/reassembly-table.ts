// HOT
/**
 * The datagrams that are being put together: what is known about each, in parallel arrays, and who has to
 * go when there is no place. Whose slots they are and what becomes of them is reassembly.ts.
 *
 *     state    a fragment that            leads to
 *     (none)   comes                      Open
 *     Open     lacks no more              the whole, and (none)
 *     Open     is already there           Open; the fragment is dropped
 *     Open     overlaps, ends elsewhere   Dead: the buffer is dropped
 *     Dead     comes                      Dead, until its time is over: all of it is dropped (RFC 5722)
 */
import { Drop } from '../packet/drop.ts'
import { Fit, FragmentMap } from './reassembly-map.ts'
import { PIECE_KEY, Piece } from './reassembly-piece.ts'

export const enum State {
  None = 0,
  Open = 1,
  Dead = 2,
}

const NOT_ECT = 1

export class Datagrams {
  /** Those that are not None. */
  count = 0
  /** Places in all, and for one source. */
  readonly limit: number
  readonly perSource: number
  readonly state: Uint8Array
  /** Slot of the buffer, -1 = none. */
  readonly buffer: Int32Array
  readonly dueMs: Float64Array
  /** Bytes of payload in all; -1 = the last fragment has not come. */
  readonly total: Int32Array
  /** The largest packet that came, and the largest with DF. */
  readonly largest: Int32Array
  readonly largestKept: Int32Array
  /** Bits of the ECN codepoints that came. */
  readonly ecn: Int32Array
  /** 1 = the first fragment has come. */
  readonly begun: Uint8Array
  private readonly map: FragmentMap
  private readonly hashes: Int32Array
  private readonly keys: Int32Array
  /** Units of 8 bytes that have come, and the furthest end, bytes. */
  private readonly units: Int32Array
  private readonly furthest: Int32Array

  constructor(limit: number) {
    this.limit = limit
    this.perSource = Math.max(1, limit >> 3)
    this.map = new FragmentMap(limit)
    this.state = new Uint8Array(limit)
    this.buffer = new Int32Array(limit)
    this.dueMs = new Float64Array(limit)
    this.total = new Int32Array(limit)
    this.largest = new Int32Array(limit)
    this.largestKept = new Int32Array(limit)
    this.ecn = new Int32Array(limit)
    this.begun = new Uint8Array(limit)
    this.hashes = new Int32Array(limit)
    this.keys = new Int32Array(limit * PIECE_KEY)
    this.units = new Int32Array(limit)
    this.furthest = new Int32Array(limit)
  }

  /** The datagram a fragment belongs to, or -1. */
  find(piece: Int32Array, hash: number): number {
    const { hashes, keys, limit, state } = this
    for (let d = 0; d < limit; d++) {
      if (hashes[d] !== hash || state[d] === State.None) continue
      const k = d * PIECE_KEY
      let i = 0
      while (i < PIECE_KEY && keys[k + i] === piece[i]) i++
      if (i === PIECE_KEY) return d
    }
    return -1
  }

  /** A place for a new datagram: a free one, or one that has to be given up first. */
  place(piece: Int32Array): number {
    const { dueMs, keys } = this
    let free = -1
    let oldest = -1
    let own = -1
    let ofSource = 0
    for (let d = 0; d < this.limit; d++) {
      if (this.state[d] === State.None) {
        free = d
        continue
      }
      if (oldest < 0 || dueMs[d] < dueMs[oldest]) oldest = d
      const s = d * PIECE_KEY + Piece.Src
      if (
        keys[s] !== piece[Piece.Src] ||
        keys[s + 1] !== piece[Piece.Src + 1] ||
        keys[s + 2] !== piece[Piece.Src + 2] ||
        keys[s + 3] !== piece[Piece.Src + 3]
      )
        continue
      ofSource++
      if (own < 0 || dueMs[d] < dueMs[own]) own = d
    }
    if (ofSource >= this.perSource) return own
    return free < 0 ? oldest : free
  }

  /** Starts a datagram at a free place. */
  open(d: number, piece: Int32Array, hash: number, dueMs: number): void {
    for (let i = 0; i < PIECE_KEY; i++) this.keys[d * PIECE_KEY + i] = piece[i]
    this.state[d] = State.Open
    this.hashes[d] = hash
    this.buffer[d] = -1
    this.dueMs[d] = dueMs
    this.units[d] = 0
    this.total[d] = -1
    this.furthest[d] = 0
    this.largest[d] = 0
    this.largestKept[d] = 0
    this.ecn[d] = 0
    this.begun[d] = 0
    this.map.forgetAll(d)
    this.count++
  }

  forget(d: number): void {
    this.state[d] = State.None
    this.count--
  }

  id(d: number): number {
    return this.keys[d * PIECE_KEY + Piece.Id]
  }

  interfaceOf(d: number): number {
    return this.keys[d * PIECE_KEY + Piece.Family] & 255
  }

  /** Why the fragment does not fit to the others: a Drop, or -1. */
  misfit(d: number, piece: Int32Array): number {
    if (this.state[d] === State.Dead) return Drop.FragmentOverlap
    const offset = piece[Piece.Offset]
    const end = offset + piece[Piece.Length]
    const total = this.total[d]
    const last = piece[Piece.More] === 0
    if (last ? (total >= 0 && total !== end) || this.furthest[d] > end : total >= 0 && end > total)
      return Drop.FragmentInvalid
    const ecn = this.ecn[d] | piece[Piece.Ecn]
    // Some say that the transport knows ECN, some that it does not: somebody made some up (RFC 3168 5.3).
    if ((ecn & NOT_ECT) !== 0 && ecn !== NOT_ECT) return Drop.FragmentInvalid
    const fit = this.map.fit(d, offset >> 3, (end + 7) >> 3)
    if (fit === Fit.Free) return -1
    return fit === Fit.Duplicate ? Drop.FragmentDuplicate : Drop.FragmentOverlap
  }

  /** The fragment has come. True when none is lacking. */
  note(d: number, piece: Int32Array): boolean {
    const offset = piece[Piece.Offset]
    const end = offset + piece[Piece.Length]
    const to = (end + 7) >> 3
    this.map.add(d, offset >> 3, to)
    this.units[d] += to - (offset >> 3)
    if (end > this.furthest[d]) this.furthest[d] = end
    if (piece[Piece.More] === 0) this.total[d] = end
    if (offset === 0) this.begun[d] = 1
    const size = piece[Piece.Size]
    if (size > this.largest[d]) this.largest[d] = size
    if (piece[Piece.DontFragment] !== 0 && size > this.largestKept[d]) this.largestKept[d] = size
    this.ecn[d] |= piece[Piece.Ecn]
    return this.total[d] >= 0 && this.units[d] === (this.total[d] + 7) >> 3
  }
}
