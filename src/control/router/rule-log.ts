/**
 * What a router's rules want told: records of two rings, read by the control thread.
 *
 *     LOG, TRACE     a line of the log, as the kernel writes it
 *     NFLOG          a packet of the pcapng file of its group (nflog-file.ts); without a file a line, too
 *
 * Reads a bounded number at a time, so a flood cannot keep the control thread. A record says of which rule set
 * it is: those written before a reload still mean the old one.
 */
import type { NflogConfig } from '../../config/types.ts'
import type { RuleSet } from '../../filter/model.ts'
import { type LogLine, LogLines, type Recorded, takeRecord } from '../../filter/program/log-line.ts'
import { LogRecord, type ReportMemory } from '../../filter/program/report.ts'
import { RingReader } from '../../packet/ring.ts'
import { NflogFile } from './nflog-file.ts'

const LINES_A_TURN = 500
const PACKETS_A_TURN = 2000
/** A ring holds less than so many turns. */
const LAST_TURNS = 1000
/** Rule sets whose records may still lie in a ring. */
const GENERATIONS = 8
const ERROR_LEVEL = 3

export class RuleLog {
  private readonly log: RingReader
  private readonly nflog: RingReader
  private readonly losses: Float64Array
  private readonly lines = new Map<number, LogLines>()
  private files = new Map<number, NflogFile>()
  private lost = 0
  private readonly each: (line: LogLine) => void

  /** @param each told every line, in order */
  constructor(memory: ReportMemory, each: (line: LogLine) => void) {
    this.each = each
    this.log = new RingReader(memory.log)
    this.nflog = new RingReader(memory.nflog)
    this.losses = new Float64Array(memory.lost ?? new SharedArrayBuffer(8))
  }

  /** The rules that records of this generation mean. */
  use(generation: number, rules: (RuleSet | null)[], interfaces: string[]): void {
    const known = rules.filter((r) => r !== null)
    this.lines.set(generation, new LogLines(known, interfaces))
    for (const old of this.lines.keys()) if (this.lines.size > GENERATIONS) this.lines.delete(old)
  }

  /**
   * Opens the files of groups that are new or have another file now. The others end with `commit`; `undo` puts
   * back what was.
   * @throws Error when a file cannot be written
   */
  open(config: readonly NflogConfig[]): { commit(): void; undo(): void } {
    const before = this.files
    const next = new Map<number, NflogFile>()
    const opened: NflogFile[] = []
    try {
      for (const { file, group, maxBytes } of config) {
        const was = before.get(group)
        const stays = was?.path === file
        const one = stays ? was : new NflogFile(file, maxBytes)
        if (stays) one.maxBytes = maxBytes
        else opened.push(one)
        next.set(group, one)
      }
    } catch (error) {
      for (const one of opened) one.close()
      throw error
    }
    return {
      commit: () => {
        this.readPackets()
        const kept = new Set(next.values())
        for (const one of before.values()) if (!kept.has(one)) one.close()
        this.files = next
      },
      undo: () => {
        for (const one of opened) one.close()
      },
    }
  }

  /** What has come, a turn's worth of it. */
  read(): void {
    const { each } = this
    for (let n = 0; n < LINES_A_TURN && !this.log.empty; n++) {
      const record = takeRecord(this.log)
      if (record) each(this.linesOf(record).line(record))
    }
    this.readPackets()
    const lost = this.losses[0]
    if (lost > this.lost)
      each(complaint(`${lost - this.lost} packets were not logged: there were too many at a time`))
    this.lost = lost
  }

  private readPackets(): void {
    const { each } = this
    if (this.nflog.empty) return
    for (let n = 0; n < PACKETS_A_TURN && !this.nflog.empty; n++) {
      const record = takeRecord(this.nflog)
      if (!record) break
      const lines = this.linesOf(record)
      const target = lines.nflogOf(record)
      const file = this.files.get(target?.group ?? 0)
      if (file) file.put(record, (index) => lines.interfaceName(index), target?.prefix ?? '')
      else each(lines.line(record))
    }
    for (const file of this.files.values()) {
      const wrong = file.flush()
      if (wrong !== null) each(complaint(wrong))
    }
  }

  private linesOf({ words }: Recorded): LogLines {
    return this.lines.get(words[LogRecord.Generation]) ?? NO_LINES
  }

  /** The worker says no more: tells and writes what is still there, and closes the files. */
  close(): void {
    for (let turn = 0; turn < LAST_TURNS && !(this.log.empty && this.nflog.empty); turn++) this.read()
    this.read()
    for (const file of this.files.values()) file.close()
    this.files.clear()
  }
}

const NO_LINES = new LogLines([], [])

function complaint(text: string): LogLine {
  const ms = Date.now()
  return { level: ERROR_LEVEL, seconds: Math.floor(ms / 1000), nanos: (ms % 1000) * 1e6, text }
}
