/**
 * What filter rules cost the first packet of a flow: the same rules, none of which matches, in the kernel
 * (iptables-restore) and in taploom. Datagrams, each of a new flow, as fast as they go; what a packet takes is one by
 * the rate that arrives, and what a rule takes the difference between many rules and few by their number.
 */
import { newFlows } from './figures.mjs'
import { Lab } from './lab.mjs'
import { quiet } from './machine.mjs'
import { note } from './process.mjs'
import { spread } from './report.mjs'
import { FEW_RULES, MANY_RULES, RULED } from './subjects.mjs'

/** Packets per second by kind: [few rules, many rules]; null where it cannot be had here. */
export async function rulesRound(o, r) {
  const result = {}
  for (const [kind, pair] of Object.entries(RULED)) {
    if (pair.some((subject) => subject.missing() !== null)) {
      result[kind] = null
      continue
    }
    result[kind] = []
    for (const subject of pair) {
      const lab = new Lab(subject.name)
      try {
        await subject.up(lab)
        await lab.reachable()
        await newFlows(lab, 0.5)
        await quiet(o.patience)
        const { pps } = await newFlows(lab, Math.min(o.seconds, 1.5))
        result[kind].push(pps)
        note(`round ${r + 1}/${o.rounds}  ${subject.name.padEnd(14)}  newflows ${(pps / 1e3).toPrecision(4)}`)
      } finally {
        await lab.down()
      }
    }
  }
  return result
}

/** ns that one rule takes, by the rates of a round. */
export const nsPerRule = ([few, many]) => (1e9 / many - 1e9 / few) / (MANY_RULES - FEW_RULES)

export function rulesReport(rounds) {
  const rows = Object.keys(RULED).map((kind) => {
    const had = rounds.map((round) => round[kind]).filter(Boolean)
    if (had.length === 0) return `  ${kind.padEnd(10)} not installed`
    const ns = spread(had.map(nsPerRule))
    const rates = [0, 1].map((i) => (spread(had.map((pair) => pair[i])).median / 1e3).toFixed(1))
    const each = `${ns.median.toFixed(2)} (${ns.min.toFixed(2)}-${ns.max.toFixed(2)}) ns a rule`
    return `  ${kind.padEnd(10)} ${each}; new flows, thousands a second: ${rates[0]} under ${FEW_RULES}, ${rates[1]} under ${MANY_RULES}`
  })
  return ['What a rule costs the first packet of a flow:', '', ...rows].join('\n')
}

/** Median ns that a rule takes in the kernel, in a document of the router's benchmark; null = not measured. */
export function kernelNsPerRule(document) {
  return (
    spread((document?.rules ?? []).map((round) => round.iptables && nsPerRule(round.iptables)))?.median ??
    null
  )
}
