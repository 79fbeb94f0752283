/**
 * The addresses of a router's interface as the control thread knows them. The worker finds out whether
 * somebody else has one (router/neighbour-dad.ts) and tells; what is known survives it.
 *
 *     state      used  dad: on             means
 *     tentative  no    IPv6, 1 to 2 s      not known yet
 *     tentative  yes   IPv4, 4 to 7 s      not known yet, and used meanwhile
 *     valid      yes                       nobody else has it
 *     duplicate  no                        somebody else has it; asked for again once a minute
 *
 * An address has routes (addressing.ts) while it is used, and none else.
 */
import type { InterfaceConfig } from '../../config/types.ts'
import type { AddressBegin, AddressNews, InterfaceSettings } from '../../engine/command.ts'
import { addressesOf, type Network } from './addressing.ts'

export interface OwnAddress extends Network {
  state: 'tentative' | 'valid' | 'duplicate'
  used: boolean
  /** MAC of the other station, once one was seen. */
  other: Uint8Array | null
  /** The worker has not been told yet. */
  fresh: boolean
}

/** @param before those it had: what is known of them stays */
export function ownAddresses(config: InterfaceConfig, mac: Uint8Array, before: OwnAddress[]): OwnAddress[] {
  const off = config.dad === 'off' || config.on.type === 'tun'
  return addressesOf(config, mac).map((network): OwnAddress => {
    const known = before.find((a) => isAddress(a, network))
    if (known && (!off || known.state === 'valid')) return { ...known, length: network.length }
    const used = off || (network.family === 4 && config.dad === 'on')
    return { ...network, state: off ? 'valid' : 'tentative', used, other: null, fresh: true }
  })
}

export function isAddress(a: Network, b: Pick<Network, 'family' | 'address'>): boolean {
  return a.family === b.family && a.address.every((word, i) => word === b.address[i])
}

/** What a worker is told of them. */
export function addressSettings(addresses: OwnAddress[]): InterfaceSettings['addresses'] {
  return addresses.map(({ family, address, length, ...a }) => ({
    family,
    address,
    length,
    begin: beginOf(a),
  }))
}

function beginOf({ state, used, fresh }: Omit<OwnAddress, keyof Network>): AddressBegin | undefined {
  if (state === 'duplicate') return 'taken'
  if (state === 'tentative') return used ? 'use' : 'wait'
  return fresh ? 'announce' : undefined
}

/** Takes in what the worker found out. True when its use changed. */
export function learn(own: OwnAddress, { fate, mac }: AddressNews): boolean {
  const { used } = own
  if (fate === 'conflict') own.other = mac
  else {
    own.state = fate === 'unique' ? 'valid' : 'duplicate'
    own.used = fate === 'unique'
    own.other = fate === 'unique' ? null : mac
  }
  return own.used !== used
}
