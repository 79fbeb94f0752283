// HOT
/**
 * Congestion marks across a tunnel (RFC 6040, "normal mode" on the way in):
 *
 *     into the tunnel    the outer header gets the inner's ECN field
 *
 *     out of it          outer  Not-ECT   ECT(0)    ECT(1)    CE
 *     inner  Not-ECT            Not-ECT   Not-ECT   Not-ECT   drop
 *            ECT(0)             ECT(0)    ECT(0)    ECT(1)    CE
 *            ECT(1)             ECT(1)    ECT(1)    ECT(1)    CE
 *            CE                 CE        CE        CE        CE
 *
 * What is not IP has no ECN field: sent as Not-ECT, let through whatever the outer header says.
 */
export const enum Ecn {
  NotEct = 0,
  Ect1 = 1,
  Ect0 = 2,
  Ce = 3,
}
export const ECN_MASK = 3

/** The ECN field of the inner packet behind the tunnel, or -1 = drop. */
export function decapsulate(inner: number, outer: number): number {
  if (outer === Ecn.Ce) return inner === Ecn.NotEct ? -1 : Ecn.Ce
  return inner === Ecn.Ect0 && outer === Ecn.Ect1 ? Ecn.Ect1 : inner
}
