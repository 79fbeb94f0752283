/**
 * When a router advertises itself on an interface (RFC 4861 6.2). Time is an argument, chance too.
 *
 *     start, change   at once; the first three at most 16 s apart, then from minInterval to maxInterval
 *     solicited       after up to 0.5 s, to everybody; within 3 s of the one before to who asked alone,
 *                     or, if it has no address yet, when the 3 s are over
 *     stop            one with lifetime 0
 *
 * Answers to single hosts are limited: an attacker who asks in a loop gets what a host would get.
 */
import { type AdvertiseSettings, ALL_NODES, advertisement, type Prefix } from './advertisement.ts'
import { Bucket } from './bucket.ts'

const INITIAL = 3
const INITIAL_INTERVAL_MS = 16_000
const RESPONSE_DELAY_MS = 500
/** MIN_DELAY_BETWEEN_RAS */
const BETWEEN_MS = 3000
const UNICAST_PER_SECOND = 20
const UNICAST_BURST = 50

/** `to` null = all nodes. */
export type SendRa = (packet: Uint8Array, to: readonly number[] | null) => void

export class Advertiser {
  private settings: AdvertiseSettings
  private readonly send: SendRa
  private readonly random: () => number
  private readonly unicast = new Bucket(UNICAST_PER_SECOND, UNICAST_BURST)
  private nextMs = Number.POSITIVE_INFINITY
  private lastMs = Number.NEGATIVE_INFINITY
  private initial = 0
  private retired: Prefix[] = []
  /** Single hosts to be answered. */
  private waiting: { to: number[]; atMs: number }[] = []

  /** @param random 0 <= x < 1 */
  constructor(settings: AdvertiseSettings, send: SendRa, random: () => number = Math.random) {
    this.settings = settings
    this.send = send
    this.random = random
  }

  start(nowMs: number): void {
    this.initial = INITIAL
    this.nextMs = Math.max(nowMs, this.lastMs + BETWEEN_MS)
  }

  /** Hosts hear of it soon; prefixes that are not there any more are taken back. */
  change(settings: AdvertiseSettings, nowMs: number): void {
    const kept = new Set(settings.prefixes.map(keyOf))
    const gone = [...this.settings.prefixes, ...this.retired].filter((p) => !kept.has(keyOf(p)))
    this.retired = [...new Map(gone.map((p) => [keyOf(p), p])).values()]
    this.settings = settings
    this.start(nowMs)
  }

  /** @param from four words; all 0 = unspecified */
  solicited(from: readonly number[], nowMs: number): void {
    const delayMs = this.random() * RESPONSE_DELAY_MS
    const anonymous = from.every((word) => word === 0)
    const soon = nowMs + delayMs
    if (this.nextMs <= soon) return
    if (anonymous || soon >= this.lastMs + BETWEEN_MS) {
      this.nextMs = Math.min(this.nextMs, Math.max(soon, this.lastMs + BETWEEN_MS + delayMs))
      return
    }
    const known = this.waiting.some(({ to }) => to.every((word, i) => word === from[i]))
    if (!known && this.unicast.take(nowMs)) this.waiting.push({ to: [...from], atMs: soon })
  }

  due(): number {
    return this.waiting.reduce((soonest, { atMs }) => Math.min(soonest, atMs), this.nextMs)
  }

  tick(nowMs: number): void {
    const answered = this.waiting.filter(({ atMs }) => atMs <= nowMs)
    this.waiting = this.waiting.filter(({ atMs }) => atMs > nowMs)
    for (const { to } of answered) this.send(advertisement(this.settings, to, this.retired), to)
    if (nowMs < this.nextMs) return
    this.send(advertisement(this.settings, ALL_NODES, this.retired), null)
    this.lastMs = nowMs
    if (this.initial > 0 && --this.initial === 0) this.retired = []
    const { minIntervalMs, maxIntervalMs } = this.settings
    const interval = minIntervalMs + this.random() * (maxIntervalMs - minIntervalMs)
    this.nextMs = nowMs + (this.initial > 0 ? Math.min(interval, INITIAL_INTERVAL_MS) : interval)
  }

  /** The last words: hosts look for another router. */
  stop(): void {
    this.nextMs = Number.POSITIVE_INFINITY
    this.waiting = []
    this.send(advertisement(this.settings, ALL_NODES, this.retired, true), null)
  }
}

function keyOf({ address, length }: Prefix): string {
  return `${address.join()}/${length}`
}
