/**
 * A set as the worker searches it: one hash table in shared memory, built by the control thread.
 *
 *     entry   | used, nomatch | expires (s, 0 = never) | key words ... |
 *     key     the element's fields one behind the other: address (1 or 4 words; of a network also its prefix
 *             length), protocol << 16 | port, MAC (2 words)
 *
 * Open addressing, at most half full. A network is looked for under every prefix length the set has,
 * longest first. A list:set is its members, asked one by one.
 */
import type { IpSet, SetElement, SetField } from '../ipset.ts'
import { fourWords } from './condition.ts'
import type { CompileContext } from './context.ts'

export const enum Field {
  Ip = 0,
  Net = 1,
  Port = 2,
  Mac = 3,
}

export const enum SetEntry {
  Flags = 0,
  ExpiresS = 1,
  Key = 2,
}

export const enum SetFlag {
  Used = 1,
  Nomatch = 2,
}

export interface SetMemory {
  name: string
  fields: Field[]
  /** Words of an address: 1 or 4. */
  addressWords: number
  entryWords: number
  /** Entries; a power of two. */
  slots: number
  words: SharedArrayBuffer
  /** Packets and bytes by entry; null = not counted. */
  counters: SharedArrayBuffer | null
  timeouts: boolean
  /** Of the elements' networks, longest first. */
  prefixes: number[]
  /** hash:ip keeps only this much of an address. */
  netmask: number
  /** bitmap:port: protocols do not count. */
  anyProtocol: boolean
  /** list:set. */
  members: SetMemory[]
}

const FIELD: Readonly<Record<string, Field>> = {
  ip: Field.Ip,
  net: Field.Net,
  port: Field.Port,
  mac: Field.Mac,
}

/** True when a look-up always has the same answer and leaves no trace. */
export function isConstant(set: SetMemory): boolean {
  return !set.timeouts && set.counters === null && set.members.every(isConstant)
}

/** Builds a set's table once; both families' programs use the same one. */
export function buildSet(
  set: IpSet,
  context: Pick<CompileContext, 'sets' | 'setMemories' | 'nowMs'>,
): SetMemory {
  const known = context.setMemories.get(set.name)
  if (known) return known
  const isList = set.type === 'list:set'
  const fields = isList
    ? []
    : set.type
        .split(':')[1]
        .split(',')
        .map((name) => FIELD[name])
  const addressWords = set.family === 6 ? 4 : 1
  const width = { [Field.Ip]: addressWords, [Field.Net]: addressWords + 1, [Field.Port]: 1, [Field.Mac]: 2 }
  const entryWords = SetEntry.Key + fields.reduce((sum, field) => sum + width[field], 0)
  let slots = 16
  while (!isList && slots < 2 * set.elements.length) slots *= 2
  const memory: SetMemory = {
    name: set.name,
    fields,
    addressWords,
    entryWords,
    slots,
    words: new SharedArrayBuffer(slots * entryWords * 4),
    counters: set.counters ? new SharedArrayBuffer(slots * 16) : null,
    timeouts: set.timeoutS !== null,
    prefixes: prefixesOf(set),
    netmask: set.netmask ?? addressWords * 32,
    anyProtocol: set.type === 'bitmap:port',
    members: [],
  }
  context.setMemories.set(set.name, memory)
  if (isList) memory.members = membersOf(set, context)
  else for (const element of set.elements) insert(memory, element, context.nowMs ?? 0)
  return memory
}

function membersOf(set: IpSet, context: Pick<CompileContext, 'sets' | 'setMemories' | 'nowMs'>): SetMemory[] {
  return set.elements.flatMap(({ fields: [field] }) => {
    const member = field.kind === 'set' ? context.sets?.get(field.name) : undefined
    return member ? [buildSet(member, context)] : []
  })
}

function prefixesOf(set: IpSet): number[] {
  if (!set.type.includes('net')) return []
  const found = new Set<number>()
  for (const { fields } of set.elements) {
    const at = set.type.split(':')[1].split(',').indexOf('net')
    const field = fields[at]
    if (field.kind === 'net') found.add(field.prefix)
  }
  return [...found].sort((a, b) => b - a)
}

function insert(memory: SetMemory, element: SetElement, nowMs: number): void {
  const { entryWords, slots } = memory
  const words = new Int32Array(memory.words)
  const key = keyOf(memory, element)
  let slot = hashWords(key, key.length) & (slots - 1)
  while (words[slot * entryWords] !== 0) slot = (slot + 1) & (slots - 1)
  words[slot * entryWords + SetEntry.Flags] = SetFlag.Used | (element.nomatch ? SetFlag.Nomatch : 0)
  if (element.timeoutS)
    words[slot * entryWords + SetEntry.ExpiresS] = Math.ceil(nowMs / 1000) + element.timeoutS
  words.set(key, slot * entryWords + SetEntry.Key)
  if (!memory.counters) return
  const counters = new Float64Array(memory.counters)
  counters[2 * slot] = Number(element.packets)
  counters[2 * slot + 1] = Number(element.bytes)
}

/** The words that an element is found by. */
export function keyOf(memory: SetMemory, element: SetElement): number[] {
  return element.fields.flatMap((field, i) => fieldWords(field, memory.fields[i], memory))
}

function fieldWords(field: SetField, kind: Field, { addressWords }: SetMemory): number[] {
  switch (field.kind) {
    case 'net': {
      const address = fourWords(field.address).slice(0, addressWords)
      return kind === Field.Net ? [...address, field.prefix] : address
    }
    case 'port':
      return [(field.protocol << 16) | field.port]
    case 'mac': {
      const [a, b, c, d, e, f] = field.bytes
      return [(a << 8) | b, (c << 24) | (d << 16) | (e << 8) | f]
    }
    case 'set':
      return []
  }
}

/** The same in the worker. */
export function hashWords(key: ArrayLike<number>, length: number): number {
  let h = length
  for (let i = 0; i < length; i++) h = Math.imul(h ^ (h >>> 15) ^ key[i], 0x9e3779b1)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  return h ^ (h >>> 13)
}
