/**
 * The rules about files that a reader relies on and a compiler does not see: which directory may import
 * which (DESIGN.md section 3), what a hot file may not contain (section 5, rule 5), how long a file is.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))
const src = join(root, 'src')

interface Source {
  /** Relative to src/. */
  path: string
  text: string
  /** The directory it counts as, see `placeOf`. */
  place: string
  hot: boolean
}

/**
 * What may import what: a place may import itself and everything listed. `import type` may also go to the
 * places after the bar in TYPES below: the shapes are the contract, and a type leaves nothing behind.
 *
 *     wire, table <- packet <- port, switch, router, filter, tunnel <- engine <- control, config <- cli
 *     wire <- service <- control, config
 */
const LAYERS: Record<string, string[]> = {
  root: [],
  wire: ['root'],
  table: ['root'],
  // The contract with the addon: names of fields and functions, the same for everybody above.
  native: ['root'],
  packet: ['wire', 'table', 'native', 'root'],
  port: ['packet', 'wire', 'table', 'native', 'root'],
  switch: ['packet', 'wire', 'table', 'native', 'root'],
  router: ['packet', 'wire', 'table', 'native', 'root'],
  filter: ['packet', 'wire', 'table', 'native', 'root'],
  tunnel: ['packet', 'wire', 'table', 'native', 'root'],
  // Protocols of the control thread: they know packets and files, not who carries them.
  service: ['wire', 'root'],
  engine: ['port', 'switch', 'router', 'filter', 'tunnel', 'packet', 'wire', 'table', 'native', 'root'],
}
const BELOW = [...Object.keys(LAYERS)]
LAYERS.config = BELOW
LAYERS.control = [...BELOW, 'config']
// The library: what `import 'taploom'` gives.
LAYERS.index = [...BELOW, 'config', 'control']
LAYERS.cli = [...BELOW, 'config', 'control', 'index']

/** Types may point up where two places agree on a message: from -> to, and why. */
const TYPES: Record<string, { to: string; why: string }[]> = {
  port: [{ to: 'engine', why: 'command.ts says how a port is described' }],
  switch: [{ to: 'engine', why: 'command.ts says how a port behaves' }],
}

function placeOf(path: string): string {
  const [first, second] = path.split('/')
  return second === undefined ? first.replace(/\.ts$/, '') : first
}

function sources(): Source[] {
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.ts'))
  return files.sort().map((path) => {
    const text = readFileSync(join(src, path), 'utf8')
    return { path, text, place: placeOf(path), hot: text.startsWith('// HOT\n') }
  })
}

interface Import {
  to: string
  typeOnly: boolean
  line: number
}

function importsOf({ path, text }: Source): Import[] {
  const found: Import[] = []
  const pattern =
    /^(?:import|export)\s+(type\s)?(?:[^'"]*?\sfrom\s+)?['"](\.[^'"]+)['"]|\bimport\(\s*['"](\.[^'"]+)['"]/gm
  for (const match of text.matchAll(pattern)) {
    const target = match[2] ?? match[3]
    const to = relative(src, join(src, dirname(path), target))
    const names = /\{([^}]*)\}/
      .exec(match[0])?.[1]
      .split(',')
      .map((n) => n.trim())
      .filter(Boolean)
    const typeOnly = match[1] !== undefined || names?.every((n) => n.startsWith('type ')) === true
    found.push({ to, typeOnly, line: text.slice(0, match.index).split('\n').length })
  }
  return found
}

/** Code without comments and strings, line by line. */
function codeOf(text: string): string[] {
  const blank = (s: string): string => s.replace(/[^\n]/g, ' ')
  return text
    .replace(/\/\*[\s\S]*?\*\//g, blank)
    .replace(/\/\/.*$/gm, blank)
    .replace(/'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`/g, blank)
    .split('\n')
}

const all = sources()

describe('imports', () => {
  test('every directory of src has its place in the order', () => {
    expect(all.map((s) => s.place).filter((place) => !(place in LAYERS))).toEqual([])
  })

  test('go one way', () => {
    const wrong: string[] = []
    for (const source of all) {
      for (const { to, typeOnly, line } of importsOf(source)) {
        const target = placeOf(to)
        if (to.startsWith('..') || target === source.place) continue
        if ((LAYERS[source.place] ?? []).includes(target)) continue
        if (typeOnly && TYPES[source.place]?.some((t) => t.to === target)) continue
        wrong.push(`src/${source.path}:${line} imports ${to}`)
      }
    }
    expect(wrong).toEqual([])
  })

  test('the addon is loaded in one file', () => {
    const loading = all.filter((s) => s.text.includes('node-gyp-build')).map((s) => s.path)
    expect(loading).toEqual(['native.ts'])
  })

  test('no file imports itself in a circle', () => {
    const graph = new Map(
      all.map((s) => [
        s.path,
        importsOf(s)
          .filter((i) => !i.typeOnly)
          .map((i) => i.to),
      ]),
    )
    const done = new Set<string>()
    const visit = (path: string, way: string[]): void => {
      if (way.includes(path))
        throw new Error(`a circle: ${[...way.slice(way.indexOf(path)), path].join(' -> ')}`)
      if (done.has(path)) return
      for (const to of graph.get(path) ?? []) visit(to, [...way, path])
      done.add(path)
    }
    for (const path of graph.keys()) visit(path, [])
  })
})

/**
 * Constructors and methods that only cold code calls, in hot files: set up and configuration. They may
 * be idiomatic. A function is cold from its head to the closing brace with the same indentation.
 */
const COLD = [
  'constructor',
  'static',
  'of',
  'set',
  'setVlan',
  'flush',
  'unpin',
  'pin',
  'recount',
  'close',
  'join',
  'frame',
  'memory',
  'clear',
  'wordsOf',
]

const FORBIDDEN: [RegExp, string][] = [
  [/\bfor\s*\(\s*(const|let)\s+[^;)]*\sof\s/, 'for..of'],
  [/\bnew\s+(Map|Set|WeakMap|Array|[A-Z][A-Za-z]*Array)\b/, 'an allocation'],
  [/\bBigInt\b|\b\d+n\b/, 'BigInt'],
  [/\btry\s*\{/, 'try'],
  [/=>/, 'a closure'],
  [/\.\.\.[A-Za-z[]/, 'a spread'],
  [/\.(slice|subarray|map|filter|forEach|push)\(.*\)/, 'an allocation'],
]

/** Lines of hot functions, with their numbers. */
function hotLines(source: Source): [number, string][] {
  // A header's file ends with its printing: for people, never for the data plane.
  const text = source.text.split('// Text for people: not for the data plane.')[0]
  const lines = codeOf(text)
  const hot: [number, string][] = []
  let depth = 0
  let coldUntil: string | null = null
  let head = ''
  lines.forEach((line, i) => {
    const indent = /^\s*/.exec(line)![0]
    if (coldUntil !== null) {
      if (line.startsWith(`${coldUntil}}`)) coldUntil = null
      return
    }
    const named = /^\s*(?:export )?(?:private |static |readonly |async |function )*([A-Za-z]+)\s*\(/.exec(
      line,
    )
    if (named && COLD.includes(named[1]) && (indent.length === 2 || /function/.test(line))) {
      if (!/\}\s*$/.test(line)) coldUntil = indent
      return
    }
    if (/^(export )?(class|function)\b/.test(line)) head = line
    depth = indent.length
    // Fields and module constants are made once; statements stand deeper.
    const inFunction = head.includes('function') ? depth >= 2 : depth >= 4
    if (inFunction && head) hot.push([i + 1, line])
  })
  return hot
}

describe('hot files', () => {
  const hot = all.filter((s) => s.hot)

  test('there are some, and all of the path of a packet is among them', () => {
    const paths = hot.map((s) => s.path)
    for (const one of [
      'packet/pool.ts',
      'packet/batch.ts',
      'switch/switch.ts',
      'switch/fdb.ts',
      'table/hash.ts',
    ]) {
      expect(paths).toContain(one)
    }
    for (const one of ['engine/pipeline.ts', 'port/device.ts', 'switch/vlan.ts', 'switch/storm.ts']) {
      expect(paths).toContain(one)
    }
  })

  test('contain nothing that allocates or is slow, but in functions that only cold code calls', () => {
    const wrong: string[] = []
    for (const source of hot) {
      for (const [number, line] of hotLines(source)) {
        for (const [pattern, what] of FORBIDDEN) {
          // `ports.push` is the transmit queue, not an array.
          if (pattern.test(line.replace(/\b(ports|waiting)\.push\(/, '')))
            wrong.push(`src/${source.path}:${number} ${what}: ${line.trim()}`)
        }
      }
    }
    expect(wrong).toEqual([])
  })

  test('inherit from nothing', () => {
    expect(
      hot.filter((s) => /\bclass \w+ extends\b/.test(codeOf(s.text).join('\n'))).map((s) => s.path),
    ).toEqual([])
  })
})

describe('files', () => {
  test('have at most 300 lines', () => {
    const long = all
      .map((s) => [s.path, s.text.split('\n').length - 1] as const)
      .filter(([, lines]) => lines > 300)
    expect(long).toEqual([])
  })

  test('open with what they are', () => {
    const bare = all.filter((s) => !/^(#!.*\n)?(\/\/ HOT\n)?\/\*\*/.test(s.text)).map((s) => s.path)
    expect(bare).toEqual([])
  })

  test('have names of lower-case nouns', () => {
    expect(all.map((s) => s.path).filter((p) => !/^([a-z-]+\/)*[a-z][a-z0-9-]*\.ts$/.test(p))).toEqual([])
  })
})
