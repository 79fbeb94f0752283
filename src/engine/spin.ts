// HOT
/**
 * The adaptive policy spins for so long after a breath with at most SPIN_PACKETS packets: requests and
 * responses, where waking from sleep is most of the latency. Under more traffic the kernel has the next
 * packet ready anyway, and spinning would only take the core from whoever makes it; super-frames say so
 * for STREAM_MS, however few acknowledgements come between them. A spin in vain doubles the number of
 * chances that are let pass, up to 2^SPIN_BACKOFF.
 */
const SPIN_US = 50
const SPIN_PACKETS = 2
const SPIN_BACKOFF = 6
const STREAM_MS = 20

export class Spinner {
  /** Spins in vain, one after the other. */
  private vain = 0
  /** Chances still to let pass. */
  private pass = 0
  private supers = 0
  private streamMs = Number.NEGATIVE_INFINITY

  /**
   * How long to spin before the next sleep, microseconds.
   * @param packets of the breath that ended
   * @param supers super-frames received so far
   */
  next(packets: number, supers: number, nowMs: number): number {
    if (supers !== this.supers) {
      this.supers = supers
      this.streamMs = nowMs
    }
    const few = packets > 0 && packets <= SPIN_PACKETS && nowMs - this.streamMs > STREAM_MS
    return few && --this.pass < 0 ? SPIN_US : 0
  }

  /** After a wait with a spin, which took so long. */
  done(tookMs: number): void {
    const slept = tookMs > (2 * SPIN_US) / 1000
    this.vain = slept ? Math.min(this.vain + 1, SPIN_BACKOFF) : 0
    this.pass = slept ? 1 << this.vain : 0
  }
}
