/** Readers and writers of one value of a rule: numbers, ports, addresses, masks, marks. A reader throws a Wrong. */
import { isIPv4, isIPv6 } from 'node:net'
import { Wrong } from './error.ts'
import { quoteName } from './lex.ts'
import type { Family, Network, Range, Words } from './model.ts'
import { SERVICE } from './names.ts'

export const U32 = 0xffff_ffff

/** Decimal, 0x hexadecimal or 0 octal, as strtoul with base 0. */
export function readNumber(text: string, min: number, max: number, what: string): number {
  const value = /^(0x[0-9a-f]{1,12}|[0-9]{1,15})$/i.test(text)
    ? /^0[0-9]/.test(text)
      ? readOctal(text)
      : Number(text)
    : Number.NaN
  if (!(value >= min && value <= max)) throw new Wrong(`'${text}' is not ${what} from ${min} to ${max}`)
  return value
}

function readOctal(text: string): number {
  return /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : Number.NaN
}

/** A 64-bit decimal, for counters. */
export function readU64(text: string, what: string): bigint {
  const value = /^[0-9]{1,20}$/.test(text) ? BigInt(text) : -1n
  if (value < 0n || value > 0xffff_ffff_ffff_ffffn)
    throw new Wrong(`'${text}' is not ${what}, a 64-bit number`)
  return value
}

/** By number or by the name of a common service. */
export function readPort(text: string): number {
  const named = SERVICE[text]
  if (named !== undefined) return named
  if (/^[0-9]/.test(text)) return readNumber(text, 0, 65535, 'a port')
  throw new Wrong(`'${text}' is not a port from 0 to 65535 nor a service name known here`)
}

/** 'a', 'a:b', and for an `open` one ':b' and 'a:'. */
export function readRange(text: string, read: (text: string) => number, open?: Range): Range {
  const colon = text.indexOf(':')
  if (colon < 0) {
    const value = read(text)
    return { min: value, max: value }
  }
  const [low, high] = [text.slice(0, colon), text.slice(colon + 1)]
  const range = {
    min: low === '' && open ? open.min : read(low),
    max: high === '' && open ? open.max : read(high),
  }
  if (range.min > range.max) throw new Wrong(`the range '${text}' ends before it begins`)
  return range
}

const ALL_PORTS: Range = { min: 0, max: 65535 }

export function readPortRange(text: string): Range {
  return readRange(text, readPort, ALL_PORTS)
}

export function printRange({ min, max }: Range, separator = ':'): string {
  return min === max ? String(min) : `${min}${separator}${max}`
}

export function width(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128
}

export function familyOf(words: Words): Family {
  return words.length === 1 ? 4 : 6
}

/** One address. Host names are not looked up: a rule must mean the same each time it is loaded. */
export function readAddress(text: string, family: Family): Words {
  if (family === 4 ? isIPv4(text) : isIPv6(text) && !text.includes('%')) {
    return family === 4 ? [readV4(text)] : readV6(text)
  }
  const hint = (family === 4 ? isIPv6(text) : isIPv4(text)) ? `, in IPv${family} rules` : ''
  throw new Wrong(`'${text}' is not an IPv${family} address${hint} (host names are not looked up)`)
}

function readV4(text: string): number {
  const [a, b, c, d] = text.split('.').map(Number)
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0
}

function readV6(text: string): Words {
  const dotted = /[0-9.]+\.[0-9.]+$/.exec(text)?.[0]
  let hex = text
  if (dotted !== undefined) {
    const tail = readV4(dotted)
    hex = `${text.slice(0, -dotted.length)}${(tail >>> 16).toString(16)}:${(tail & 0xffff).toString(16)}`
  }
  const [left, right] = hex.split('::')
  const head = left === '' ? [] : left.split(':')
  const end = right === undefined || right === '' ? [] : right.split(':')
  const zeros = new Array<string>(8 - head.length - end.length).fill('0')
  const groups = [...head, ...zeros, ...end].map((group) => Number.parseInt(group, 16))
  return [0, 2, 4, 6].map((at) => ((groups[at] << 16) | groups[at + 1]) >>> 0)
}

/** As inet_ntop writes it, with its dotted endings (::ffff:1.2.3.4, ::1.2.3.4). */
export function printAddress(words: Words): string {
  if (words.length === 1) return printV4(words[0])
  const groups = words.flatMap((word) => [word >>> 16, word & 0xffff])
  let best = -1
  let bestLength = 1
  for (let at = 0; at < 8; at++) {
    let length = 0
    while (at + length < 8 && groups[at + length] === 0) length++
    if (length > bestLength) {
      best = at
      bestLength = length
    }
  }
  const dotted = best === 0 && (bestLength === 6 || (bestLength === 5 && groups[5] === 0xffff))
  const hex = groups.map((group) => group.toString(16))
  if (dotted) return `::${bestLength === 5 ? 'ffff:' : ''}${printV4(words[3])}`
  if (best < 0) return hex.join(':')
  return `${hex.slice(0, best).join(':')}::${hex.slice(best + bestLength).join(':')}`
}

function printV4(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`
}

export function prefixMask(prefix: number, family: Family): Words {
  const words: number[] = []
  for (let left = prefix, at = 0; at < (family === 4 ? 1 : 4); at++, left -= 32) {
    words.push(left >= 32 ? U32 : left <= 0 ? 0 : (U32 << (32 - left)) >>> 0)
  }
  return words
}

/** Length of a mask that is a prefix; -1 for other bits. */
export function prefixOf(mask: Words): number {
  let prefix = 0
  for (const word of mask) prefix += Math.clz32(~word)
  const same = prefixMask(prefix, familyOf(mask))
  return mask.every((word, at) => word === same[at]) ? prefix : -1
}

export function maskWords(address: Words, mask: Words): Words {
  return address.map((word, at) => (word & mask[at]) >>> 0)
}

/** A prefix length or a mask in address form. */
export function readMask(text: string, family: Family): Words {
  if (/^[0-9]+$/.test(text)) return prefixMask(readNumber(text, 0, width(family), 'a prefix length'), family)
  return readAddress(text, family)
}

/** 'address', 'address/prefix' or 'address/mask'; '10/8' and '10.1' end in zeros, as in iptables. */
export function readNetwork(text: string, family: Family): Network {
  const { address, mask } = readUnmasked(text, family)
  return { address: maskWords(address, mask), mask }
}

/** The same with the bits outside of the mask left in. */
export function readUnmasked(text: string, family: Family): Network {
  const slash = text.indexOf('/')
  const base = slash < 0 ? text : text.slice(0, slash)
  const mask = slash < 0 ? prefixMask(width(family), family) : readMask(text.slice(slash + 1), family)
  const short = family === 4 && /^[0-9]{1,3}(\.[0-9]{1,3}){0,2}$/.test(base)
  const full = short ? `${base}${'.0'.repeat(4 - base.split('.').length)}` : base
  return { address: readAddress(full, family), mask }
}

export function printNetwork({ address, mask }: Network): string {
  const prefix = prefixOf(mask)
  return `${printAddress(address)}/${prefix < 0 ? printAddress(mask) : prefix}`
}

/** value[/mask] of 32 bits; without mask all bits. */
export function readMark(text: string): { value: number; mask: number } {
  const [value, mask, more] = text.split('/')
  if (more !== undefined) throw new Wrong(`'${text}' is not value[/mask]`)
  return {
    value: readNumber(value, 0, U32, 'a number'),
    mask: mask === undefined ? U32 : readNumber(mask, 0, U32, 'a mask'),
  }
}

export function hex(value: number): string {
  return `0x${value.toString(16)}`
}

/** An interface name as the kernel allows it (IFNAMSIZ 16); `+` at its end matches any ending. */
export function readInterface(text: string): { name: string; prefix: boolean } {
  if (text === '' || text.length > 15 || /[\s/]/.test(text) || text === '.' || text === '..') {
    throw new Wrong(`'${text}' is not an interface name (1 to 15 characters, no blank, no '/')`)
  }
  const prefix = text.endsWith('+')
  return { name: prefix ? text.slice(0, -1) : text, prefix }
}

export function printInterface({ name, prefix }: { name: string; prefix: boolean }): string {
  return quoteName(prefix ? `${name}+` : name)
}

/** Comma-separated names as the bits `table` gives them; case does not matter. */
export function readBits(text: string, table: Readonly<Record<string, number>>, what: string): number {
  let bits = 0
  for (const word of text.split(',')) {
    const name = Object.keys(table).find((key) => key.toLowerCase() === word.toLowerCase())
    if (name === undefined) throw new Wrong(`unknown ${what} '${word}'`, Object.keys(table))
    bits |= table[name]
  }
  return bits
}

export function printBits(bits: number, table: Readonly<Record<string, number>>): string {
  return Object.keys(table)
    .filter((name) => bits & table[name])
    .join(',')
}

/** One of the words, or a unique beginning of one; case does not matter. */
export function readWord<T extends string>(text: string, words: readonly T[], what: string): T {
  const exact = words.find((word) => word.toLowerCase() === text.toLowerCase())
  if (exact !== undefined) return exact
  const near = words.filter((word) => text !== '' && word.toLowerCase().startsWith(text.toLowerCase()))
  if (near.length === 1) return near[0]
  throw new Wrong(
    near.length > 1 ? `${what} '${text}' is ambiguous: ${near.join(' or ')}` : `unknown ${what} '${text}'`,
    words,
  )
}

export function readMac(text: string): number[] {
  if (!/^[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}$/i.test(text)) {
    throw new Wrong(`'${text}' is not a MAC address such as 02:00:00:00:00:01`)
  }
  return text.split(':').map((byte) => Number.parseInt(byte, 16))
}

export function printMac(bytes: readonly number[]): string {
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':')
}
