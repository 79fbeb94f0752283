/**
 * The path to one remote: how long a packet may be, and whether somebody answers. Decides which echoes are
 * sent and what follows from the answers; knows neither sockets nor clocks. Read RFC 8899 sections 5.1 to 5.3.
 *
 *     state        meaning                                   sends
 *     idle         no echo was ever answered                 a small one and one of the kernel's MTU
 *     search       a longer packet than `low` may fit        up to FAN sizes between `low` and `high` at once
 *     complete     `mtu` was answered                        now and then one of `mtu`, to see that it still fits
 *
 *     idle, complete -> search     a small echo is answered, MAX_PROBES of the MTU in a row are not (a black hole);
 *                                  RAISE_MS are over, or the kernel believes in more again
 *     search -> complete           `high` is `low` + 1
 *     search -> idle               not even small echoes are answered any more
 *
 * The kernel's MTU (device, routes, what ICMP said) is never exceeded and holds at once when it shrinks. Where
 * nobody answers echoes it is all there is. Several sizes in one round find the MTU in three or four seconds
 * where one after the other takes twenty.
 */
export type MtuSource = 'config' | 'device' | 'icmp' | 'probe'

export interface PathOptions {
  family: 4 | 6
  /** Search for the MTU. */
  mtu: boolean
  /** Send small echoes every interval, and give the remote up after `misses` of them. */
  liveness: boolean
  intervalMs: number
  misses: number
}

/** RFC 8899 section 5.1.1: PROBE_TIMER, MAX_PROBES, PMTU_RAISE_TIMER. */
export const ROUND_MS = 1000
export const MAX_PROBES = 3
export const RAISE_MS = 600_000
/** How often a found MTU is looked at again, at least. */
export const CONFIRM_MS = 30_000
/** Echoes to somebody who never answered become rarer, up to this. */
const QUIET_MS = 60_000
/** Sizes tried at once. */
export const FAN = 8
/** Times a size is tried in a search. */
const TRIES = 2
/** An echo every path takes: 56 bytes of data, as ping sends. */
export const SMALL = { 4: 84, 6: 104 } as const
/** Below this nothing is searched: RFC 8200 section 5; a path of 68 bytes (RFC 791) carries no tunnel. */
const LEAST = { 4: 256, 6: 1280 } as const

interface Round {
  sizes: number[]
  answered: Set<number>
  startMs: number
}

export class PathProbe {
  /** Longest packet, bytes with its IP header. */
  mtu: number
  source: MtuSource
  phase: 'idle' | 'search' | 'complete' = 'idle'
  /** Echoes in a row without any answer. */
  silent = 0
  private readonly options: PathOptions
  private kernelMtu: number
  private kernelSource: MtuSource
  /** In a search: `low` fits, `high` does not. */
  private low = 0
  private high = 0
  private tries = 0
  /** Rounds in a row in which a small echo was answered and one of `mtu` was not. */
  private lost = 0
  private round: Round | null = null
  private nextMs = 0
  private confirmMs = 0
  private raiseMs = 0
  private quietMs: number
  private heardMs = Number.NEGATIVE_INFINITY

  /** @param mtu what the kernel believes */
  constructor(options: PathOptions, mtu: number, source: MtuSource) {
    this.options = options
    this.mtu = mtu
    this.source = source
    this.kernelMtu = mtu
    this.kernelSource = source
    this.quietMs = options.intervalMs
  }

  /** up: it answered or sent something lately; down: `liveness` gave it up; unknown: neither. */
  state(nowMs: number): 'up' | 'down' | 'unknown' {
    const { liveness, intervalMs, misses } = this.options
    if (liveness && this.silent >= misses) return 'down'
    const lately = Math.max(CONFIRM_MS + ROUND_MS * MAX_PROBES, intervalMs * misses)
    return nowMs - this.heardMs <= lately ? 'up' : 'unknown'
  }

  /** What the kernel believes now. */
  kernel(mtu: number, source: MtuSource, nowMs: number): void {
    const grown = mtu > this.kernelMtu
    this.kernelMtu = mtu
    this.kernelSource = source
    if (mtu < this.mtu) {
      this.use(mtu, source)
      this.confirmMs = this.nextMs = nowMs
      this.lost = 0
      if (this.phase === 'search') this.narrow(mtu)
    } else if (grown && this.phase === 'idle') this.use(mtu, source)
    else if (grown) this.raiseMs = this.nextMs = nowMs
    else if (mtu === this.mtu) this.source = source
  }

  private narrow(mtu: number): void {
    if (this.low >= mtu) this.low = LEAST[this.options.family]
    this.high = Math.min(this.high, mtu + 1)
  }

  private use(mtu: number, source: MtuSource): void {
    this.mtu = mtu
    this.source = mtu === this.kernelMtu ? this.kernelSource : source
  }

  /** Something came from the remote that is no answer to an echo. */
  heard(nowMs: number): void {
    this.heardMs = nowMs
    this.silent = 0
  }

  answer(bytes: number, nowMs: number): void {
    this.heard(nowMs)
    if (this.round?.sizes.includes(bytes)) this.round.answered.add(bytes)
  }

  /** Sizes of the echoes to send now; to be called every tenth of a second or so. */
  due(nowMs: number): number[] {
    const { mtu, liveness } = this.options
    if (!mtu && !liveness) return []
    const { round } = this
    if (round) {
      const all = round.answered.size === round.sizes.length
      if (!all && nowMs < round.startMs + this.roundMs) return []
      this.round = null
      this.conclude(round, nowMs)
    }
    if (nowMs < this.nextMs) return []
    const sizes = this.sizes(nowMs)
    this.round = { sizes, answered: new Set(), startMs: nowMs }
    return sizes
  }

  /** A short interval must not wait for a long timer. */
  private get roundMs(): number {
    return this.phase === 'search' ? ROUND_MS : Math.min(ROUND_MS, this.options.intervalMs)
  }

  private sizes(nowMs: number): number[] {
    const small = SMALL[this.options.family]
    if (!this.options.mtu) return [small]
    const raise = this.phase === 'complete' && this.mtu < this.kernelMtu && nowMs >= this.raiseMs
    if (raise) this.search(this.mtu, this.kernelMtu + 1)
    if (this.phase === 'search') return [small, ...spread(this.low, this.high)]
    const confirm = this.phase === 'idle' || nowMs >= this.confirmMs
    return confirm ? [small, this.mtu] : [small]
  }

  private search(low: number, high: number): void {
    this.phase = 'search'
    this.low = low
    this.high = high
    this.tries = 0
  }

  /** A round is over. */
  private conclude(round: Round, nowMs: number): void {
    const { intervalMs, liveness, mtu } = this.options
    if (round.answered.size > 0) this.silent = 0
    else if (round.startMs > this.heardMs) this.silent++
    this.nextMs = round.startMs + intervalMs
    if (!mtu) return
    if (round.answered.size === 0) this.unanswered(round)
    else if (this.phase === 'search') this.found(round, nowMs)
    else this.confirmed(round, nowMs)
    // Nobody waits for a small echo only to learn that the MTU is what it was.
    if (this.phase === 'complete' && this.lost === 0 && !liveness) this.nextMs = this.confirmMs
    if (this.phase === 'complete' && this.mtu < this.kernelMtu)
      this.nextMs = Math.min(this.nextMs, this.raiseMs)
  }

  private unanswered(round: Round): void {
    const { intervalMs, misses, liveness } = this.options
    if (this.phase === 'search' && this.silent >= misses) this.phase = 'idle'
    if (this.phase !== 'idle' || liveness) return
    this.nextMs = round.startMs + this.quietMs
    this.quietMs = Math.min(QUIET_MS, Math.max(this.quietMs * 2, intervalMs))
  }

  /** Somebody answers, and no search goes on. */
  private confirmed(round: Round, nowMs: number): void {
    this.quietMs = this.options.intervalMs
    if (!round.sizes.includes(this.mtu)) return
    if (round.answered.has(this.mtu)) {
      if (this.phase === 'idle') this.raiseMs = nowMs + RAISE_MS
      this.phase = 'complete'
      this.lost = 0
      this.confirmMs = nowMs + Math.max(CONFIRM_MS, this.options.intervalMs)
      return
    }
    this.nextMs = nowMs
    if (++this.lost < MAX_PROBES) return
    this.lost = 0
    this.search(LEAST[this.options.family], this.mtu)
  }

  /** A round of a search, in which at least a small echo was answered. */
  private found(round: Round, nowMs: number): void {
    this.nextMs = nowMs
    for (const size of round.answered) if (size > this.low && size < this.high) this.low = size
    const failed = round.sizes.filter((size) => size > this.low && size < this.high)
    if (failed.length === 0) this.tries = 0
    else if (++this.tries >= TRIES) {
      this.high = Math.min(...failed)
      this.tries = 0
    }
    this.use(this.low, 'probe')
    if (this.high > this.low + 1) return
    this.phase = 'complete'
    this.confirmMs = nowMs + Math.max(CONFIRM_MS, this.options.intervalMs)
    this.raiseMs = nowMs + RAISE_MS
  }
}

/** Up to FAN sizes between two, the longest among them. */
export function spread(low: number, high: number): number[] {
  const between = high - low - 1
  const n = Math.min(FAN, between)
  return Array.from({ length: n }, (_, i) => low + Math.ceil((between * (i + 1)) / n))
}
