/** How a network namespace is written in a configuration, and which file that is. */
import type { Netns } from './types.ts'

/** Where iproute2 keeps namespaces that have a name. */
const RUN_NETNS = '/run/netns/'

/** The file of a namespace: '' = the daemon's own; a name, an absolute path or a pid otherwise. */
export function netnsPath(netns: Netns): string {
  if (netns === '' || netns.startsWith('/')) return netns
  return isPid(netns) ? `/proc/${netns}/ns/net` : RUN_NETNS + netns
}

export function isPid(netns: Netns): boolean {
  return /^[0-9]+$/.test(netns)
}

/** True for a namespace that `ip netns` knows by name. */
export function isNamed(netns: Netns): boolean {
  return netns !== '' && !netns.startsWith('/') && !isPid(netns)
}

/** 'namespace web', or 'the own namespace'. */
export function netnsText(netns: Netns): string {
  return netns === '' ? 'the own namespace' : `namespace ${netns}`
}
