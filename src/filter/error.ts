/**
 * What is wrong with a rule file or a set file, for a person: the line, its text, why, and for a word
 * we do not know everything we would have known. All problems of a text are told at once.
 *
 *     edge.rules:12: unknown match 'u32'; supported: addrtype, comment, ...
 *         -A INPUT -m u32 --u32 "0=0" -j DROP
 */
export interface RuleProblem {
  /** From 1; 0 for the text as a whole. */
  line: number
  /** The line as written, shortened to 200 characters. */
  text: string
  message: string
  /** For an unknown match, target, option, table or name: what would have been understood. */
  supported?: readonly string[]
}

/** A text that cannot be used. Nothing of it was applied. */
export class RuleError extends Error {
  override readonly name = 'RuleError'
  readonly problems: readonly RuleProblem[]

  constructor(problems: readonly RuleProblem[], file = 'rules') {
    super(problems.map((problem) => problemText(problem, file)).join('\n'))
    this.problems = problems
  }
}

export function problemText({ line, text, message, supported }: RuleProblem, file: string): string {
  const place = line === 0 ? file : `${file}:${line}`
  const known = supported ? `; supported: ${supported.join(', ')}` : ''
  return `${place}: ${message}${known}${text === '' ? '' : `\n    ${text}`}`
}

/** Thrown by the readers of one word or rule; the reader of the file adds the place. */
export class Wrong extends Error {
  readonly supported?: readonly string[]

  constructor(message: string, supported?: readonly string[]) {
    super(message)
    this.supported = supported
  }
}

/** Collects problems: the first `LIMIT` in full, the others counted, so that a bad file stays readable. */
export class Problems {
  static readonly LIMIT = 100
  private readonly list: RuleProblem[] = []
  private more = 0

  add(line: number, text: string, message: string, supported?: readonly string[]): void {
    if (this.list.length >= Problems.LIMIT) {
      this.more++
      return
    }
    this.list.push({ line, text: text.length > 200 ? `${text.slice(0, 197)}...` : text, message, supported })
  }

  /** Runs `work`; a Wrong it throws becomes a problem of this line. */
  guard(line: number, text: string, work: () => void): void {
    try {
      work()
    } catch (error) {
      if (!(error instanceof Wrong)) throw error
      this.add(line, text, error.message, error.supported)
    }
  }

  throwIfAny(file?: string): void {
    if (this.list.length === 0) return
    const sorted = [...this.list].sort((a, b) => a.line - b.line)
    if (this.more > 0) sorted.push({ line: 0, text: '', message: `and ${this.more} more problems` })
    throw new RuleError(sorted, file)
  }
}
