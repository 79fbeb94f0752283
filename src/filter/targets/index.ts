/** All targets that are not chains, by the name after -j. A new one is added to model.ts, one of the files here, and this list. */
import type { Family, Target } from '../model.ts'
import type { Extension } from '../option.ts'
import { checksum, connmark, ct, dscp, hl, mark, notrack, tcpmss, tos, trace, ttl } from './mangle.ts'
import { dnat, masquerade, netmap, redirect, snat } from './nat.ts'
import { accept, drop, log, nflog, nfqueue, queue, reject, returning } from './verdict.ts'

const ALL = [
  accept,
  checksum,
  connmark,
  ct,
  dnat,
  drop,
  dscp,
  hl,
  log,
  mark,
  masquerade,
  netmap,
  nflog,
  nfqueue,
  notrack,
  queue,
  redirect,
  reject,
  returning,
  snat,
  tcpmss,
  tos,
  trace,
  ttl,
] as unknown as readonly Extension<Target>[]

export function findTarget(name: string, family: Family): Extension<Target> | undefined {
  return ALL.find((target) => target.name === name && (target.family ?? family) === family)
}

export function targetNames(family: Family): string[] {
  return ALL.filter((target) => (target.family ?? family) === family).map((target) => target.name)
}
