/** Rows of a VTEP's remotes (tunnel/tables.ts) as people write them. */
import { REMOTE_SHIFT, Remote } from '../../tunnel/tables.ts'
import { addrText as text4 } from '../../wire/ipv4.ts'
import { addrText as text6 } from '../../wire/ipv6.ts'

/** @param device appended to a link-local address, '' = none */
export function remoteText(words: Int32Array, row: number, device = ''): string {
  const at = (row << REMOTE_SHIFT) + Remote.Address0
  if (words[(row << REMOTE_SHIFT) + Remote.Family] === 4) return text4(words[at])
  const text = text6(words[at], words[at + 1], words[at + 2], words[at + 3])
  const linkLocal = words[at] >>> 22 === 0xfe80 >>> 6
  return linkLocal && device !== '' ? `${text}%${device}` : text
}

/** Its address in words, as in a TunnelAddress. */
export function addressOf(words: Int32Array, row: number): Int32Array {
  const at = row << REMOTE_SHIFT
  const from = at + Remote.Address0
  return words.slice(from, from + (words[at + Remote.Family] === 4 ? 1 : 4))
}

/** The row of an address; -1 = there is none. */
export function rowOf(words: Int32Array, address: string): number {
  for (let row = 0; row << REMOTE_SHIFT < words.length; row++)
    if (words[row << REMOTE_SHIFT] !== 0 && remoteText(words, row) === address) return row
  return -1
}
