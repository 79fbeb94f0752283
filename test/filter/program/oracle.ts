/**
 * The rules read out loud: a walk over the RuleSet model that knows nothing of programs, caches or dispatch.
 * It is given what is known of a packet and tells the verdict, and counts.
 */
import {
  BUILT_IN,
  type Chain,
  type HookName,
  type Match,
  type Rule,
  type RuleSet,
  type Table,
} from '../../../src/filter/model.ts'

export interface Known {
  src: number
  dst: number
  protocol: number
  sport: number
  dport: number
  /** TCP flags. */
  flags: number
  icmpType: number
  icmpCode: number
  inIf: string
  outIf: string
  length: number
  ttl: number
  tos: number
  /** CT_STATE bit of the model. */
  state: number
  reply: boolean
  tracked: boolean
  mark: number
  ctMark: number
  pktType: number
}

type Verdict = 'ACCEPT' | 'DROP'

/** Tables by hook, in order of priority; nat is not walked. */
const TABLES: Record<HookName, string[]> = {
  PREROUTING: ['raw', 'mangle'],
  INPUT: ['mangle', 'filter', 'security'],
  FORWARD: ['mangle', 'filter', 'security'],
  OUTPUT: ['raw', 'mangle', 'filter', 'security'],
  POSTROUTING: ['mangle'],
}

export class Oracle {
  readonly hits = new Map<Rule | Chain, [packets: number, bytes: number]>()
  private readonly rules: RuleSet
  private readonly nth = new Map<Match, number>()

  constructor(rules: RuleSet) {
    this.rules = rules
  }

  /** Walks the tables of a hook, changing `known` as targets do. `tracked`: called where conntrack stands. */
  hook(name: HookName, known: Known, tracked?: () => void): Verdict {
    let looked = false
    for (const wanted of TABLES[name]) {
      if (wanted !== 'raw' && !looked) {
        tracked?.()
        looked = true
      }
      const table = this.rules.tables.find((one) => one.name === wanted)
      if (table && BUILT_IN[table.name].includes(name) && this.table(table, name, known) === 'DROP')
        return 'DROP'
    }
    return 'ACCEPT'
  }

  private count(what: Rule | Chain, known: Known): void {
    const [packets, bytes] = this.hits.get(what) ?? [0, 0]
    this.hits.set(what, [packets + 1, bytes + known.length])
  }

  private table(table: Table, name: HookName, known: Known): Verdict {
    const chain = table.chains.find((one) => one.name === name)!
    const verdict = this.chain(table, chain, known)
    if (verdict !== null) return verdict
    this.count(chain, known)
    return chain.policy!
  }

  /** null: the chain came to its end. */
  private chain(table: Table, chain: Chain, known: Known): Verdict | null {
    for (const rule of chain.rules) {
      if (!this.fits(rule, known)) continue
      this.count(rule, known)
      const { target } = rule
      if (target === null) continue
      switch (target.kind) {
        case 'ACCEPT':
        case 'DROP':
          return target.kind
        case 'RETURN':
          return null
        case 'jump': {
          const verdict = this.chain(table, table.chains[target.chain], known)
          if (verdict !== null || target.goto) return verdict
          break
        }
        case 'MARK':
          known.mark = (known.mark & ~target.mask) ^ target.value
          break
        case 'CONNMARK':
          if (!known.tracked) break
          if (target.action === 'set') known.ctMark = (known.ctMark & ~target.mask) ^ target.value
          else if (target.action === 'save')
            known.ctMark = (known.ctMark & ~target.ctMask) ^ (known.mark & target.nfMask)
          else known.mark = (known.mark & ~target.nfMask) ^ (known.ctMark & target.ctMask)
          break
        case 'TTL':
          if (target.action === 'set') known.ttl = target.value
          else if (target.action === 'inc') known.ttl = Math.min(255, known.ttl + target.value)
          else known.ttl = Math.max(0, known.ttl - target.value)
          break
        case 'TOS':
          known.tos = ((known.tos & ~target.mask) ^ target.value) & 255
          break
        case 'DSCP':
          known.tos = (known.tos & 3) | (target.value << 2)
          break
        case 'LOG':
          break
        default:
          throw new Error(`the oracle does not know ${target.kind}`)
      }
    }
    return null
  }

  private fits(rule: Rule, known: Known): boolean {
    const { source, destination, inInterface, outInterface, protocol, fragment } = rule
    const within = (net: typeof source, address: number): boolean =>
      net === null || (((address ^ net.address[0]) & net.mask[0]) === 0) !== net.invert
    const named = (match: typeof inInterface, name: string): boolean =>
      match === null || (match.prefix ? name.startsWith(match.name) : name === match.name) !== match.invert
    if (!within(source, known.src) || !within(destination, known.dst)) return false
    if (!named(inInterface, known.inIf) || !named(outInterface, known.outIf)) return false
    if (protocol && (protocol.number === known.protocol) === protocol.invert) return false
    if (fragment === true) return false
    return rule.matches.every((match) => this.match(match, known))
  }

  private match(match: Match, known: Known): boolean {
    const inside = (value: number, { min, max }: { min: number; max: number }): boolean =>
      value >= min && value <= max
    switch (match.kind) {
      case 'comment':
        return true
      case 'tcp':
      case 'udp': {
        const { source, destination } = match
        if (source && inside(known.sport, source.value) === source.invert) return false
        if (destination && inside(known.dport, destination.value) === destination.invert) return false
        if (match.kind === 'udp' || !match.flags) return true
        const { mask, compare } = match.flags.value
        return ((known.flags & mask) === compare) !== match.flags.invert
      }
      case 'icmp': {
        const same =
          match.type === null || (match.type === known.icmpType && inside(known.icmpCode, match.code))
        return same !== match.invert
      }
      case 'multiport': {
        const any = match.ports.some(
          (range) =>
            (match.side !== 'destination' && inside(known.sport, range)) ||
            (match.side !== 'source' && inside(known.dport, range)),
        )
        return any !== match.invert
      }
      case 'iprange': {
        const ok = (one: typeof match.source, address: number): boolean =>
          one === null ||
          inside(address >>> 0, { min: one.value.first[0], max: one.value.last[0] }) !== one.invert
        return ok(match.source, known.src) && ok(match.destination, known.dst)
      }
      case 'conntrack': {
        if (match.states && ((known.state & match.states.value) !== 0) === match.states.invert) return false
        if (!known.tracked) return match.states !== null
        return match.direction === null || (match.direction === 'reply') === known.reply
      }
      case 'state':
        return ((known.state & match.states) !== 0) !== match.invert
      case 'mark':
        return ((known.mark & match.mask) >>> 0 === match.value) !== match.invert
      case 'connmark':
        return known.tracked && ((known.ctMark & match.mask) >>> 0 === match.value) !== match.invert
      case 'length':
        return inside(known.length, match.range) !== match.invert
      case 'ttl':
        if (match.compare === 'eq') return known.ttl === match.value
        if (match.compare === 'ne') return known.ttl !== match.value
        return match.compare === 'lt' ? known.ttl < match.value : known.ttl > match.value
      case 'dscp':
        return (known.tos >> 2 === match.value) !== match.invert
      case 'pkttype':
        return (['unicast', 'broadcast', 'multicast'].indexOf(match.type) === known.pktType) !== match.invert
      case 'statistic': {
        if (match.mode !== 'nth') throw new Error('the oracle has no dice')
        // The first match comes after `packet` others.
        const seen = this.nth.get(match) ?? 0
        this.nth.set(match, seen + 1)
        return (seen % match.every === match.packet) !== match.invert
      }
      default:
        throw new Error(`the oracle does not know ${match.kind}`)
    }
  }
}
