/**
 * Functions of the library that decide about packets (packet-queue.ts). The packet waits in the worker (engine/queue.ts); its copy comes here in a ring, is handed
 * to the function, and the answer goes back. A function that throws has said what the queue's verdict is.
 */
import type { Command, QueueMemory, QueueSettings } from '../../engine/command.ts'
import {
  AnswerFlag,
  MAX_WAITING,
  QueueAnswer,
  QueueRecord,
  QueueStat,
  QueueVerdict,
} from '../../engine/queue-record.ts'
import type { WorkerLink } from '../../engine/worker-link.ts'
import { CtState } from '../../packet/ip.ts'
import { Flag } from '../../packet/layout.ts'
import { RingReader, RingWriter, ringMemory } from '../../packet/ring.ts'
import type {
  ConnectionState,
  PacketQueue,
  QueueDecision,
  QueuedPacket,
  QueueFunction,
  QueueOptions,
  QueueStats,
} from './packet-queue.ts'
import { finishChecksum, withChecksums } from './queue-bytes.ts'

const HOOKS = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'] as const
const STATES: Record<number, ConnectionState> = {
  [CtState.Invalid]: 'INVALID',
  [CtState.Established]: 'ESTABLISHED',
  [CtState.Related]: 'RELATED',
  [CtState.New]: 'NEW',
  [CtState.Untracked]: 'UNTRACKED',
}

interface Live {
  fn: QueueFunction
  settings: QueueSettings
  closed: boolean
}

const RING_BYTES = 1 << 20
const MAX_QUEUES = 64
const MAX_TIMEOUT_MS = 30_000
/** The longest IPv6 packet. */
const MAX_BYTES = 65575
/** An answer for which the ring had no room is tried again after this. */
const RETRY_MS = 1
const COMPLAIN_MS = 1000

export interface QueueDeskParts {
  router: string
  /** Of the stage. */
  id: number
  link: Pick<WorkerLink, 'send' | 'wake'>
  /** '-' = none. */
  interfaceName(index: number): string
  /** A function failed. */
  failed(queue: number, error: Error): void
}

/** All queues of one router. */
export class QueueDesk {
  private readonly parts: QueueDeskParts
  private readonly memory: QueueMemory = {
    toControl: ringMemory(RING_BYTES),
    fromControl: ringMemory(RING_BYTES),
    signal: new SharedArrayBuffer(4),
    stats: new SharedArrayBuffer(MAX_QUEUES * QueueStat.Words * 8),
  }
  private readonly reader = new RingReader(this.memory.toControl)
  private readonly writer = new RingWriter(this.memory.fromControl)
  private readonly signal = new Int32Array(this.memory.signal)
  private readonly statWords = new Float64Array(this.memory.stats)
  private readonly queues = new Map<number, Live>()
  private epoch = 1
  /** Answers there was no room for. */
  private late: (() => boolean)[] = []
  private complainedMs = 0

  constructor(parts: QueueDeskParts) {
    this.parts = parts
  }

  /** @throws RangeError, or Error when the queue has a function */
  async register(number: number, fn: QueueFunction, options: QueueOptions = {}): Promise<PacketQueue> {
    const { router } = this.parts
    const { verdict = 'drop', timeoutMs = 1000, length = 128, bytes = MAX_BYTES } = options
    range('the number of a queue', number, 0, 65535)
    range('timeoutMs', timeoutMs, 1, MAX_TIMEOUT_MS)
    range('length', length, 1, MAX_WAITING)
    range('bytes', bytes, 1, MAX_BYTES)
    if (verdict !== 'accept' && verdict !== 'drop')
      throw new RangeError(`the verdict of a queue is accept or drop, not ${String(verdict)}`)
    if (this.queues.has(number)) throw new Error(`router ${router}: queue ${number} has a function already`)
    const used = new Set([...this.queues.values()].map((q) => q.settings.stat))
    let stat = 0
    while (used.has(stat)) stat++
    if (stat >= MAX_QUEUES) throw new RangeError(`router ${router}: at most ${MAX_QUEUES} queues`)
    this.statWords.fill(0, stat * QueueStat.Words, (stat + 1) * QueueStat.Words)
    const settings = { number, timeoutMs, accept: verdict === 'accept', bytes, length, stat }
    const live: Live = { fn, settings, closed: false }
    this.queues.set(number, live)
    try {
      await this.parts.link.send(this.command())
    } catch (error) {
      this.queues.delete(number)
      throw error
    }
    return this.handle(live)
  }

  private handle(live: Live): PacketQueue {
    const { number, stat } = live.settings
    let last = this.stats(stat)
    const stats = (): QueueStats => {
      if (!live.closed) last = this.stats(stat)
      return last
    }
    const close = async (): Promise<void> => {
      stats()
      if (live.closed) return
      live.closed = true
      this.queues.delete(number)
      await this.parts.link.send(this.command()).catch(() => {})
    }
    return {
      router: this.parts.router,
      number,
      get closed() {
        return live.closed
      },
      stats,
      close,
    }
  }

  private stats(stat: number): QueueStats {
    const at = stat * QueueStat.Words
    const [queued, answered, timedOut, full] = this.statWords.subarray(at, at + QueueStat.Words)
    return { queued, answered, timedOut, full }
  }

  private command(): Command {
    const queues = [...this.queues.values()].map((q) => q.settings)
    return { op: 'router-queues', id: this.parts.id, memory: this.memory, epoch: this.epoch, queues }
  }

  /** For a worker that took over: what the last one held is gone, and answers to it mean nothing. */
  *commands(): Generator<Command> {
    if (this.queues.size === 0) return
    this.epoch++
    this.drain()
    yield this.command()
  }

  /** The router is gone. */
  close(): void {
    for (const live of this.queues.values()) live.closed = true
    this.queues.clear()
    this.late = []
  }

  /** Hands over what has come; a part of it, when that is much. */
  drain(): void {
    Atomics.store(this.signal, 0, 0)
    for (let n = 0; n < MAX_WAITING; n++) {
      const at = this.reader.next()
      if (at < 0) return
      const words = this.reader.words.slice(at >> 2, (at >> 2) + QueueRecord.Words)
      const from = at + QueueRecord.Words * 4
      const packet = Buffer.from(this.reader.bytes.subarray(from, at + this.reader.length))
      this.reader.release()
      const live = this.queues.get(words[QueueRecord.Number])
      if (live && words[QueueRecord.Epoch] === this.epoch) void this.decide(live, words, packet)
    }
    setImmediate(() => this.drain())
  }

  private async decide(live: Live, words: Int32Array, packet: Buffer): Promise<void> {
    const queued = this.queuedPacket(words, packet)
    try {
      const decision = await live.fn(queued)
      this.answer(words, decision, queued)
    } catch (error) {
      this.complain(live.settings.number, error)
      this.answer(words, live.settings.accept ? 'accept' : 'drop', queued)
    }
  }

  private queuedPacket(words: Int32Array, packet: Buffer): QueuedPacket {
    const { interfaceName, router } = this.parts
    const hook = words[QueueRecord.Hook] & 0xff
    const partial = (words[QueueRecord.Flags] & Flag.CsumPartial) !== 0
    const whole = packet.length === words[QueueRecord.Length]
    if (partial && whole && words[QueueRecord.GsoSize] === 0)
      finishChecksum(packet, words[QueueRecord.CsumStart], words[QueueRecord.CsumOffset])
    return {
      router,
      queue: words[QueueRecord.Number],
      hook: HOOKS[hook],
      family: words[QueueRecord.Hook] >> 8 === 4 ? 4 : 6,
      in: known(interfaceName(words[QueueRecord.InIf])),
      out: known(interfaceName(words[QueueRecord.OutIf])),
      mark: words[QueueRecord.Mark] >>> 0,
      state: STATES[words[QueueRecord.State]] ?? null,
      seconds: words[QueueRecord.Seconds] >>> 0,
      nanos: words[QueueRecord.Nanos],
      packet,
      length: words[QueueRecord.Length],
      segmentSize: words[QueueRecord.GsoSize],
    }
  }

  /** @throws Error when the decision is none */
  private answer(words: Int32Array, decision: QueueDecision, queued: QueuedPacket): void {
    const { verdict, mark, packet } =
      typeof decision === 'string' ? { verdict: decision, mark: undefined, packet: undefined } : decision
    const code = { drop: QueueVerdict.Drop, accept: QueueVerdict.Accept, repeat: QueueVerdict.Repeat }[
      verdict
    ]
    if (code === undefined) throw new TypeError(`${String(verdict)} is no verdict: accept, drop or repeat`)
    if (packet && queued.packet.length < queued.length)
      throw new Error('the packet was not copied whole (`bytes`), so it cannot be changed')
    const bytes = packet && withChecksums(packet, queued.family, queued.segmentSize > 0)
    const put = (): boolean => {
      const at = this.writer.reserve(QueueAnswer.Words * 4 + (bytes?.length ?? 0))
      if (at < 0) return false
      const to = this.writer.words
      const w = at >> 2
      to[w + QueueAnswer.Id] = words[QueueRecord.Id]
      to[w + QueueAnswer.Epoch] = words[QueueRecord.Epoch]
      to[w + QueueAnswer.Verdict] = code
      to[w + QueueAnswer.Flags] = (mark === undefined ? 0 : AnswerFlag.Mark) | (bytes ? AnswerFlag.Bytes : 0)
      to[w + QueueAnswer.Mark] = mark ?? 0
      to[w + QueueAnswer.Length] = bytes?.length ?? 0
      if (bytes) this.writer.bytes.set(bytes, at + QueueAnswer.Words * 4)
      this.writer.commit()
      return true
    }
    if (this.late.length > 0 || !put()) this.putLater(put)
    this.parts.link.wake()
  }

  private putLater(put: () => boolean): void {
    this.late.push(put)
    if (this.late.length === 1) setTimeout(() => this.retry(), RETRY_MS)
  }

  private retry(): void {
    while (this.late.length > 0 && this.late[0]()) this.late.shift()
    this.parts.link.wake()
    if (this.late.length > 0) setTimeout(() => this.retry(), RETRY_MS)
  }

  /** At most one line a second. */
  private complain(queue: number, error: unknown): void {
    const nowMs = performance.now()
    if (this.complainedMs !== 0 && nowMs - this.complainedMs < COMPLAIN_MS) return
    this.complainedMs = nowMs
    this.parts.failed(queue, error instanceof Error ? error : new Error(String(error)))
  }
}

const known = (name: string): string | null => (name === '-' ? null : name)

function range(what: string, found: number, min: number, max: number): void {
  if (Number.isInteger(found) && found >= min && found <= max) return
  throw new RangeError(`${what} is a whole number from ${min} to ${max}, not ${found}`)
}
