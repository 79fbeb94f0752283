/** Any valid configuration survives being written and read; any one mistake in it is told once, in its line. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LineCounter, parseDocument, type Scalar, stringify, type YAMLMap } from 'yaml'
import { ConfigError } from '../../src/config/error.ts'
import { checkConfigObject, parseConfig } from '../../src/config/load.ts'
import { configObject } from './configs.ts'

type Mapping = Record<string, unknown>
const isMapping = (x: unknown): x is Mapping => typeof x === 'object' && x !== null && !Array.isArray(x)

/** Every mapping whose keys are fixed, and every key in it, as a path. */
function knownKeys(config: Mapping): string[][] {
  const paths: string[][] = []
  const walk = (at: Mapping, path: string[]) => {
    const named = ['switches', 'ports', 'routers', 'interfaces', 'vteps'].includes(path.at(-1) ?? '')
    for (const [key, value] of Object.entries(at)) {
      if (!named) paths.push([...path, key])
      if (isMapping(value)) walk(value, [...path, key])
    }
  }
  walk(config, [])
  return paths
}

function problemsOf(text: string) {
  try {
    parseConfig(text, 'x.yaml')
    return []
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.problems
  }
}

/** The line of a key, by another way than the loader's: the document's own pairs. */
function lineOf(text: string, path: string[]): number {
  const lineCounter = new LineCounter()
  let node: unknown = parseDocument(text, { lineCounter }).contents
  let offset = 0
  for (const step of path) {
    const pair = (node as YAMLMap<Scalar, unknown>).items.find((p) => String(p.key.value) === step)!
    offset = pair.key.range![0]
    node = pair.value
  }
  return lineCounter.linePos(offset).line
}

const parentOf = (config: Mapping, path: string[]) =>
  path.slice(0, -1).reduce((at, key) => at[key] as Mapping, config)

describe('configurations at random', () => {
  it('say the same as an object, as YAML and as JSON', () => {
    fc.assert(
      fc.property(configObject, (object) => {
        const file = `${process.cwd()}/x.yaml`
        const expected = checkConfigObject(object)
        expect(parseConfig(stringify(object), file)).toEqual(expected)
        expect(parseConfig(JSON.stringify(object), file)).toEqual(expected)
      }),
      { numRuns: 60 },
    )
  })

  it('one misspelt key is one problem, in its line', () => {
    fc.assert(
      fc.property(configObject, fc.nat(), (object, pick) => {
        const config = structuredClone(object) as Mapping
        const paths = knownKeys(config)
        const path = paths[pick % paths.length]
        const key = path.at(-1)!
        const wrong = `${key}q`
        const parent = parentOf(config, path)
        const entries = Object.entries(parent).map(([k, v]) => [k === key ? wrong : k, v] as const)
        for (const k of Object.keys(parent)) delete parent[k]
        for (const [k, v] of entries) parent[k] = v
        const text = stringify(config)
        const problems = problemsOf(text)
        expect(problems.map((p) => [p.path, p.found, p.line])).toEqual([
          [
            [...path.slice(0, -1), wrong].join('.'),
            'an unknown key',
            lineOf(text, [...path.slice(0, -1), wrong]),
          ],
        ])
        expect(problems[0].hint).toBe(`did you mean ${key}?`)
      }),
      { numRuns: 150 },
    )
  })

  it('one wrong value is one problem, in its line', () => {
    fc.assert(
      fc.property(
        configObject,
        fc.nat(),
        fc.constantFrom<unknown>(-1, '\u0000', 1.5e300, [[]], null),
        (object, pick, bad) => {
          const config = structuredClone(object) as Mapping
          const paths = knownKeys(config)
          const path = paths[pick % paths.length]
          // {} is what null means there.
          if (path.at(-1) === 'memory' && bad === null) return
          parentOf(config, path)[path.at(-1)!] = bad
          const text = stringify(config)
          const problems = problemsOf(text)
          expect(problems.map((p) => p.path.replace(/\[.*/, ''))).toEqual([path.join('.')])
          const line = lineOf(text, path)
          // A list that is wrong inside is told where the item stands.
          expect(problems[0].line! - line).toBeLessThanOrEqual(Array.isArray(bad) ? 1 : 0)
          expect(problems[0].line).toBeGreaterThanOrEqual(line)
        },
      ),
      { numRuns: 150 },
    )
  })

  it('nothing makes the loader throw anything but a ConfigError', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary', maxLength: 200 }),
          fc.stringMatching(/^[\s\-?:{}[\]&*!|>'"%@`#,a\n]{0,60}$/),
        ),
        (text) => {
          problemsOf(text)
        },
      ),
      { numRuns: 500 },
    )
    fc.assert(
      fc.property(
        fc.object({
          key: fc.constantFrom(
            'switches',
            'ports',
            'tap',
            'vlan',
            'static',
            'trunk',
            'patch',
            'routers',
            'interfaces',
            'routes',
            'via',
            'x',
          ),
          maxDepth: 7,
        }),
        (object) => {
          try {
            checkConfigObject(object)
          } catch (error) {
            expect(error).toBeInstanceOf(ConfigError)
          }
        },
      ),
      { numRuns: 300 },
    )
  })
})
