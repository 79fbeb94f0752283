/**
 * From samples to the report. `rounds[r][subject][figure]` is one sample. A ratio is made per round, of
 * two samples taken within the same minute, and only then summarised: what the machine does to one
 * subject it does, as far as can be, to the other.
 */

/** Figures in the order of the table: key, heading, decimals. */
export const FIGURES = [
  ['tcp1', 'TCP x1 Gb/s', 2],
  ['tcp4', 'TCP x4 Gb/s', 2],
  ['saturated', 'small rx kpps', 0],
  ['lossless', '<=0.5 % loss kpps', 0],
  ['p50', 'RTT p50 us', 1],
  ['p99', 'RTT p99 us', 1],
  ['cpu', 'CPU s/GB', 3],
  ['machine', 'machine s/GB', 3],
  ['user', 'user share', 3],
  ['million', '1M addr', 2],
  ['newFlows', 'new flows k/s', 1],
]
/** Already a share or a ratio of the subject's own: not compared with others. */
const OWN = ['user', 'million']

/** What issue A asks for: ours against whom, in which figure, at least or at most. */
export const TARGETS = [
  { figure: 'tcp1', against: 'relay', atLeast: 0.95 },
  { figure: 'tcp1', against: 'bridge', atLeast: 0.75 },
  { figure: 'saturated', against: 'relay', atLeast: 0.95 },
  { figure: 'saturated', against: 'bridge', atLeast: 0.95 },
  { figure: 'p50', against: 'relay', atMost: 1.1 },
  { figure: 'user', atMost: 0.12 },
  { figure: 'million', atMost: 1.1 },
]

/** What the router is asked for (issue B). */
export const ROUTER_TARGETS = [
  { of: 'router', figure: 'tcp1', against: 'taploom', atLeast: 0.9 },
  { of: 'router', figure: 'tcp1', against: 'nft', atLeast: 0.65 },
  { of: 'router', figure: 'tcp1', against: 'ovs-nat', atLeast: 10 },
  { of: 'router', figure: 'saturated', against: 'taploom', atLeast: 0.85 },
  { of: 'router', figure: 'lossless', against: 'taploom', atLeast: 0.85 },
  { of: 'router', figure: 'newFlows', against: 'nft', atLeast: 0.5 },
]

export function spread(values) {
  const sorted = values.filter((v) => typeof v === 'number' && Number.isFinite(v)).sort((a, b) => a - b)
  if (sorted.length === 0) return null
  const middle = sorted.length >> 1
  const median = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  return { median, min: sorted[0], max: sorted[sorted.length - 1], n: sorted.length }
}

/** @param ours subjects that are builds of taploom: each is compared with every other subject */
export function summary(rounds, subjects, ours, wanted = TARGETS) {
  const figures = {}
  const ratios = {}
  for (const subject of subjects) {
    figures[subject] = {}
    for (const [key] of FIGURES) figures[subject][key] = spread(rounds.map((round) => round[subject]?.[key]))
  }
  for (const one of ours) {
    for (const other of subjects.filter((s) => s !== one)) {
      const pair = {}
      for (const [key] of FIGURES) {
        if (!OWN.includes(key))
          pair[key] = spread(rounds.map((round) => round[one]?.[key] / round[other]?.[key]))
      }
      ratios[`${one}/${other}`] = pair
    }
  }
  const targets = wanted.map((target) => {
    const of = target.of ?? 'taploom'
    const measured = target.against
      ? ratios[`${of}/${target.against}`]?.[target.figure]
      : figures[of]?.[target.figure]
    const met = measured
      ? target.atLeast !== undefined
        ? measured.median >= target.atLeast
        : measured.median <= target.atMost
      : null
    return { ...target, measured: measured ?? null, met }
  })
  return { figures, ratios, targets }
}

export function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  return rows
    .map((row) =>
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  '),
    )
    .join('\n')
}

const cell = (s, digits) =>
  s === null ? '-' : `${s.median.toFixed(digits)} (${s.min.toFixed(digits)}-${s.max.toFixed(digits)})`

export function print({ figures, ratios, targets }) {
  const shown = FIGURES.filter(([key]) => Object.values(figures).some((values) => values[key]))
  const lines = ['Medians (min-max):', '']
  lines.push(
    table([
      ['', ...shown.map(([, heading]) => heading)],
      ...Object.entries(figures).map(([subject, values]) => [
        subject,
        ...shown.map(([key, , digits]) => cell(values[key] ?? null, digits)),
      ]),
    ]),
  )
  const compared = shown.filter(([key]) => !OWN.includes(key))
  if (Object.keys(ratios).length > 0) {
    lines.push(
      '',
      'Ratios, each made within a round (rates: more is better; times and CPU: less is better):',
      '',
    )
    lines.push(
      table([
        ['', ...compared.map(([, heading]) => heading)],
        ...Object.entries(ratios).map(([pair, values]) => [
          pair,
          ...compared.map(([key]) => cell(values[key] ?? null, 2)),
        ]),
      ]),
    )
  }
  lines.push('', 'Targets:', '')
  for (const target of targets) {
    const [, heading] = FIGURES.find(([key]) => key === target.figure)
    const of = target.of ?? 'taploom'
    const what = target.against ? `${heading}, ${of}/${target.against}` : `${heading} of ${of}`
    const bound = target.atLeast !== undefined ? `at least ${target.atLeast}` : `at most ${target.atMost}`
    const verdict = target.met === null ? 'not measured' : target.met ? 'met' : 'not met'
    const value = target.measured ? target.measured.median.toFixed(3) : '-'
    lines.push(`  ${what.padEnd(38)} ${bound.padEnd(14)} ${value.padStart(6)}  ${verdict}`)
  }
  return lines.join('\n')
}
