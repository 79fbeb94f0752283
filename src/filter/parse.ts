/**
 * iptables-save and ip6tables-save text into a RuleSet, or a RuleError with all problems; nothing in between.
 *
 *     file   := { "#" comment | table }
 *     table  := "*" name  { chain | command }  "COMMIT"
 *     chain  := ":" name SP policy [SP "[" packets ":" bytes "]"]        policy "-": user-defined
 *     command:= ["[" packets ":" bytes "]"] "-A" chain rule | "-I" chain [number] rule
 *             | "-N" chain | "-P" chain policy | "-F" [chain]
 *
 * rule.ts reads what follows the chain; check.ts looks at the finished table. Where this differs from
 * iptables-restore it is stricter: a table comes once; a loop is an error even where no packet gets; what
 * iptables would cut off (prefixes, names) or never match (ranges that end before they begin, `! -i +`) is
 * refused; host names are not looked up. The text does not say its family: the caller does.
 */
import { checkTable, type TableDraft } from './check.ts'
import { Problems, Wrong } from './error.ts'
import type { IpSet } from './ipset.ts'
import { MAX_LINE, splitWords } from './lex.ts'
import {
  BUILT_IN,
  type Chain,
  type Counters,
  type Family,
  type HookName,
  type Rule,
  type RuleSet,
  type TableName,
} from './model.ts'
import { checkChainName, readRule } from './rule.ts'
import { readNumber, readU64 } from './value.ts'

export interface ParseOptions {
  family: Family
  /** Named in messages. */
  file?: string
  /** Sets that --match-set may name, by name. Without, any name is accepted. */
  sets?: ReadonlyMap<string, IpSet>
}

/** Larger texts and rule sets are refused: 64 Mi characters, a million rules. */
export const MAX_TEXT = 64 * 1024 * 1024
export const MAX_RULES = 1_000_000

export function parseRules(text: string, options: ParseOptions): RuleSet {
  return new Reader(options).read(text)
}

const COMMANDS = ['-A', '-I', '-N', '-P', '-F'] as const
type Command = (typeof COMMANDS)[number]
const LONG_COMMAND: Readonly<Record<string, Command>> = Object.assign(Object.create(null), {
  '--append': '-A',
  '--insert': '-I',
  '--new-chain': '-N',
  '--policy': '-P',
  '--flush': '-F',
})

interface OpenTable extends TableDraft {
  line: number
  chainByName: Map<string, Chain>
  declared: Set<string>
}

class Reader {
  private readonly problems = new Problems()
  private readonly options: ParseOptions
  private readonly tables: TableDraft[] = []
  private lines: string[] = []
  private open: OpenTable | null = null
  /** Inside a table we do not know: its lines cannot be judged. */
  private skipping = false
  private rules = 0

  constructor(options: ParseOptions) {
    this.options = options
  }

  read(text: string): RuleSet {
    const { family, file, sets } = this.options
    if (text.length > MAX_TEXT) {
      this.problems.add(0, '', `the text is longer than ${MAX_TEXT} characters`)
      this.problems.throwIfAny(file)
    }
    this.lines = text.split('\n')
    for (const [at, raw] of this.lines.entries()) {
      const line = trim(raw)
      this.problems.guard(at + 1, line, () => this.readLine(line, at + 1))
      if (this.rules > MAX_RULES) break
    }
    if (this.rules > MAX_RULES) this.problems.add(0, '', `more than ${MAX_RULES} rules`)
    else if (this.open)
      this.problems.add(
        this.open.line,
        `*${this.open.table.name}`,
        'the table is not closed: COMMIT is missing',
      )
    else if (this.skipping) this.problems.add(this.lines.length, '', 'COMMIT is missing')
    const context = { family, problems: this.problems, sets, measured: new Map<string, boolean>() }
    for (const draft of this.tables) checkTable(draft, context)
    this.problems.throwIfAny(file)
    return { family, tables: this.tables.map(({ table }) => table) }
  }

  private readLine(line: string, number: number): void {
    if (line === '' || line[0] === '#') return
    if (line.length > MAX_LINE) throw new Wrong(`the line is longer than ${MAX_LINE} characters`)
    if (line[0] === '*') this.openTable(line.slice(1), number)
    else if (line === 'COMMIT') this.commit()
    else if (!this.skipping) this.readInTable(line, number)
  }

  private readInTable(line: string, number: number): void {
    if (!this.open) throw new Wrong("this stands outside of a table: '*filter' or another must come first")
    if (line[0] === ':') this.declareChain(line.slice(1))
    else this.readCommand(line, number)
  }

  private openTable(name: string, line: number): void {
    if (this.open || this.skipping) {
      if (this.open) this.problems.add(line, `*${name}`, `COMMIT of table ${this.open.table.name} is missing`)
      this.closeTable()
    }
    const hooks = Object.hasOwn(BUILT_IN, name) ? BUILT_IN[name as TableName] : undefined
    if (!hooks) {
      this.skipping = true
      throw new Wrong(`unknown table '${name}' (its lines were not checked)`, Object.keys(BUILT_IN))
    }
    const chains = hooks.map((hook) => newChain(hook, hook))
    this.open = {
      table: { name: name as TableName, chains },
      jumps: [],
      textOf: (at) => trim(this.lines[at - 1]),
      line,
      chainByName: new Map(chains.map((chain) => [chain.name, chain])),
      declared: new Set(),
    }
    if (this.tables.some(({ table }) => table.name === name)) throw new Wrong(`table ${name} is here twice`)
  }

  private commit(): void {
    if (!this.open && !this.skipping) throw new Wrong('COMMIT without a table')
    this.closeTable()
  }

  private closeTable(): void {
    if (this.open) this.tables.push(this.open)
    this.open = null
    this.skipping = false
  }

  private declareChain(line: string): void {
    const parts = /^(\S+)[ \t]+(\S+)(?:[ \t]+(\S+))?$/.exec(line)
    if (!parts) throw new Wrong("a chain is declared as ':NAME POLICY [packets:bytes]'")
    const [, name, policy, counters] = parts
    const { chainByName, declared } = this.open!
    if (declared.has(name)) throw new Wrong(`chain '${name}' is declared twice`)
    const builtIn = chainByName.get(name)
    if (policy !== '-' || builtIn?.hook) this.setPolicy(name, policy)
    const chain = builtIn ?? this.addChain(name)
    declared.add(name)
    if (counters !== undefined) {
      const read = readCounters(counters)
      // A user-defined chain has none; iptables-save writes [0:0].
      if (chain.hook) chain.counters = read
    }
  }

  private addChain(name: string): Chain {
    const { table, chainByName } = this.open!
    if (chainByName.has(name)) throw new Wrong(`chain '${name}' is already there`)
    checkChainName(name, this.options.family)
    const chain = newChain(name, null)
    table.chains.push(chain)
    chainByName.set(name, chain)
    return chain
  }

  private setPolicy(name: string, policy: string): void {
    const { table, chainByName } = this.open!
    const chain = chainByName.get(name)
    if (!chain?.hook) {
      throw new Wrong(`only a built-in chain has a policy; a user-defined one is ':${name} - [0:0]'`, [
        ...BUILT_IN[table.name],
      ])
    }
    // '-' leaves the policy as it is, and nothing was before.
    if (policy === '-') return
    if (policy !== 'ACCEPT' && policy !== 'DROP')
      throw new Wrong(`unknown policy '${policy}'`, ['ACCEPT', 'DROP'])
    if (policy === 'DROP' && table.name === 'nat')
      throw new Wrong('table nat is not for filtering: its policies are ACCEPT')
    chain.policy = policy
  }

  private readCommand(line: string, number: number): void {
    const bracket = line[0] === '[' ? /^(\[[^\]]*\])[ \t]*(.*)$/.exec(line) : null
    const words = splitWords(bracket ? bracket[2] : line)
    const name = words[0] ?? ''
    const command = LONG_COMMAND[name] ?? COMMANDS.find((one) => one === name)
    if (command === undefined) {
      throw new Wrong(`unexpected '${name}'`, ['# comment', '*table', ':CHAIN POLICY', ...COMMANDS, 'COMMIT'])
    }
    if (bracket && command !== '-A' && command !== '-I')
      throw new Wrong('counters can stand only before a rule')
    const counters = bracket ? readCounters(bracket[1]) : null
    const rest = words.slice(1)
    if (command !== '-F' && rest.length === 0) throw new Wrong(`${command} needs the name of a chain`)
    switch (command) {
      case '-A':
        this.addRule(rest[0], rest.slice(1), counters, number, null)
        break
      case '-I':
        this.insertRule(rest, counters, number)
        break
      case '-N':
        if (rest.length !== 1) throw new Wrong('-N takes one name')
        this.addChain(rest[0])
        break
      case '-P':
        if (rest.length !== 2) throw new Wrong('-P takes a chain and a policy')
        this.setPolicy(rest[0], rest[1])
        break
      case '-F':
        this.flush(rest)
    }
  }

  private flush(names: readonly string[]): void {
    if (names.length > 1) throw new Wrong('-F takes one chain or none')
    const { table, jumps } = this.open!
    const chains = names.length === 0 ? table.chains : [this.findChain(names[0])]
    const gone = new Set<Rule>()
    for (const chain of chains) {
      for (const rule of chain.rules) gone.add(rule)
      this.rules -= chain.rules.length
      chain.rules = []
    }
    this.open!.jumps = jumps.filter(({ rule }) => !gone.has(rule))
  }

  private insertRule(words: readonly string[], counters: Counters | null, line: number): void {
    const [chain, ...rest] = words
    const numbered = /^[0-9]+$/.test(rest[0] ?? '')
    const last = this.findChain(chain).rules.length + 1
    const at = numbered ? readNumber(rest[0], 1, last, `a place in chain ${chain}`) : 1
    this.addRule(chain, numbered ? rest.slice(1) : rest, counters, line, at - 1)
  }

  private addRule(
    name: string,
    words: readonly string[],
    counters: Counters | null,
    line: number,
    at: number | null,
  ): void {
    const chain = this.findChain(name)
    const { rules, jump } = readRule(words, { family: this.options.family, chain: name, counters, line })
    this.rules += rules.length
    if (at === null) for (const rule of rules) chain.rules.push(rule)
    // Each of a list is inserted at the same place, so the last comes first, as in iptables.
    else for (const rule of rules) chain.rules.splice(at, 0, rule)
    if (jump) for (const rule of rules) this.open!.jumps.push({ rule, ...jump })
  }

  private findChain(name: string): Chain {
    const chain = this.open!.chainByName.get(name)
    if (!chain)
      throw new Wrong(
        `there is no chain '${name}' in table ${this.open!.table.name}`,
        [...this.open!.chainByName.keys()].slice(0, 50),
      )
    return chain
  }
}

function newChain(name: string, hook: HookName | null): Chain {
  return {
    name,
    hook,
    policy: hook ? 'ACCEPT' : null,
    counters: { packets: 0n, bytes: 0n },
    rules: [],
    reach: 0,
  }
}

/** '[packets:bytes]'. */
function readCounters(text: string): Counters {
  const parts = /^\[([0-9]+):([0-9]+)\]$/.exec(text)
  if (!parts) throw new Wrong(`'${text}' is not [packets:bytes]`)
  return { packets: readU64(parts[1], 'a packet counter'), bytes: readU64(parts[2], 'a byte counter') }
}

/** Blanks of the format, and the carriage return of files from elsewhere. */
function trim(line: string): string {
  return /^[ \t]|[ \t\r]$/.test(line) ? line.replace(/\r$/, '').replace(/^[ \t]+|[ \t]+$/g, '') : line
}
