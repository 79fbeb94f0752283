/**
 * What a router's rules want logged (LOG, TRACE): records of a ring, as lines of the log. Reads at most
 * LINES_A_TURN at a time, so a flood of lines cannot keep the control thread.
 */
import type { RuleSet } from '../filter/model.ts'
import { type LogLine, LogLines } from '../filter/program/log-line.ts'
import { RingReader } from '../packet/ring.ts'

const LINES_A_TURN = 200

export class RuleLog {
  private readonly reader: RingReader
  private lines: LogLines

  constructor(ring: SharedArrayBuffer) {
    this.reader = new RingReader(ring)
    this.lines = new LogLines([], [])
  }

  /** The rules that records mean from now on. */
  use(rules: (RuleSet | null)[], interfaces: string[]): void {
    this.lines = new LogLines(
      rules.filter((r) => r !== null),
      interfaces,
    )
  }

  read(each: (line: LogLine) => void): void {
    for (let n = 0; n < LINES_A_TURN; n++) {
      const line = this.lines.next(this.reader)
      if (line === null) return
      each(line)
    }
  }
}
