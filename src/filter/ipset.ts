/**
 * Sets of addresses, as `ipset save` writes them and as a configuration gives them inline.
 *
 *     create NAME TYPE [family inet] [hashsize N] [maxelem N] [netmask N] [timeout S] [counters] [comment] ...
 *     add NAME ELEMENT [timeout S] [packets N] [bytes N] [comment "text"] [nomatch]
 *
 * An element has one field for each word of its type: hash:net,port is a network and a port. Ranges
 * become what ipset makes of them: addresses, prefixes, ports. element.ts reads and writes elements.
 */
import { MAX_EXPANSION, printElement, readElement, type SetField } from './element.ts'
import { Problems, Wrong } from './error.ts'
import { MAX_LINE, splitWords } from './lex.ts'
import { readSetName } from './matches/memory.ts'
import type { Family } from './model.ts'
import { readNumber, readPort, readRange, readU64, U32, width } from './value.ts'

export type { SetField } from './element.ts'
export { printCreate, printSets } from './ipset-print.ts'

export const SET_TYPES = [
  'hash:ip',
  'hash:net',
  'hash:ip,port',
  'hash:net,port',
  'hash:ip,port,ip',
  'hash:ip,port,net',
  'hash:mac',
  'bitmap:port',
  'list:set',
] as const
export type SetType = (typeof SET_TYPES)[number]

export interface SetElement {
  /** One for each dimension of the type. */
  fields: readonly SetField[]
  /** An exception: what matches this does not match the set. */
  nomatch: boolean
  /** null: the set has no timeouts. 0: never. */
  timeoutS: number | null
  packets: bigint
  bytes: bigint
  comment: string
}

export interface IpSet {
  name: string
  type: SetType
  /** null where there are no addresses: hash:mac, bitmap:port, list:set. */
  family: Family | null
  /** Buckets to begin with. */
  hashSize: number
  /** Most elements; of a list:set its size. */
  maxElements: number
  /** hash:ip keeps only this much of an address. */
  netmask: number | null
  /** bitmap:port: ports that can be in it. */
  range: { min: number; max: number } | null
  /** Default of elements, 0 = never; null: the set has no timeouts. */
  timeoutS: number | null
  counters: boolean
  comments: boolean
  forceAdd: boolean
  /** Kept to be printed; null if not given. */
  bucketSize: number | null
  initialValue: number | null
  elements: SetElement[]
}

/** A set as a configuration file gives it inline. */
export interface InlineSet {
  type: string
  family?: Family
  timeout?: number
  counters?: boolean
  /** Words after the element are allowed, as after `add NAME`. */
  elements: readonly string[]
}

export const MAX_SET_TEXT = 256 * 1024 * 1024

interface Building {
  set: IpSet
  seen: Set<string>
}

/** `ipset save` text into sets in its order, by name. Throws a RuleError with all problems. */
export function parseSets(text: string, file?: string): Map<string, IpSet> {
  const problems = new Problems()
  const sets = new Map<string, Building>()
  if (text.length > MAX_SET_TEXT) problems.add(0, '', `the text is longer than ${MAX_SET_TEXT} characters`)
  else {
    for (const [at, raw] of text.split('\n').entries()) {
      const line = raw.replace(/\r$/, '')
      problems.guard(at + 1, line, () => readLine(line, sets))
    }
  }
  problems.throwIfAny(file)
  return finish(sets)
}

/** The same from a configuration's mapping; a problem's line is the number of the element, from 1. */
export function makeSets(inline: Readonly<Record<string, InlineSet>>, file?: string): Map<string, IpSet> {
  const problems = new Problems()
  const sets = new Map<string, Building>()
  for (const [name, { type, family, timeout, counters, elements }] of Object.entries(inline)) {
    problems.guard(0, `set ${name}`, () => {
      const building = create([
        name,
        type,
        ...(family === undefined ? [] : ['family', family === 4 ? 'inet' : 'inet6']),
        ...(timeout === undefined ? [] : ['timeout', String(timeout)]),
        ...(type === 'bitmap:port' ? ['range', '0-65535'] : []),
        ...(counters ? ['counters'] : []),
        ...(type.startsWith('hash:') && elements.length > 65536 ? ['maxelem', String(elements.length)] : []),
      ])
      sets.set(name, building)
      for (const [at, element] of elements.entries()) {
        problems.guard(at + 1, `set ${name}: ${element}`, () => add(splitWords(element), building, sets))
      }
    })
  }
  problems.throwIfAny(file)
  return finish(sets)
}

function finish(sets: ReadonlyMap<string, Building>): Map<string, IpSet> {
  return new Map([...sets].map(([name, { set }]) => [name, set]))
}

function readLine(line: string, sets: Map<string, Building>): void {
  if (line.length > MAX_LINE) throw new Wrong(`the line is longer than ${MAX_LINE} characters`)
  if (/^[ \t]*(#|$)/.test(line)) return
  const [command, ...rest] = splitWords(line)
  if (command === 'create' || command === '-N') {
    const building = create(rest)
    if (sets.has(building.set.name)) throw new Wrong(`set '${building.set.name}' is created twice`)
    sets.set(building.set.name, building)
  } else if (command === 'add' || command === '-A') {
    const building = sets.get(rest[0] ?? '')
    if (!building) throw new Wrong(`there is no set '${rest[0] ?? ''}' before this line`)
    add(rest.slice(1), building, sets)
  } else throw new Wrong(`unexpected '${command}'`, ['create NAME TYPE', 'add NAME ELEMENT', '# comment'])
}

/** Options of create, in the order ipset prints them, and the types that have them. */
const CREATE: Readonly<Record<string, { args: 0 | 1; types: RegExp }>> = {
  range: { args: 1, types: /^bitmap/ },
  family: { args: 1, types: /^hash:(ip|net)/ },
  hashsize: { args: 1, types: /^hash/ },
  maxelem: { args: 1, types: /^hash/ },
  netmask: { args: 1, types: /^hash:ip$/ },
  size: { args: 1, types: /^list/ },
  timeout: { args: 1, types: /./ },
  counters: { args: 0, types: /./ },
  comment: { args: 0, types: /./ },
  forceadd: { args: 0, types: /^hash/ },
  bucketsize: { args: 1, types: /^hash/ },
  initval: { args: 1, types: /^hash/ },
}

function create(line: readonly string[]): Building {
  const [name, typeName, ...rest] = line
  if (name === undefined || typeName === undefined)
    throw new Wrong('a set is created by: create NAME TYPE [options]')
  readSetName(name)
  const type = SET_TYPES.find((one) => one === typeName)
  if (type === undefined) throw new Wrong(`unknown set type '${typeName}'`, SET_TYPES)
  const supported = Object.keys(CREATE).filter((key) => CREATE[key].types.test(type))
  const given = readPairs(
    rest,
    (word) => (supported.includes(word) ? CREATE[word].args : undefined),
    supported,
  )
  const number = (key: string, min: number, max: number) => {
    const text = given.get(key)
    return text === undefined ? null : readNumber(text, min, max, `a ${key}`)
  }
  const family = /^hash:(ip|net)/.test(type) ? readFamily(given.get('family') ?? 'inet') : null
  const range = given.get('range')
  if (type === 'bitmap:port' && range === undefined)
    throw new Wrong("bitmap:port: 'range FIRST-LAST' must be given")
  const set: IpSet = {
    name,
    type,
    family,
    hashSize: number('hashsize', 1, 0x8000_0000) ?? 1024,
    maxElements: type === 'list:set' ? (number('size', 1, 65536) ?? 8) : (number('maxelem', 1, U32) ?? 65536),
    netmask: number('netmask', 1, width(family ?? 4)),
    range: range === undefined ? null : readRange(range.replace('-', ':'), readPort),
    timeoutS: number('timeout', 0, 2_147_483),
    counters: given.has('counters'),
    comments: given.has('comment'),
    forceAdd: given.has('forceadd'),
    bucketSize: number('bucketsize', 2, 14),
    initialValue: number('initval', 0, U32),
    elements: [],
  }
  return { set, seen: new Set() }
}

function readFamily(text: string): Family {
  if (text !== 'inet' && text !== 'inet6') throw new Wrong(`unknown family '${text}'`, ['inet', 'inet6'])
  return text === 'inet' ? 4 : 6
}

/** 'key value key key value' into a map; '' where a key has no value. */
function readPairs(
  list: readonly string[],
  argsOf: (word: string) => 0 | 1 | undefined,
  supported: readonly string[],
): Map<string, string> {
  const given = new Map<string, string>()
  for (let at = 0; at < list.length; at++) {
    const word = list[at]
    const args = argsOf(word)
    if (args === undefined) throw new Wrong(`unknown option '${word}'`, supported)
    if (given.has(word)) throw new Wrong(`option '${word}' is given twice`)
    if (args === 1 && at + 1 === list.length) throw new Wrong(`option '${word}' needs an argument`)
    given.set(word, args === 1 ? list[++at] : '')
  }
  return given
}

function add(line: readonly string[], { set, seen }: Building, sets: ReadonlyMap<string, Building>): void {
  const [text, ...rest] = line
  if (text === undefined) throw new Wrong('an element is missing')
  const supported = [
    ...(set.timeoutS === null ? [] : ['timeout']),
    ...(set.counters ? ['packets', 'bytes'] : []),
    ...(set.comments ? ['comment'] : []),
    ...(set.type.includes('net') ? ['nomatch'] : []),
  ]
  const given = readPairs(
    rest,
    (word) => (supported.includes(word) ? (word === 'nomatch' ? 0 : 1) : undefined),
    supported,
  )
  const comment = given.get('comment') ?? ''
  if (Buffer.byteLength(comment) > 255 || comment.includes('"'))
    throw new Wrong('a comment has at most 255 bytes and no double quote')
  const shared = {
    nomatch: given.has('nomatch'),
    timeoutS: given.has('timeout')
      ? readNumber(given.get('timeout')!, 0, 2_147_483, 'a timeout')
      : set.timeoutS,
    packets: readU64(given.get('packets') ?? '0', 'a packet counter'),
    bytes: readU64(given.get('bytes') ?? '0', 'a byte counter'),
    comment,
  }
  const all = readElement(text, set, (name) => memberSet(name, set, sets))
  if (all.length > MAX_EXPANSION) throw new Wrong(`the ranges make more than ${MAX_EXPANSION} elements`)
  for (const fields of all) {
    const key = printElement(fields, set)
    if (seen.has(key)) throw new Wrong(`${key} is already in set '${set.name}'`)
    if (set.type !== 'bitmap:port' && set.elements.length >= set.maxElements) {
      throw new Wrong(`set '${set.name}' is full: it was created for ${set.maxElements} elements`)
    }
    seen.add(key)
    set.elements.push({ fields, ...shared })
  }
}

function memberSet(name: string, list: IpSet, sets: ReadonlyMap<string, Building>): string {
  const member = sets.get(name)
  if (!member) throw new Wrong(`there is no set '${name}' before this line`)
  if (member.set.type === 'list:set')
    throw new Wrong(`'${name}' is a list:set, which cannot be in another one ('${list.name}')`)
  return name
}
