/**
 * The sets of routers (`sets`, `setFiles`): read whole and checked with the rest of the configuration, before the
 * rules that name them. The grammar is filter/ipset.ts's.
 */
import { RuleError, type RuleProblem } from '../filter/error.ts'
import { type IpSet, makeSets, parseSets, printSets } from '../filter/ipset.ts'
import { foundText, orList, type Path, pathText } from './error.ts'
import type { Problems } from './problems.ts'
import { routerSchema } from './router-schema.ts'
import { readFile } from './rules.ts'
import { valueAt } from './source.ts'
import type { SetsConfig } from './types.ts'
import { fieldsOf } from './value.ts'

export interface SetsFound {
  /** As the fabric is told them. */
  config: SetsConfig[]
  /** By name; null when there was a mistake: what rules say of sets cannot be judged then. */
  byName: Map<string, IpSet> | null
}

/** By router. */
export function readSets(problems: Problems, directory: string): Map<string, SetsFound> {
  const found = new Map<string, SetsFound>()
  for (const [router, body] of fieldsOf(valueAt(problems.raw, ['routers']).value)) {
    const all = [
      ...inlineSets(body, ['routers', router, 'sets'], problems),
      ...fileSets(body, ['routers', router, 'setFiles'], directory, problems),
    ]
    const byName = new Map<string, IpSet>()
    const owners = new Map<string, string>()
    for (const { file, path, sets } of all) {
      for (const [name, set] of sets ?? []) {
        const owner = owners.get(name)
        if (owner !== undefined) {
          const expected = 'each set once'
          problems.add(path, { found: `set ${name} again`, expected, hint: `also in ${owner}` })
        }
        owners.set(name, file)
        byName.set(name, set)
      }
    }
    found.set(router, {
      config: all.flatMap(({ file, sets, text }) => (sets ? [{ file, text: text ?? printSets(sets) }] : [])),
      byName: all.some(({ sets }) => sets === null) ? null : byName,
    })
  }
  return found
}

interface Part {
  file: string
  path: Path
  text?: string
  sets: Map<string, IpSet> | null
}

function inlineSets(body: unknown, path: Path, problems: Problems): Part[] {
  const raw = valueAt(body, ['sets']).value
  const { data } = routerSchema.shape.sets.safeParse(raw)
  // What the schema refuses is told by it.
  if (!data) return [{ file: 'sets', path, sets: null }]
  if (Object.keys(data).length === 0) return []
  const inline = Object.fromEntries(
    Object.entries(data).map(([name, { elements, family, ...set }]) => {
      const six = family === 'inet6' || (family === undefined && /^[^,]*:.*:/.test(elements[0] ?? ''))
      const has = /^hash:(ip|net)/.test(set.type)
      return [name, { ...set, elements, family: has ? (six ? 6 : 4) : undefined } as const]
    }),
  )
  try {
    return [{ file: 'sets', path, sets: makeSets(inline) }]
  } catch (error) {
    if (!(error instanceof RuleError)) throw error
    for (const problem of error.problems) {
      const name = /^set (\S+?)(?::|$)/.exec(problem.text)?.[1] ?? ''
      const listed = Array.isArray(valueAt(raw, [name]).value)
      const element = [...(listed ? [] : ['elements']), problem.line - 1]
      problems.add([...path, name, ...(problem.line > 0 ? element : [])], wordsOf(problem))
    }
    return [{ file: 'sets', path, sets: null }]
  }
}

function fileSets(body: unknown, key: Path, directory: string, problems: Problems): Part[] {
  const { data } = routerSchema.shape.setFiles.safeParse(valueAt(body, ['setFiles']).value)
  if (!data) return [{ file: '', path: key, sets: null }]
  return data.map((name, i) => {
    const path = [...key, i]
    const { file, text } = readFile(name, directory, path, 'ipset save', problems)
    if (text === undefined) return { file, path, sets: null }
    try {
      return { file, path, text, sets: parseSets(text, file) }
    } catch (error) {
      if (!(error instanceof RuleError)) throw error
      const at = pathText(valueAt(problems.raw, path).path)
      for (const problem of error.problems) {
        const line = problem.line === 0 ? {} : { line: problem.line }
        const { expected, hint } = wordsOf(problem)
        const found = problem.text === '' ? 'sets that cannot be used' : foundText(problem.text)
        problems.addElsewhere({ file, path: at, ...line, found, expected, hint })
      }
      return { file, path, sets: null }
    }
  })
}

function wordsOf({ message, supported }: RuleProblem): { expected: string; hint: string } {
  const expected = supported && supported.length > 0 ? orList(supported) : 'what ipset save writes'
  return { expected, hint: message }
}
