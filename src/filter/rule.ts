/**
 * One rule: the words after `-A CHAIN` into a Rule. scope.ts knows the options; here they are collected,
 * handed to their extensions and put together. A long option may be shortened as long as it stays unique,
 * and written as --option=value.
 */
import { Wrong } from './error.ts'
import {
  type AddressMatch,
  BUILT_IN,
  type Counters,
  type Family,
  type HookName,
  type Match,
  type Rule,
  type Target,
} from './model.ts'
import { readProtocol } from './names.ts'
import type { Given, OptionSpec, Options } from './option.ts'
import { otherThan, Scope } from './scope.ts'
import { findTarget } from './targets/index.ts'
import { readInterface, readNetwork, readU64 } from './value.ts'

/** A rule whose jump still goes to a name, because chains may follow. */
export interface RuleDraft {
  /** More than one if -s or -d was a list. */
  rules: Rule[]
  jump: { chain: string; goto: boolean } | null
}

export interface RuleContext {
  family: Family
  /** Name of the chain the rule is added to. */
  chain: string
  counters: Counters | null
  line: number
}

/** Most rules that one line with address lists may become. */
const MAX_EXPANSION = 4096

export function readRule(words: readonly string[], context: RuleContext): RuleDraft {
  return new RuleReader(words, context).read()
}

class RuleReader {
  private readonly scope: Scope
  private readonly own: Options
  private jump: RuleDraft['jump'] = null
  private at = 0
  private readonly words: readonly string[]
  private readonly context: RuleContext

  constructor(words: readonly string[], context: RuleContext) {
    this.words = words
    this.context = context
    this.scope = new Scope(context.family)
    this.own = this.scope.own
  }

  read(): RuleDraft {
    while (this.at < this.words.length) this.readOption()
    const matches: Match[] = []
    let target: Target | null = null
    for (const { extension, isTarget, options } of this.scope.loaded) {
      const shape = extension.build(options, this.context.family)
      if (isTarget) target = shape as Target
      else matches.push(shape as Match)
    }
    return { rules: this.assemble(matches, target), jump: this.jump }
  }

  private readOption(): void {
    let word = this.words[this.at++]
    const invert = word === '!'
    if (invert) {
      if (this.at === this.words.length) throw new Wrong("nothing follows '!'")
      word = this.words[this.at++]
      if (word === '!') throw new Wrong("'!' twice")
    }
    if (!word.startsWith('-') || word === '-' || word === '--') {
      const hint = word.includes("'") ? ' (single quotes do not quote in this format, double quotes do)' : ''
      throw new Wrong(`unexpected word '${word}'${hint}`)
    }
    const equals = word.startsWith('--') ? word.indexOf('=') : -1
    const name = equals < 0 ? word : word.slice(0, equals)
    const { spec, owner } = this.scope.find(name)
    if (invert && !spec.invert) throw new Wrong(`option '${name}' cannot be inverted with '!'`)
    const args = equals < 0 ? [] : [word.slice(equals + 1)]
    if (args.length > spec.args) throw new Wrong(`option '${name}' takes no argument`)
    while (args.length < spec.args) {
      if (this.at === this.words.length)
        throw new Wrong(
          `option '${name}' needs ${spec.args === 1 ? 'an argument' : `${spec.args} arguments`}`,
        )
      args.push(this.words[this.at++])
      if (spec.invert && args.at(-1) === '!') throw new Wrong(`'!' goes before the option: ! ${name}`)
    }
    if (owner) owner.options.set(spec, { invert, args })
    else this.setOwn(spec, { invert, args })
  }

  private setOwn(spec: OptionSpec, given: Given): void {
    if (spec.key === 'match') {
      this.scope.loadMatch(given.args[0])
      return
    }
    this.own.set(spec, given)
    if (spec.key === 'jump' || spec.key === 'goto') this.loadTarget(given.args[0], spec.key === 'goto')
  }

  private loadTarget(name: string, isGoto: boolean): void {
    this.scope.own.exclusive('jump', 'goto')
    if (!this.scope.loadTarget(name)) this.jump = { chain: name, goto: isGoto }
    else if (isGoto) throw new Wrong(`-g goes to a chain, and '${name}' is a target`)
  }

  private assemble(matches: Match[], target: Target | null): Rule[] {
    const { family, line } = this.context
    if (this.own.has(family === 4 ? 'ipv6' : 'ipv4')) {
      throw new Wrong(
        `a rule for IPv${otherThan(family)} among IPv${family} rules: give it a file of its own`,
      )
    }
    if (family === 6 && this.own.has('fragment')) throw new Wrong('-f is for IPv4 only')
    const sources = this.readAddresses('source')
    const destinations = this.readAddresses('destination')
    if (sources.length * destinations.length > MAX_EXPANSION)
      throw new Wrong(`the lists make more than ${MAX_EXPANSION} rules`)
    const shared = {
      counters: this.readCounters(),
      inInterface: this.readInterface('in', ['OUTPUT', 'POSTROUTING']),
      outInterface: this.readInterface('out', ['PREROUTING', 'INPUT']),
      protocol: this.readProtocol(),
      fragment: this.own.has('fragment') ? !this.own.inverted('fragment') : null,
      matches,
      line,
    }
    const rules: Rule[] = []
    for (const source of sources) {
      for (const destination of destinations) {
        // A jump is resolved later, rule by rule, so a target is not shared.
        rules.push({
          ...shared,
          source,
          destination,
          target: rules.length === 0 ? target : target && { ...target },
        })
      }
    }
    return rules
  }

  private readAddresses(key: 'source' | 'destination'): (AddressMatch | null)[] {
    const text = this.own.text(key)
    if (text === undefined) return [null]
    const invert = this.own.inverted(key)
    const parts = text.split(',')
    if (invert && parts.length > 1) throw new Wrong("'!' cannot stand before a list of addresses")
    return parts.map((part) => {
      const network = readNetwork(part, this.context.family)
      return !invert && network.mask.every((word) => word === 0) ? null : { invert, ...network }
    })
  }

  private readInterface(key: 'in' | 'out', without: readonly HookName[]): Rule['inInterface'] {
    const given = this.own.inverting(key, readInterface)
    if (given === null) return null
    if ((without as readonly string[]).includes(this.context.chain)) {
      throw new Wrong(
        `there is no ${key === 'in' ? 'input' : 'output'} interface in ${this.context.chain}: -${key[0]} cannot be used`,
      )
    }
    if (given.value.prefix && given.value.name === '') {
      if (given.invert) throw new Wrong(`'! -${key[0]} +' would never match`)
      return null
    }
    return { invert: given.invert, ...given.value }
  }

  private readProtocol(): Rule['protocol'] {
    const text = this.own.text('protocol')
    if (text === undefined) return null
    const number = readProtocol(text)
    const invert = this.own.inverted('protocol')
    if (number === 0 && invert) throw new Wrong('a rule for no protocol would never match')
    return number === 0 ? null : { invert, number }
  }

  private readCounters(): Counters {
    const args = this.own.args('counters')
    if (!args) return this.context.counters ?? { packets: 0n, bytes: 0n }
    return { packets: readU64(args[0], 'a packet counter'), bytes: readU64(args[1], 'a byte counter') }
  }
}

/** Names a user-defined chain cannot have: they would mean something else after -j. */
export function checkChainName(name: string, family: Family): void {
  if (!/^[^\s"\\]{1,28}$/.test(name) || /^[-!]/.test(name)) {
    throw new Wrong(
      `'${name}' is not a chain name (1 to 28 characters, no blank or quote, not beginning with - or !)`,
    )
  }
  if (findTarget(name, family)) throw new Wrong(`a chain cannot be named '${name}': that is a target`)
  if (name in BUILT_IN_HOOK)
    throw new Wrong(`a user-defined chain cannot be named '${name}': other tables have it built in`)
}

const BUILT_IN_HOOK = Object.fromEntries(BUILT_IN.mangle.map((hook) => [hook, true]))
