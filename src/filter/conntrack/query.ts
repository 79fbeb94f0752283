/**
 * Which connections, in the words of conntrack(8): what `show conntrack -p tcp --dport 443` and the control API
 * ask, as the filter of select.ts. Everything is text, as typed.
 */
import { isIPv4 } from 'node:net'
import { Wrong } from '../error.ts'
import type { Family } from '../model.ts'
import { readProtocol } from '../names.ts'
import { readAddress, readMark, readNumber, width } from '../value.ts'
import { Status } from './layout.ts'
import type { AddressFilter, ConntrackFilter } from './select.ts'
import { TCP_STATES } from './tcp-state.ts'

export const QUERY_KEYS = [
  'family',
  'proto',
  'src',
  'dst',
  'replySrc',
  'replyDst',
  'sport',
  'dport',
  'replySport',
  'replyDport',
  'state',
  'status',
  'mark',
  'zone',
  'srcNat',
  'dstNat',
] as const
type Key = (typeof QUERY_KEYS)[number]

/** srcNat, dstNat: true = only those that are translated. */
export type ConntrackQuery = { [K in Key]?: string | number | boolean }

const FAMILIES: Record<string, Family> = { ipv4: 4, inet: 4, ipv6: 6, inet6: 6 }
const STATUS: Record<string, number> = { ASSURED: Status.Assured, SEEN_REPLY: Status.SeenReply }

/** @throws Wrong with a sentence, for the first key that makes no sense */
export function filterOf(query: ConntrackQuery): ConntrackFilter {
  const filter: ConntrackFilter = {}
  const given = (key: Key): string | undefined => {
    const value = query[key]
    return value === undefined || value === false ? undefined : String(value)
  }
  const take = <T>(key: Key, read: (text: string) => T): T | undefined => {
    const text = given(key)
    return text === undefined ? undefined : read(text)
  }
  const port = (text: string): number => readNumber(text, 0, 65535, 'a port')
  filter.family = take('family', readFamily)
  filter.protocol = take('proto', readProtocol)
  filter.src = take('src', readNetwork)
  filter.dst = take('dst', readNetwork)
  filter.replySrc = take('replySrc', readNetwork)
  filter.replyDst = take('replyDst', readNetwork)
  filter.sport = take('sport', port)
  filter.dport = take('dport', port)
  filter.replySport = take('replySport', port)
  filter.replyDport = take('replyDport', port)
  filter.state = take('state', readState)
  filter.mark = take('mark', readMark)
  filter.zone = take('zone', (text) => readNumber(text, 0, 65535, 'a zone'))
  filter.status = (given('srcNat') ? Status.SrcNat : 0) | (given('dstNat') ? Status.DstNat : 0)
  filter.statusNot = 0
  take('status', (text) => readStatus(text, filter))
  return filter
}

/** True when nothing is asked for in particular. */
export function asksForAll(query: ConntrackQuery): boolean {
  return QUERY_KEYS.every((key) => query[key] === undefined || query[key] === false)
}

function readFamily(text: string): Family {
  const family = FAMILIES[text.toLowerCase()]
  if (family === undefined) throw new Wrong(`unknown family '${text}'`, ['ipv4', 'ipv6'])
  return family
}

function readNetwork(text: string): AddressFilter {
  const [address, prefix, more] = text.split('/')
  const family = isIPv4(address) ? 4 : 6
  if (more !== undefined || (family === 6 && !address.includes(':')))
    throw new Wrong(`'${text}' is not an address or a network (host names are not looked up)`)
  const words = [...readAddress(address, family)]
  if (prefix === undefined) return { address: words }
  return { address: words, prefix: readNumber(prefix, 0, width(family), 'a prefix length') }
}

function readState(text: string): string {
  const state = TCP_STATES.find((one) => one === text.toUpperCase())
  if (state === undefined) throw new Wrong(`unknown state '${text}'`, TCP_STATES)
  return state
}

function readStatus(text: string, filter: ConntrackFilter): void {
  for (const word of text.toUpperCase().split(',')) {
    if (word === 'UNSET') filter.statusNot = (filter.statusNot ?? 0) | Status.Assured | Status.SeenReply
    else if (Object.hasOwn(STATUS, word)) filter.status = (filter.status ?? 0) | STATUS[word]
    else throw new Wrong(`unknown status '${word}'`, [...Object.keys(STATUS), 'UNSET'])
  }
}
