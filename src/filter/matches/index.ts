/** All matches, by the name after -m. A new one is added to model.ts, one of the files here, and this list. */
import type { Family, Match } from '../model.ts'
import type { Extension } from '../option.ts'
import { hashlimit } from './hashlimit.ts'
import { dscp, hl, icmp, icmp6, length, multiport, tcp, tcpmss, ttl, udp } from './header.ts'
import { comment, connlimit, iprange, recent, set, statistic } from './memory.ts'
import { limit } from './rate.ts'
import { addrtype, connmark, conntrack, mac, mark, physdev, pkttype, rpfilter, state } from './state.ts'

const ALL = [
  addrtype,
  comment,
  connlimit,
  connmark,
  conntrack,
  dscp,
  hashlimit,
  hl,
  icmp,
  icmp6,
  iprange,
  length,
  limit,
  mac,
  mark,
  multiport,
  physdev,
  pkttype,
  recent,
  rpfilter,
  set,
  state,
  statistic,
  tcp,
  tcpmss,
  ttl,
  udp,
] as unknown as readonly Extension<Match>[]

export function findMatch(name: string, family: Family): Extension<Match> | undefined {
  return ALL.find(
    (match) => (match.name === name || match.aliases?.includes(name)) && (match.family ?? family) === family,
  )
}

export function matchNames(family: Family): string[] {
  return ALL.filter((match) => (match.family ?? family) === family).map((match) => match.name)
}
