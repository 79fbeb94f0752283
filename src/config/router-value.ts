/**
 * Readers of single values that only routers have: names of interfaces and tables, marks, ends of NAT.
 * As in value.ts: a reader returns what the file means, or throws a Wrong.
 */
import { type Cidr, familyOf, readIp, readNetwork } from './address.ts'
import { Wrong } from './value.ts'

/** As rules can name it after -i and -o: the kernel's names have 15 bytes. */
export const INTERFACE = {
  pattern: /^[A-Za-z0-9][A-Za-z0-9_-]{0,14}$/,
  error: 'a name of letters, digits, - and _, 15 at most (rules name it)',
}

/** Where a route leads; null = `default`, whose family its gateway tells. */
export function destination(found: unknown): Cidr | null {
  if (found === 'default') return null
  return readNetwork(found, "'default', or a network such as 10.0.0.0/8 or fd00::/8")
}

export const TABLES: Readonly<Record<string, number>> = { local: 255, main: 254, default: 253 }
/** The writer of the tables keys an IPv4 prefix by table, length and address in one exact number. */
const TABLE_MAX = 32767

export function table(found: unknown): number {
  if (typeof found === 'string' && Object.hasOwn(TABLES, found)) return TABLES[found]
  if (typeof found === 'number' && Number.isInteger(found) && found >= 1 && found <= TABLE_MAX) return found
  throw new Wrong(`a table from 1 to ${TABLE_MAX}, or local, main or default`)
}

/** How addresses are looked after: router/neighbour-dad.ts. */
export function dad(found: unknown): 'on' | 'off' | 'strict' {
  if (found === 'strict') return 'strict'
  if (found === true || found === false) return found ? 'on' : 'off'
  throw new Wrong('true, false or strict')
}

/** Of an `ip rule`. The kernel's own stand at 0, 32766 and 32767. */
export function priority(found: unknown): number {
  const expected = 'a priority from 1 to 4294967295'
  if (typeof found !== 'number' || !Number.isInteger(found) || found < 0 || found > 0xffffffff)
    throw new Wrong(expected)
  if (found === 0) throw new Wrong(expected, '0 is where table local is asked')
  if (found === 32766 || found === 32767)
    throw new Wrong(
      `${expected}, not ${found}`,
      `table ${found === 32766 ? 'main' : 'default'} is asked there`,
    )
  return found
}

/** 7, '0x7', '0x1/0xff', as iptables writes marks: the bits of the mask must be those of the value. */
export function mark(found: unknown): { value: number; mask: number } {
  const expected = "a mark such as 7 or '0x1/0xff'"
  const parts = /^(0x[0-9a-f]{1,8}|[0-9]{1,10})(?:\/(0x[0-9a-f]{1,8}|[0-9]{1,10}))?$/i.exec(String(found))
  if (!parts || (typeof found !== 'string' && typeof found !== 'number')) throw new Wrong(expected)
  const value = Number(parts[1])
  const mask = parts[2] === undefined ? 0xffffffff : Number(parts[2])
  if (value > 0xffffffff || mask > 0xffffffff) throw new Wrong(expected, 'a mark has 32 bits')
  if ((value & ~mask) !== 0)
    throw new Wrong(expected, 'the value has bits that the mask has not: it could never match')
  return { value, mask }
}

export interface Endpoint {
  /** '' = every address. */
  address: string
  /** [0] and [1] are the same for a single port. */
  ports: [first: number, last: number]
}

/** The outer end of a `publish`: 'ADDRESS:PORT', '[ADDRESS]:PORT', 'ADDRESS:FIRST-LAST', ':PORT'. */
export function listen(found: unknown): Endpoint {
  const expected = "'ADDRESS:PORT', 'ADDRESS:FIRST-LAST' or ':PORT'"
  if (typeof found === 'number') throw new Wrong(expected, `':${found}' is this port of all our addresses`)
  return endpoint(found, expected, true)
}

/** The inner end. */
export function target(found: unknown): Endpoint {
  return endpoint(found, "'ADDRESS:PORT' or 'ADDRESS:FIRST-LAST'", false)
}

function endpoint(found: unknown, expected: string, any: boolean): Endpoint {
  const parts = typeof found === 'string' ? /^(.*):([0-9]+)(?:-([0-9]+))?$/.exec(found) : null
  if (!parts) {
    const portless = typeof found === 'string' && found !== '' && !found.includes(':')
    throw new Wrong(expected, portless ? 'the port is missing' : undefined)
  }
  const first = readPort(parts[2], expected)
  const last = parts[3] === undefined ? first : readPort(parts[3], expected)
  if (last < first) throw new Wrong(expected, 'the smaller port first')
  if (parts[1] === '' && any) return { address: '', ports: [first, last] }
  const bracketed = /^\[(.*)\]$/.exec(parts[1])
  const address = readIp(bracketed ? bracketed[1] : parts[1], expected)
  if ((familyOf(address) === 6) !== (bracketed !== null))
    throw new Wrong(expected, bracketed ? 'brackets are for IPv6' : `in brackets: [${address}]:${parts[2]}`)
  return { address, ports: [first, last] }
}

function readPort(text: string, expected: string): number {
  const port = Number(text)
  if (port >= 1 && port <= 65535) return port
  throw new Wrong(expected, 'a port is from 1 to 65535')
}
