/**
 * Collects what is wrong with one configuration, with the place of each. `raw` is what the file or the
 * caller said, before any default.
 */
import type { z } from 'zod'
import { type ConfigProblem, foundText, nearest, orList, type Path, pathText, someOf } from './error.ts'
import { LATER } from './schema.ts'
import { type Source, valueAt } from './source.ts'
import type { FabricConfig } from './types.ts'
import { isMapping, type WrongParams } from './value.ts'

type Issue = z.core.$ZodIssue

/** Where a configuration came from, for problems found later. */
const origins = new WeakMap<FabricConfig, Problems>()

export class Problems {
  readonly raw: unknown
  private readonly source: Source | null
  private readonly list: ConfigProblem[]
  /** In other files. */
  private readonly elsewhere: ConfigProblem[] = []

  constructor(raw: unknown, source: Source | null) {
    this.raw = raw
    this.source = source
    this.list = [...(source?.problems ?? [])]
  }

  /** `config` was made of this. */
  remember(config: FabricConfig): void {
    origins.set(config, this)
  }

  /** An empty list for a configuration, which knows the lines of its keys if it came from a file. */
  static about(config: FabricConfig): Problems {
    const origin = origins.get(config)
    return origin ? new Problems(origin.raw, origin.source) : new Problems(config, null)
  }

  get any(): boolean {
    return this.list.length > 0 || this.elsewhere.length > 0
  }

  /**
   * The names under a key of the whole file can be read. A key that is misspelt or no mapping was told about:
   * nothing can be said about what stands on one of its names.
   */
  namesKnown(key: string): boolean {
    const { value } = valueAt(this.raw, [key])
    return value === undefined ? !this.any : isMapping(value)
  }

  /** All of them, in the order of the file; then those of other files. */
  get sorted(): ConfigProblem[] {
    const place = (p: ConfigProblem) => (p.line ?? 0) * 1e6 + (p.column ?? 0)
    return [...this.list.toSorted((a, b) => place(a) - place(b)), ...this.elsewhere]
  }

  /** Something wrong at `path`. `found` is the value there unless told otherwise. */
  add(path: Path, params: WrongParams, part: 'key' | 'value' = 'value'): void {
    const at = valueAt(this.raw, path)
    const found = 'found' in params ? params.found : at.value
    const sentence = typeof found === 'string' && found !== at.value ? found : foundText(found)
    this.list.push({
      ...this.source?.locate(at.path, part),
      path: pathText(at.path),
      found: sentence,
      expected: params.expected,
      hint: params.hint,
    })
  }

  /** Something wrong in a file that this one names. */
  addElsewhere(problem: ConfigProblem): void {
    this.elsewhere.push(problem)
  }

  /** At `path` stands a name that nothing has. */
  addUnknownName(path: Path, name: string, expected: string, known: readonly string[]): void {
    const guess = nearest(name, known)
    const all = known.length > 0 ? `: ${someOf(known)}` : ''
    this.add(path, { expected: `${expected}${all}`, hint: guess && `did you mean ${guess}?` })
  }

  /** 'switches.lan.ports.a.tap.mac, line 12': for the other place of a problem that has two. */
  lineOf(path: Path): string {
    const line = this.source?.locate(path).line
    return line === undefined ? pathText(path) : `${pathText(path)}, line ${line}`
  }

  /** What zod found. `keysAt` tells which keys a mapping may have. */
  addIssues(issues: readonly Issue[], keysAt: (path: Path) => readonly string[]): void {
    // A misspelt key explains why the right one is missing: that is one problem, not two.
    const meant = new Set<string>()
    for (const issue of issues) {
      if (issue.code !== 'unrecognized_keys') continue
      const path = issue.path as Path
      const known = keysAt(path)
      for (const key of issue.keys) {
        const guess = this.addUnknown(path, key, known)
        if (guess) meant.add(pathText([...path, guess]))
      }
    }
    for (const issue of issues) {
      const path = issue.path as Path
      if (issue.code === 'unrecognized_keys') continue
      const { value } = valueAt(this.raw, path)
      if (value === undefined && meant.has(pathText(path))) continue
      if (issue.code === 'invalid_key') {
        const expected = issue.issues[0].message
        this.add(path, { found: `the name '${path.at(-1)}'`, expected }, 'key')
      } else {
        const params = issue.code === 'custom' ? (issue.params as WrongParams) : { expected: issue.message }
        this.add(path, params)
      }
    }
  }

  private addUnknown(path: Path, key: string, known: readonly string[]): string | undefined {
    const full = [...path, key]
    const later = Object.hasOwn(LATER, key) ? LATER[key] : undefined
    if (later) {
      this.add(
        full,
        {
          found: 'a key of a later version',
          expected: `no ${key} yet`,
          hint: `this version does not have ${later}`,
        },
        'key',
      )
      return undefined
    }
    const free = known.filter((k) => valueAt(this.raw, [...path, k]).value === undefined)
    const guess = nearest(key, free)
    const expected = known.length === 0 ? 'none here' : orList(known)
    this.add(full, { found: 'an unknown key', expected, hint: guess && `did you mean ${guess}?` }, 'key')
    return guess
  }
}
