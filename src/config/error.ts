/**
 * What is wrong with a configuration, for a person: where, what was found, what was expected. All
 * problems of a file are told at once.
 *
 *     lab.yaml:12:20  switches.lan.ports.db.vlan.access: found 4095, expected a VLAN id from 1 to 4094
 *     |    |  |       |                                       |                      (hint in parentheses)
 *     file line column  key path                              ConfigProblem.found          ConfigProblem.expected
 */
export type Path = readonly (string | number)[]

export interface ConfigProblem {
  /** As the caller named it; undefined for an object that came from no file. */
  file?: string
  /** From 1. */
  line?: number
  column?: number
  /** 'switches.lan.ports.db.vlan.access'; '' = the whole. */
  path: string
  found: string
  expected: string
  hint?: string
}

/** A configuration that cannot be used. Nothing was touched. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly ConfigProblem[]

  constructor(problems: readonly ConfigProblem[]) {
    super(problems.map(problemText).join('\n'))
    this.problems = problems
  }
}

export function problemText(problem: ConfigProblem): string {
  const { file, line, column, path, found, expected, hint } = problem
  const place = file === undefined ? '' : `${[file, line, column].filter((x) => x !== undefined).join(':')}  `
  const key = path === '' ? '' : `${path}: `
  return `${place}${key}found ${found}, expected ${expected}${hint ? ` (${hint})` : ''}`
}

/** ['switches', 'lan', 'ports', 'a', 'static', 0] as 'switches.lan.ports.a.static[0]'. */
export function pathText(path: Path): string {
  let text = ''
  for (const key of path) text += typeof key === 'number' ? `[${key}]` : text === '' ? key : `.${key}`
  return text
}

/** A value as the operator would recognise it. */
export function foundText(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'an empty value'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list'
  if (typeof value === 'object') return 'a mapping'
  if (typeof value !== 'string') return String(value)
  const shown = JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value)
  return `'${shown.slice(1, -1).replaceAll('\\"', '"')}'`
}

/** 'a, b or c'. */
export function orList(items: readonly string[], or = 'or'): string {
  if (items.length < 2) return items.join('')
  return `${items.slice(0, -1).join(', ')} ${or} ${items.at(-1)}`
}

const SOME = 8

/** The same of a list that may be long: 'a, b, c, d, e, f, g, h or 12 others'. */
export function someOf(items: readonly string[], or = 'or'): string {
  if (items.length <= SOME + 1) return orList(items, or)
  return `${items.slice(0, SOME).join(', ')} ${or} ${items.length - SOME} others`
}

/** The candidate that `word` was most likely meant to be, if one is near. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined
  let bestDistance = Math.max(1, Math.min(3, Math.floor(word.length / 2))) + 1
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

/** Insertions, deletions, substitutions and swaps of neighbours (Damerau) that make `a` into `b`. */
function editDistance(a: string, b: string): number {
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      row[j] = Math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        row[j] = Math.min(row[j], before[j - 2] + 1)
    }
    before = last
    last = row
  }
  return last[b.length]
}
