/**
 * A configuration file as text: YAML to plain values, and back from a key path to line and column.
 *
 * Everything YAML itself objects to is told here: syntax, tabs, a key twice, an alias without anchor.
 * Aliases are bounded, so a few lines cannot expand to gigabytes ("billion laughs").
 */
import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  visit,
} from 'yaml'
import { type ConfigProblem, type Path, pathText } from './error.ts'

/** Mistakes of syntax that are told. */
const SYNTAX_SHOWN = 3
/** Enough for one alias on each of the 1024 ports a fabric can have. */
const MAX_ALIASES = 4096
/** Levels of nesting; a configuration has ten. The parser is recursive. */
const MAX_DEPTH = 64
/** Characters; 1024 ports with everything written out stay below a tenth of it. */
const MAX_LENGTH = 16 * 1024 * 1024

export interface Place {
  file?: string
  line?: number
  column?: number
}

export class Source {
  readonly file: string
  /** What the file says, as plain values; undefined when it cannot be read as YAML. */
  readonly value: unknown
  readonly problems: ConfigProblem[] = []
  /** It could be parsed, but has no value. */
  private broken = false
  private readonly lines = new LineCounter()
  private readonly document: Document.Parsed | null = null

  constructor(text: string, file: string) {
    this.file = file
    if (text.length > MAX_LENGTH) {
      this.problems.push({
        file,
        path: '',
        found: `${text.length} characters`,
        expected: `at most ${MAX_LENGTH}`,
      })
      return
    }
    if (tooDeep(text)) {
      this.problems.push({
        file,
        path: '',
        found: 'nesting too deep to read',
        expected: `at most ${MAX_DEPTH} levels`,
      })
      return
    }
    try {
      const lineCounter = this.lines
      this.document = parseDocument(text, {
        lineCounter,
        prettyErrors: false,
        uniqueKeys: false,
        merge: true,
        logLevel: 'error',
      })
      // What comes behind the first mistakes of syntax is mostly their consequence.
      for (const e of [...this.document.errors, ...this.document.warnings].slice(0, SYNTAX_SHOWN))
        this.syntax(e.code, e.message, e.pos[0])
      if (this.problems.length > 0) return
      if (this.document.contents === null) {
        this.refuse([], 'an empty file', 'a mapping with at least the key switches')
        return
      }
      this.checkKeys()
      this.checkAliases()
      if (this.broken) return
      this.value = this.document.toJS({ maxAliasCount: MAX_ALIASES })
    } catch (error) {
      // The yaml package's word for too many aliases.
      if (!(error instanceof ReferenceError)) throw error
      this.refuse([], 'aliases that expand without end', 'a plainer file')
    }
  }

  private syntax(code: string, message: string, offset: number): void {
    const { line, col: column } = this.lines.linePos(offset)
    const tab = code === 'TAB_AS_INDENT'
    this.problems.push({
      file: this.file,
      line,
      column,
      path: '',
      found: tab ? 'a tab as indentation' : `what is not YAML (${message.split('\n')[0]})`,
      expected: tab ? 'spaces' : 'YAML',
    })
  }

  private refuse(path: Path, found: string, expected: string, at: Place = this.locate(path)): void {
    this.problems.push({ ...at, path: pathText(path), found, expected })
  }

  /** A key twice in one mapping; and the one name that JavaScript keeps to itself. */
  private checkKeys(): void {
    visit(this.document!, {
      Map: (_, map, ancestors) => {
        const first = new Map<string, Node>()
        for (const { key } of map.items) {
          const node = key as Node
          if (isMap(key) || isSeq(key)) {
            this.broken = true
            this.refuse(
              pathOf(ancestors, map),
              'a list or a mapping as a key',
              'a plain key',
              this.place(node),
            )
            continue
          }
          const name = keyText(key)
          const path = [...pathOf(ancestors, map), name]
          const before = first.get(name)
          if (name === '__proto__') this.refuse(path, "the key '__proto__'", 'another name', this.place(node))
          if (before && name !== '<<') {
            const { line } = this.place(before)
            this.refuse(
              path,
              'the key a second time',
              `each key once; the first is in line ${line}`,
              this.place(node),
            )
          }
          first.set(name, before ?? node)
        }
      },
    })
  }

  private checkAliases(): void {
    const document = this.document!
    visit(document, {
      Alias: (_, alias, ancestors) => {
        const target = alias.resolve(document)
        if (target !== undefined && !ancestors.includes(target)) return
        this.broken = true
        const found = `the alias *${alias.source}${target ? ' inside of what it stands for' : ''}`
        this.refuse(pathOf(ancestors, alias), found, 'an anchor before it', this.place(alias))
      },
    })
  }

  private place(node: Node): Place {
    const { line, col: column } = this.lines.linePos(node.range?.[0] ?? 0)
    return { file: this.file, line, column }
  }

  /**
   * Where `path` stands: its value, or its key (`part`); the nearest thing around it when it is
   * not written at all.
   */
  locate(path: Path, part: 'key' | 'value' = 'value'): Place {
    let node: unknown = this.document?.contents
    let at: Node | null = (node as Node) ?? null
    for (const [depth, step] of path.entries()) {
      const pair = this.child(node, step)
      if (!pair) break
      const keyed = part === 'key' && depth === path.length - 1
      const value = pair.value as Node | null
      // What is missing has a place only through its key; a block starts a line below it.
      const below = (isMap(value) || isSeq(value)) && !value.flow
      at = (pair.key && (keyed || below || !value?.range) ? pair.key : value) as Node
      node = value
      if (depth < path.length - 1 && !this.child(node, path[depth + 1])) {
        at = (pair.key ?? value) as Node
        break
      }
    }
    return at ? this.place(at) : { file: this.file, line: 1, column: 1 }
  }

  private child(parent: unknown, step: string | number): Pair | undefined {
    let node = parent
    if (isAlias(node)) node = (node as Alias).resolve(this.document!)
    if (isSeq(node)) {
      const item = node.items[Number(step)]
      return item === undefined ? undefined : ({ key: null, value: item } as unknown as Pair)
    }
    if (!isMap(node)) return undefined
    const own = node.items.findLast((pair) => keyText(pair.key) === String(step))
    if (own) return own
    for (const pair of node.items) {
      const merged = keyText(pair.key) === '<<' ? this.child(pair.value, step) : undefined
      if (merged) return merged
    }
    return undefined
  }
}

function keyText(key: unknown): string {
  return isScalar(key) ? String(key.value) : String(key)
}

/** The key path of a node, from what `visit` calls its ancestors. */
function pathOf(ancestors: readonly unknown[], node: unknown): (string | number)[] {
  const path: (string | number)[] = []
  for (const [i, parent] of ancestors.entries()) {
    const next = ancestors[i + 1] ?? node
    if (isSeq(parent)) path.push(parent.items.indexOf(next))
    else if (isMap(parent)) path.push(keyText((next as Pair).key))
  }
  return path
}

/** Whether parsing it would nest deeper than MAX_DEPTH in brackets, or absurdly deep in indentation. */
function tooDeep(text: string): boolean {
  let brackets = 0
  let marks = 0
  for (const token of new Lexer().lex(text)) {
    if (token === '[' || token === '{') brackets++
    else if (token === ']' || token === '}') brackets--
    else if (token === '-' || token === '?') marks++
    else if (token.endsWith('\n')) marks = 0
    if (brackets > MAX_DEPTH || marks > MAX_DEPTH) return true
    if (token.length > 10 * MAX_DEPTH && /^ +$/.test(token)) return true
  }
  return false
}

/** What `raw` says at `path`, and how much of the path exists. */
export function valueAt(raw: unknown, path: Path): { value: unknown; path: Path } {
  let value = raw
  for (const [i, step] of path.entries()) {
    if (typeof value !== 'object' || value === null) return { value, path: path.slice(0, i) }
    value = Object.hasOwn(value, step) ? (value as Record<string | number, unknown>)[step] : undefined
  }
  return { value, path }
}
