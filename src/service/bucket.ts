/** A token bucket: `burst` at once, `perSecond` for ever. Time is what the caller says it is. */
export class Bucket {
  private readonly perSecond: number
  private readonly burst: number
  private tokens: number
  private atMs = Number.NEGATIVE_INFINITY

  constructor(perSecond: number, burst: number) {
    this.perSecond = perSecond
    this.burst = burst
    this.tokens = burst
  }

  take(nowMs: number): boolean {
    // A clock that was set back gives nothing, and takes nothing away.
    const passed = Math.max(0, nowMs - this.atMs)
    this.atMs = nowMs
    this.tokens = Math.min(this.burst, this.tokens + (passed * this.perSecond) / 1000)
    if (this.tokens < 1) return false
    this.tokens--
    return true
  }
}
