/**
 * The options a rule can use at one point of its line: its own and those of the extensions loaded so far,
 * the latest first. An unknown option loads the match of the rule's protocol (-p tcp --dport 80).
 */
import { Wrong } from './error.ts'
import { findMatch, matchNames } from './matches/index.ts'
import type { Family, Match, Target } from './model.ts'
import { readProtocol } from './names.ts'
import { type Extension, flag, indexOptions, type OptionSpec, Options, option } from './option.ts'
import { findTarget, targetNames } from './targets/index.ts'

/** Options every rule takes. */
const RULE_OPTIONS: readonly OptionSpec[] = [
  option('source', '-s --source --src', { invert: true }),
  option('destination', '-d --destination --dst', { invert: true }),
  option('in', '-i --in-interface', { invert: true }),
  option('out', '-o --out-interface', { invert: true }),
  option('protocol', '-p --protocol --proto', { invert: true }),
  flag('fragment', '-f --fragment', { invert: true }),
  option('match', '-m --match'),
  option('jump', '-j --jump'),
  option('goto', '-g --goto'),
  option('counters', '-c --set-counters', { args: 2 }),
  flag('ipv4', '-4 --ipv4'),
  flag('ipv6', '-6 --ipv6'),
]

const RULE_INDEX = indexOptions(RULE_OPTIONS)

const INDEX = new Map<object, ReadonlyMap<string, OptionSpec>>()

function indexOf(extension: Extension<Match> | Extension<Target>): ReadonlyMap<string, OptionSpec> {
  let index = INDEX.get(extension)
  if (!index) {
    index = indexOptions(extension.options)
    INDEX.set(extension, index)
  }
  return index
}

export interface Loaded {
  extension: Extension<Match> | Extension<Target>
  isTarget: boolean
  options: Options
}

export interface Found {
  spec: OptionSpec
  /** null: an option of the rule itself. */
  owner: Loaded | null
}

/** The match that -p NUMBER loads when one of its options is used. */
const PROTOCOL_MATCH: Readonly<Record<number, string>> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmp6' }

export class Scope {
  readonly own = new Options('rule', RULE_OPTIONS)
  /** In the order of the line. */
  readonly loaded: Loaded[] = []
  /** What -j or -g named, if it is no target known here. */
  jump: string | null = null
  private readonly family: Family

  constructor(family: Family) {
    this.family = family
  }

  find(name: string): Found {
    const found = this.lookup(name)
    if (found) return found
    if (this.loadProtocolMatch()) {
      const implied = this.lookup(name)
      if (implied) return implied
      this.loaded.pop()
    }
    throw this.unknownOption(name)
  }

  loadMatch(name: string): void {
    const { family } = this
    const extension = findMatch(name, family)
    if (!extension) {
      const hint = otherFamily(findMatch(name, otherThan(family)), family)
      throw new Wrong(`unknown match '${name}'${hint}`, matchNames(family))
    }
    this.load(extension, false)
  }

  /** False: no target has this name, so it must be a chain's. */
  loadTarget(name: string): boolean {
    const extension = findTarget(name, this.family)
    if (extension) this.load(extension, true)
    else this.jump = name
    return extension !== undefined
  }

  private load(extension: Loaded['extension'], isTarget: boolean): void {
    const owner = `${isTarget ? 'target' : 'match'} ${extension.name}`
    this.loaded.push({ extension, isTarget, options: new Options(owner, extension.options) })
  }

  /** By exact name, the rule's own first and then the latest extension's; otherwise by a unique beginning. */
  private lookup(name: string): Found | null {
    const own = RULE_INDEX.get(name)
    if (own) return { spec: own, owner: null }
    for (let at = this.loaded.length - 1; at >= 0; at--) {
      const owner = this.loaded[at]
      const spec = indexOf(owner.extension).get(name)
      if (spec) return { spec, owner }
    }
    return /^--./.test(name) ? this.lookupBeginning(name) : null
  }

  private lookupBeginning(name: string): Found | null {
    const all: Found[] = RULE_OPTIONS.map((spec) => ({ spec, owner: null }))
    for (const owner of [...this.loaded].reverse()) {
      for (const spec of owner.extension.options) all.push({ spec, owner })
    }
    const near = all.filter(({ spec }) => spec.names.some((candidate) => candidate.startsWith(name)))
    // Two instances of one match offer the same option: the latest takes it.
    const different = new Set(near.map(({ spec }) => spec))
    if (different.size > 1) {
      const names = [...different].flatMap((spec) =>
        spec.names.filter((candidate) => candidate.startsWith(name)),
      )
      throw new Wrong(`option '${name}' is ambiguous: ${names.join(' or ')}`)
    }
    return near[0] ?? null
  }

  private loadProtocolMatch(): boolean {
    const text = this.own.text('protocol')
    if (text === undefined || this.own.inverted('protocol')) return false
    const name = PROTOCOL_MATCH[readProtocol(text)]
    const extension = name === undefined ? undefined : findMatch(name, this.family)
    if (!extension || this.loaded.some((loaded) => loaded.extension === extension)) return false
    this.load(extension, false)
    return true
  }

  private unknownOption(name: string): Wrong {
    if (this.jump) {
      return new Wrong(
        `unknown option '${name}' ('${this.jump}' is a chain or an unknown target, and takes no options)`,
        targetNames(this.family),
      )
    }
    const known = [...RULE_OPTIONS, ...this.loaded.flatMap((loaded) => loaded.extension.options)]
    return new Wrong(`unknown option '${name}'`, [...new Set(known.map((spec) => spec.names[0]))])
  }
}

export function otherThan(family: Family): Family {
  return family === 4 ? 6 : 4
}

function otherFamily(extension: unknown, family: Family): string {
  return extension ? ` (it is for IPv${otherThan(family)})` : ''
}
