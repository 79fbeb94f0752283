/**
 * What an extension (a match after -m, a target after -j) is made of: the options it takes, how they
 * become its shape, how that shape is printed, and where the kernel lets it stand. parse.ts collects the
 * options of each extension; only then `build` sees them, all at once.
 *
 *     { name: 'mark', options: [option('mark', '--mark', { invert: true })], build, print, check }
 */
import { Wrong } from './error.ts'
import type { Family, Rule, TableName } from './model.ts'

export interface OptionSpec {
  /** How build asks for it. */
  key: string
  /** All spellings, the first is the one that is printed. */
  names: readonly string[]
  /** Number of arguments. */
  args: number
  /** May be preceded by `!`. */
  invert: boolean
}

export function option(
  key: string,
  names: string,
  more: { args?: number; invert?: boolean } = {},
): OptionSpec {
  return { key, names: names.split(' '), args: more.args ?? 1, invert: more.invert ?? false }
}

/** Options by each of their names. */
export function indexOptions(specs: readonly OptionSpec[]): ReadonlyMap<string, OptionSpec> {
  return new Map(specs.flatMap((spec) => spec.names.map((name) => [name, spec] as const)))
}

/** An option without argument. */
export function flag(key: string, names: string, more: { invert?: boolean } = {}): OptionSpec {
  return option(key, names, { ...more, args: 0 })
}

export interface Given {
  invert: boolean
  args: string[]
}

/** The options one extension was given. */
export class Options {
  private readonly given = new Map<string, Given>()
  private readonly specs: readonly OptionSpec[]
  readonly owner: string

  constructor(owner: string, specs: readonly OptionSpec[]) {
    this.owner = owner
    this.specs = specs
  }

  set(spec: OptionSpec, given: Given): void {
    if (this.given.has(spec.key)) throw new Wrong(`${this.owner}: option '${spec.names[0]}' is given twice`)
    this.given.set(spec.key, given)
  }

  has(key: string): boolean {
    return this.given.has(key)
  }

  inverted(key: string): boolean {
    return this.given.get(key)?.invert ?? false
  }

  /** The (first) argument; undefined if the option is absent. */
  text(key: string): string | undefined {
    return this.given.get(key)?.args[0]
  }

  args(key: string): string[] | undefined {
    return this.given.get(key)?.args
  }

  /** Read by `read`, or null if absent. */
  maybe<T>(key: string, read: (text: string) => T): T | null {
    const text = this.text(key)
    return text === undefined ? null : read(text)
  }

  /** The same together with its `!`. */
  inverting<T>(key: string, read: (text: string) => T): { invert: boolean; value: T } | null {
    const text = this.text(key)
    return text === undefined ? null : { invert: this.inverted(key), value: read(text) }
  }

  /** The one of `keys` that was given. Throws if none or several are. */
  oneOf(keys: readonly string[], names: string): string {
    const found = keys.filter((key) => this.given.has(key))
    if (found.length !== 1) {
      throw new Wrong(`${this.owner}: ${found.length === 0 ? 'one' : 'only one'} of ${names} must be given`)
    }
    return found[0]
  }

  need(key: string, name: string): string {
    const text = this.text(key)
    if (text === undefined) throw new Wrong(`${this.owner}: '${name}' must be given`)
    return text
  }

  /** For extensions that mean nothing without any option. */
  needAny(): void {
    if (this.given.size === 0) throw new Wrong(`${this.owner}: at least one option must be given`)
  }

  exclusive(a: string, b: string): void {
    if (!this.given.has(a) || !this.given.has(b)) return
    const name = (key: string) => this.specs.find((spec) => spec.key === key)!.names[0]
    throw new Wrong(`${this.owner}: '${name(a)}' and '${name(b)}' exclude each other`)
  }
}

/** Where a rule stands, for checks that need to know it. */
export interface Place {
  table: TableName
  /** HOOK bits from which a packet can come here. */
  reach: number
  rule: Rule
}

export interface Extension<T> {
  name: string
  aliases?: readonly string[]
  /** Only for this family; both if absent. */
  family?: Family
  options: readonly OptionSpec[]
  build(options: Options, family: Family): T
  /** Its options, without `-m NAME` and `-j NAME`. May be ''. */
  print(shape: T, family: Family): string
  /** What the kernel would object to; undefined if nothing. */
  check?(shape: T, place: Place): string | undefined
}

/** Joins the parts that are there. */
export function words(...parts: (string | false | null | undefined)[]): string {
  return parts.filter((part) => part).join(' ')
}

/** '! --name text', '--name text', or '' for null. */
export function printInverting<T>(
  name: string,
  given: { invert: boolean; value: T } | null,
  text: (value: T) => string,
): string {
  return given === null ? '' : `${given.invert ? '! ' : ''}${name} ${text(given.value)}`
}

/** Restricts an extension to tables and hooks, worded once. `hooks` are HOOK bits. */
export function only(
  place: Place,
  name: string,
  tables: readonly TableName[],
  hooks: number,
  hookText: string,
): string | undefined {
  if (tables.length > 0 && !tables.includes(place.table)) {
    return `${name} is valid only in table ${tables.join(' and ')}, not in ${place.table}`
  }
  if (place.reach & ~hooks) return `${name} is valid only in ${hookText} and chains reached only from there`
  return undefined
}

/** True if the rule is for exactly this protocol. */
export function isProtocol(rule: Rule, ...numbers: number[]): boolean {
  return rule.protocol !== null && !rule.protocol.invert && numbers.includes(rule.protocol.number)
}
