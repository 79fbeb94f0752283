// HOT
/**
 * Netfilter: which tables a packet passes at each hook, and in what order. These are the kernel's priorities
 * (linux/netfilter_ipv4.h: raw -300, conntrack -200, mangle -150, nat dst -100, filter 0, security 50, nat src
 * 100, confirm last):
 *
 *     PREROUTING    raw   conntrack   mangle   nat dst                               -> route
 *     INPUT                           mangle            filter   security   nat src   confirm -> us
 *     FORWARD                         mangle            filter   security             -> POSTROUTING
 *     OUTPUT        raw   conntrack   mangle   nat dst  filter   security             -> route
 *     POSTROUTING                     mangle                                nat src   confirm -> out
 */
export const enum Step {
  /** Tables, by TableId. */
  Raw = 0,
  Mangle = 1,
  Filter = 3,
  Security = 4,
  Conntrack = 8,
  NatDst = 9,
  NatSrc = 10,
  Confirm = 11,
}

/** The picture above; by Hook. */
export const ORDER: readonly (readonly number[])[] = [
  [Step.Raw, Step.Conntrack, Step.Mangle, Step.NatDst],
  [Step.Mangle, Step.Filter, Step.Security, Step.NatSrc, Step.Confirm],
  [Step.Mangle, Step.Filter, Step.Security],
  [Step.Raw, Step.Conntrack, Step.Mangle, Step.NatDst, Step.Filter, Step.Security],
  [Step.Mangle, Step.NatSrc, Step.Confirm],
]
export const MAX_STEPS = 8
