/** One rule set through both routers: loaded, tried with packets, counters and connections compared. */
import { BUILT_IN, type TableName } from '../../../src/filter/model.ts'
import { counterDifferences, Duel, type Sent } from './duel.ts'
import type { KernelSide } from './kernel-side.ts'
import { OurSide } from './our-side.ts'
import type { World } from './world.ts'

const TABLES: TableName[] = ['raw', 'mangle', 'nat', 'filter', 'security']

/** Whole tables: those that the text does not have are empty, its chains that it does not name have ACCEPT. */
export function wholeTables(text: string): string {
  const sections = new Map(
    [...text.matchAll(/^\*(\w+)\n([\s\S]*?)^COMMIT$/gm)].map(([, name, body]) => [name, body]),
  )
  return TABLES.map((table) => {
    const body = sections.get(table) ?? ''
    const missing = BUILT_IN[table].filter((chain) => !body.includes(`:${chain} `))
    return `*${table}\n${missing.map((chain) => `:${chain} ACCEPT [0:0]\n`).join('')}${body}COMMIT\n`
  }).join('')
}

export interface Outcome {
  sent: number
  came: number
  /** Ended early, where NAT drew a port. */
  drawn: boolean
  differences: string[]
}

export function compareRuleSet(
  kernel: KernelSide,
  world: World,
  { family, packets, rules, sets = '' }: { family: 4 | 6; rules: string; sets?: string; packets: Sent[] },
): Outcome {
  const text = wholeTables(rules)
  const ours = new OurSide(world)
  try {
    kernel.forgetConnections()
    if (sets !== '') kernel.command(['ipset', 'restore'], sets)
    kernel.load(family, text)
    ours.load({ [family]: text }, sets)
    const duel = new Duel(kernel, ours)
    for (const p of packets) if (!duel.drawn) duel.send(p)
    const differences = [...duel.differences]
    differences.push(...counterDifferences(ours.rules(family), kernel.rules(family)))
    if (!duel.drawn) {
      const [mine, theirs] = [ours.connections(), kernel.connections(family)]
      const found = connectionDifferences(mine, theirs)
      // A port that was drawn for a packet that did not get far is only seen here.
      if (found.length > 0 && connectionDifferences(mine.map(portless), theirs.map(portless)).length === 0)
        duel.drawn = true
      else differences.push(...found)
    }
    if (ours.balance() !== 0) differences.push(`${ours.balance()} packets are not accounted for`)
    return { sent: duel.sent, came: duel.came, drawn: duel.drawn, differences }
  } finally {
    kernel.load(family, wholeTables(''))
    if (sets !== '') kernel.command(['ipset', 'destroy'])
    ours.close()
  }
}

/** Without the ports and identifiers of the answer, which NAT draws. */
const portless = (line: string): string => line.replace(/(src=.*src=.*?) (?:sport|id)=.*? mark/, '$1 mark')

/** What `conntrack -L` says, but for seconds and who holds the entry. */
function connectionDifferences(ours: string[], theirs: string[]): string[] {
  const plain = (line: string): string =>
    line
      .replace(/^(\S+ +\d+) \d+/, '$1')
      .replace(/ packets=\d+ bytes=\d+/g, '')
      .replace(/ use=\d+| secctx=\S+| id=\d+/g, '')
      .trim()
  const [a, b] = [new Set(ours.map(plain)), new Set(theirs.map(plain))]
  return [
    ...[...b].filter((line) => !a.has(line)).map((line) => `only the kernel has ${line}`),
    ...[...a].filter((line) => !b.has(line)).map((line) => `only we have ${line}`),
  ]
}
