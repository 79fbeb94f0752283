/** Rows of a VTEP's remotes (tunnel/tables.ts) as people write them. */
import { REMOTE_SHIFT, Remote } from '../tunnel/tables.ts'
import { addrText as text4 } from '../wire/ipv4.ts'
import { addrText as text6 } from '../wire/ipv6.ts'

/** @param device appended to a link-local address, '' = none */
export function remoteText(words: Int32Array, row: number, device = ''): string {
  const at = (row << REMOTE_SHIFT) + Remote.Address0
  if (words[(row << REMOTE_SHIFT) + Remote.Family] === 4) return text4(words[at])
  const text = text6(words[at], words[at + 1], words[at + 2], words[at + 3])
  const linkLocal = words[at] >>> 22 === 0xfe80 >>> 6
  return linkLocal && device !== '' ? `${text}%${device}` : text
}

/** The same of an address in words: what a row's key is compared with. */
export function sameAddress(words: Int32Array, row: number, address: readonly number[]): boolean {
  const at = (row << REMOTE_SHIFT) + Remote.Address0
  const four = words[(row << REMOTE_SHIFT) + Remote.Family] === 4
  if (four !== (address.length === 1)) return false
  return address.every((word, i) => words[at + i] === word)
}
