/** What the loop asks for besides ports: a part with packets of its own, which go on when something comes. */
export interface Waiter {
  /** When it wants to run, in the clock's ms: 0 = now, Infinity = not yet known. */
  due(): number
  /** Goes on with what is due. The round is settled behind it. */
  run(nowMs: number): void
}
