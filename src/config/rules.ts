/**
 * The rules files of routers: read whole and checked with the rest of the configuration, so that what
 * runs later cannot fail to parse. What is wrong inside of them is told with their own lines; the grammar
 * is filter/parse.ts's.
 */
import { readFileSync, statSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { RuleError, type RuleProblem } from '../filter/error.ts'
import { type ParseOptions, parseRules } from '../filter/parse.ts'
import { foundText, orList, type Path, pathText } from './error.ts'
import type { Problems } from './problems.ts'
import { routerSchema } from './router-schema.ts'
import type { SetsFound } from './sets.ts'
import { valueAt } from './source.ts'
import type { RulesConfig } from './types.ts'
import { fieldsOf } from './value.ts'

/** More is a mistake: the largest rule sets known have some megabytes. */
const MAX_BYTES = 64 * 1024 * 1024
const KEYS = [
  ['rules', 4],
  ['rules6', 6],
] as const

/** What the rules files of each router say, by its name. Files with a mistake are told about and left out. */
export function readRules(
  problems: Problems,
  directory: string,
  sets: ReadonlyMap<string, SetsFound>,
): Map<string, RulesConfig[]> {
  const found = new Map<string, RulesConfig[]>()
  for (const [router, body] of fieldsOf(valueAt(problems.raw, ['routers']).value)) {
    const all = KEYS.flatMap(([key, family]) => {
      const { data } = routerSchema.shape[key].safeParse(valueAt(body, [key]).value)
      const path = ['routers', router, key]
      const known = sets.get(router)?.byName ?? undefined
      return data ? readFamily(data, { family, sets: known }, path, directory, problems) : []
    })
    found.set(router, all)
  }
  return found
}

function readFamily(
  names: readonly string[],
  options: ParseOptions,
  key: Path,
  directory: string,
  problems: Problems,
): RulesConfig[] {
  /** File that has a table. */
  const owners = new Map<string, string>()
  return names.flatMap((name, i) => {
    const path = [...key, i]
    const { file, text } = readFile(name, directory, path, 'iptables-save', problems)
    if (text === undefined) return []
    for (const table of tablesOf(text, { ...options, file }, path, problems)) {
      const owner = owners.get(table)
      if (owner === undefined) owners.set(table, file)
      else {
        const line = 1 + text.split('\n').findIndex((l) => l.trim() === `*${table}`)
        problems.addElsewhere({
          file,
          line,
          path: written(path, problems),
          found: `table ${table} again`,
          expected: 'each table in one file',
          hint: `also in ${owner}`,
        })
      }
    }
    return [{ file, text, family: options.family }]
  })
}

/** The key: without the index, where one file stands instead of a list. */
function written(path: Path, problems: Problems): string {
  return pathText(valueAt(problems.raw, path).path)
}

/** A file that the configuration names; without text when it cannot be read, which is told. */
export function readFile(
  name: string,
  directory: string,
  path: Path,
  format: string,
  problems: Problems,
): { file: string; text?: string } {
  const file = isAbsolute(name) ? name : join(directory, name)
  const refuse = (hint: string) => {
    problems.add(path, { expected: `a file in ${format} format`, hint })
    return { file }
  }
  try {
    const stat = statSync(file)
    if (stat.isDirectory()) return refuse(`${file} is a directory`)
    if (!stat.isFile()) return refuse(`${file} is no plain file`)
    if (stat.size > MAX_BYTES) return refuse(`${file} has ${stat.size} bytes, ${MAX_BYTES} are read`)
    return { file, text: readFileSync(file, 'utf8') }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return refuse(`there is no ${file}`)
    return refuse(code === 'EACCES' ? `${file} may not be read` : message)
  }
}

/** The tables of a text; none if it cannot be used. */
function tablesOf(text: string, options: ParseOptions, path: Path, problems: Problems): string[] {
  const { family, file = '' } = options
  try {
    return parseRules(text, options).tables.map((table) => table.name)
  } catch (error) {
    if (!(error instanceof RuleError)) throw error
    for (const problem of error.problems)
      problems.addElsewhere({ file, path: written(path, problems), ...wordsOf(problem, family) })
    return []
  }
}

function wordsOf({ line, text, message, supported }: RuleProblem, family: 4 | 6) {
  const place = line === 0 ? {} : { line }
  const found = text === '' ? 'rules that cannot be used' : foundText(text)
  const format = family === 4 ? 'a line of iptables-save' : 'a line of ip6tables-save'
  const expected = supported && supported.length > 0 ? orList(supported) : format
  return { ...place, found, expected, hint: message }
}
