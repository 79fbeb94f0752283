// HOT
/**
 * Packets that wait for a function of the control thread (QUEUE, NFQUEUE). The packet stays in its slot, a
 * copy of it crosses in a ring; the answer comes back by its number:
 *
 *     rule -> put: held, QueueRecord | bytes  --toControl-->     the function
 *             run: resumed, or dropped by name <--fromControl--  QueueAnswer | new bytes
 *
 *     no answer in time           the queue's verdict: accept, or drop (queue-timeout)
 *     as many wait as may         the same (queue-full)
 *     an interface of it goes     port-removed
 *     the worker dies             gone; a late answer has another epoch and is counted, nothing else
 *
 * What was accepted goes on behind the table the rule is in (Netfilter.resume), and then behind the hook
 * (Router.proceed). New bytes begin with the IP header and have right checksums; the packet's row is read anew,
 * its mark, connection and route stay.
 */
import type { Netfilter } from '../filter/netfilter.ts'
import { Queued } from '../filter/program/host.ts'
import { Drop } from '../packet/drop.ts'
import { type Hook, Verdict } from '../packet/hooks.ts'
import { IP_SHIFT, Ip } from '../packet/ip.ts'
import { RingReader, RingWriter } from '../packet/ring.ts'
import { PARSED } from '../router/parse.ts'
import type { Waiting } from '../router/parts.ts'
import type { Router } from '../router/router.ts'
import type { QueueMemory, QueueSettings } from './command.ts'
import {
  AnswerFlag,
  bytesOf,
  MAX_WAITING,
  putPacket,
  QueueAnswer,
  QueueRecord,
  QueueStat,
  QueueVerdict,
  replaceBytes,
} from './queue-record.ts'
import type { EngineRouterHost } from './router-host.ts'
import type { Waiter } from './waiter.ts'

export interface QueueParts {
  router: Router
  netfilter: Netfilter
  host: EngineRouterHost
  memory: QueueMemory
  /** Port index that counts what no port has received. */
  home: number
}

export class PacketQueues implements Waiter, Waiting {
  private readonly parts: QueueParts
  private readonly notify: () => void
  private readonly writer: RingWriter
  private readonly reader: RingReader
  private readonly signal: Int32Array
  private readonly stats: Float64Array
  private queues: QueueSettings[] = []
  private epoch = 0
  /** Packets that wait, by queue. */
  private readonly waiting: Int32Array
  private readonly limit: number
  private count = 0
  /** Not later than the first packet's time is over. */
  private nextMs = Number.POSITIVE_INFINITY
  private turn = 0
  /** By place: -1 = free. */
  private readonly slotAt = new Int32Array(MAX_WAITING).fill(-1)
  private readonly idAt = new Int32Array(MAX_WAITING)
  private readonly queueAt = new Int32Array(MAX_WAITING)
  private readonly hookAt = new Int32Array(MAX_WAITING)
  private readonly stepAt = new Int32Array(MAX_WAITING)
  private readonly statAt = new Int32Array(MAX_WAITING)
  private readonly acceptAt = new Uint8Array(MAX_WAITING)
  private readonly deadlineAt = new Float64Array(MAX_WAITING)

  /** @param notify tells the control thread that there is something */
  constructor(parts: QueueParts, notify: () => void) {
    const { host, memory } = parts
    this.parts = parts
    this.notify = notify
    this.writer = new RingWriter(memory.toControl)
    this.reader = new RingReader(memory.fromControl)
    this.signal = new Int32Array(memory.signal)
    this.stats = new Float64Array(memory.stats)
    this.waiting = new Int32Array(this.stats.length / QueueStat.Words)
    this.limit = Math.min(MAX_WAITING, Math.max(1, host.pool.size >> 2))
  }

  /** Who listens from now on. Packets of a queue that is gone get its verdict at the next run. */
  set(queues: QueueSettings[], epoch: number): void {
    this.queues = queues
    this.epoch = epoch
    for (let i = 0; i < MAX_WAITING; i++) {
      if (this.slotAt[i] >= 0 && this.find(this.queueAt[i]) < 0) this.deadlineAt[i] = 0
    }
    if (this.count > 0) this.nextMs = 0
  }

  private find(number: number): number {
    for (let i = 0; i < this.queues.length; i++) if (this.queues[i].number === number) return i
    return -1
  }

  put(slot: number, number: number, hook: Hook, step: number, nowMs: number): Queued {
    const q = this.find(number)
    if (q < 0) return Queued.Nobody
    const queue = this.queues[q]
    const place = this.freePlace(queue)
    if (place < 0 || !this.write(slot, place, queue, hook)) {
      this.stats[queue.stat * QueueStat.Words + QueueStat.Full]++
      return queue.accept ? Queued.FullAccept : Queued.FullDrop
    }
    this.slotAt[place] = slot
    this.queueAt[place] = number
    this.hookAt[place] = hook
    this.stepAt[place] = step
    this.statAt[place] = queue.stat
    this.acceptAt[place] = queue.accept ? 1 : 0
    this.deadlineAt[place] = nowMs + queue.timeoutMs
    if (this.deadlineAt[place] < this.nextMs) this.nextMs = this.deadlineAt[place]
    this.count++
    this.waiting[queue.stat]++
    this.stats[queue.stat * QueueStat.Words + QueueStat.Queued]++
    if (Atomics.exchange(this.signal, 0, 1) === 0) this.notify()
    return Queued.Taken
  }

  private freePlace(queue: QueueSettings): number {
    if (this.count >= this.limit || this.waiting[queue.stat] >= queue.length) return -1
    for (let i = 0; i < MAX_WAITING; i++) if (this.slotAt[i] < 0) return i
    return -1
  }

  /** Holds the packet and copies it; false: there is no room. */
  private write(slot: number, place: number, queue: QueueSettings, hook: Hook): boolean {
    const { writer } = this
    const { host } = this.parts
    const copied = bytesOf(host, slot, queue.bytes)
    const at = writer.reserve(QueueRecord.Words * 4 + copied)
    if (at < 0 || !host.hold(slot)) return false
    this.turn = (this.turn + 1) & 0x3fffff
    this.idAt[place] = (this.turn << 8) | place
    const w = at >> 2
    writer.words[w + QueueRecord.Id] = this.idAt[place]
    writer.words[w + QueueRecord.Epoch] = this.epoch
    writer.words[w + QueueRecord.Number] = queue.number
    putPacket(writer, at, host, slot, hook, copied)
    writer.commit()
    return true
  }

  due(): number {
    return this.reader.empty ? this.nextMs : 0
  }

  run(nowMs: number): void {
    const { reader } = this
    for (let n = 0; n < MAX_WAITING; n++) {
      const at = reader.next()
      if (at < 0) break
      this.answer(at, nowMs)
      reader.release()
    }
    if (nowMs >= this.nextMs) this.expire(nowMs)
  }

  private answer(at: number, nowMs: number): void {
    const { words } = this.reader
    const w = at >> 2
    const id = words[w + QueueAnswer.Id]
    const place = id & (MAX_WAITING - 1)
    const late = this.slotAt[place] < 0 || this.idAt[place] !== id
    if (late || words[w + QueueAnswer.Epoch] !== this.epoch) return
    const { ip } = this.parts.host
    const flags = words[w + QueueAnswer.Flags]
    const verdict = words[w + QueueAnswer.Verdict]
    const slot = this.take(place, QueueStat.Answered)
    if ((flags & AnswerFlag.Mark) !== 0) ip[(slot << IP_SHIFT) + Ip.Mark] = words[w + QueueAnswer.Mark]
    if ((flags & AnswerFlag.Bytes) !== 0 && verdict !== QueueVerdict.Drop) {
      const from = at + QueueAnswer.Words * 4
      const result = replaceBytes(
        this.parts.host,
        slot,
        this.reader.bytes,
        from,
        words[w + QueueAnswer.Length],
      )
      if (result !== PARSED) return this.lose(slot, result)
    }
    if (verdict === QueueVerdict.Drop) this.lose(slot, Drop.QueueVerdict)
    else this.goOn(place, slot, verdict === QueueVerdict.Repeat, nowMs)
  }

  private expire(nowMs: number): void {
    this.nextMs = Number.POSITIVE_INFINITY
    for (let place = 0; place < MAX_WAITING; place++) {
      if (this.slotAt[place] < 0) continue
      if (this.deadlineAt[place] > nowMs) {
        if (this.deadlineAt[place] < this.nextMs) this.nextMs = this.deadlineAt[place]
        continue
      }
      const slot = this.take(place, QueueStat.TimedOut)
      if (this.acceptAt[place] !== 0) this.goOn(place, slot, false, nowMs)
      else this.lose(slot, Drop.QueueTimeout)
    }
  }

  /** The packet of a place, which must go on or be lost in this round. */
  private take(place: number, stat: QueueStat): number {
    const slot = this.slotAt[place]
    this.slotAt[place] = -1
    this.count--
    this.waiting[this.statAt[place]]--
    this.stats[this.statAt[place] * QueueStat.Words + stat]++
    this.parts.host.resume(slot)
    return slot
  }

  private goOn(place: number, slot: number, again: boolean, nowMs: number): void {
    const { netfilter, router } = this.parts
    const hook: Hook = this.hookAt[place]
    const verdict = netfilter.resume(hook, this.stepAt[place], again, slot, nowMs)
    if (verdict === Verdict.Accept) router.proceed(hook, slot, nowMs)
  }

  private lose(slot: number, reason: Drop): void {
    const { home, host, netfilter, router } = this.parts
    const inIf = host.ip[(slot << IP_SHIFT) + Ip.InIf]
    netfilter.gone(slot)
    host.lose(inIf < 0 ? home : router.interfaces.port[inIf], slot, reason)
  }

  flush(iface: number): void {
    const { ip } = this.parts.host
    for (let place = 0; place < MAX_WAITING; place++) {
      if (this.slotAt[place] < 0) continue
      const row = this.slotAt[place] << IP_SHIFT
      if (ip[row + Ip.InIf] === iface || ip[row + Ip.OutIf] === iface)
        this.lose(this.take(place, QueueStat.TimedOut), Drop.PortRemoved)
    }
  }
}
