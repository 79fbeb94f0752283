/**
 * Things that may have one owner in a configuration: device names in a namespace, IP addresses, MAC
 * addresses. Ports and interfaces of routers claim them here.
 */
import { isLinkLocal } from './address.ts'
import type { Path } from './error.ts'
import { netnsPath, netnsText } from './netns.ts'
import type { Problems } from './problems.ts'

export class Owners {
  private readonly problems: Problems
  private readonly expected: string
  private readonly first = new Map<string, Path>()

  constructor(problems: Problems, expected: string) {
    this.problems = problems
    this.expected = expected
  }

  claim(key: string, path: Path, found: string): void {
    const owner = this.first.get(key)
    if (owner === undefined) this.first.set(key, path)
    else
      this.problems.add(path, {
        found: `${found} again`,
        expected: this.expected,
        hint: `also at ${this.problems.lineOf(owner)}`,
      })
  }
}

/** A device, or our side of one, with what it owns. */
export interface Holder {
  /** Where `addresses` and `mac` stand. */
  path: Path
  device?: { path: Path; name: string; netns: string }
  /** CIDRs. */
  addresses: readonly string[]
  mac?: string
  /** The link it is on: a link-local address is unique there only. */
  link: string
}

export function checkOwners(holders: readonly Holder[], problems: Problems): void {
  const names = new Owners(problems, 'another name')
  const addresses = new Owners(problems, 'another address')
  const macs = new Owners(problems, 'another MAC address')
  for (const { path, device, addresses: own, mac, link } of holders) {
    if (device) {
      const found = `'${device.name}' in ${netnsText(device.netns)}`
      names.claim(`${netnsPath(device.netns)} ${device.name}`, device.path, found)
    }
    for (const [i, cidr] of own.entries()) {
      const address = cidr.slice(0, cidr.indexOf('/'))
      addresses.claim(`${isLinkLocal(address) ? link : ''} ${address}`, [...path, 'addresses', i], address)
    }
    if (mac) macs.claim(mac, [...path, 'mac'], mac)
  }
}
