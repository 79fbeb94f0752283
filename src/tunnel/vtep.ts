// HOT
/**
 * A VXLAN tunnel endpoint (RFC 7348): a stage behind a port of UDP sockets, and the tunnel behind any number of
 * VXLAN ports, one per VNI. Read decapsulate.ts and encapsulate.ts first: they are the two directions.
 *
 *     datagrams -> process -> inbox of a VXLAN port -> (its turn follows in the same breath) -> its switch
 *     switch -> VXLAN port -> queue -> flush, when the round is over -> sockets
 *
 * The underlay's port counts every datagram: Consumed when a VXLAN port got it, else dropped by name. A VXLAN
 * port counts inner frames.
 */
import type { Batch } from '../packet/batch.ts'
import { COUNTER_WORDS, Counter, drop } from '../packet/counters.ts'
import { Drop } from '../packet/drop.ts'
import { BATCH, Clock, Flag, INFO_SHIFT, META_SHIFT, Meta } from '../packet/layout.ts'
import type { Stage } from '../packet/stage.ts'
import type { Tunnel, TunnelHost } from '../packet/tunnel.ts'
import { Answers } from './answers.ts'
import { Bindings } from './bindings.ts'
import { Decapsulation } from './decapsulate.ts'
import { Encapsulation } from './encapsulate.ts'
import { Inner } from './inner.ts'
import { Outbox } from './outbox.ts'
import { Remotes } from './remotes.ts'
import { removeSegment } from './segment-settings.ts'
import { Segments } from './segments.ts'
import { Stations } from './stations.ts'
import { Suppression } from './suppress.ts'
import type { VtepMemory, VtepSettings, VtepSockets } from './tables.ts'

/** The control thread is told of packets too long for their path this often at most. */
const TELL_MS = 100

export class Vtep implements Stage, Tunnel {
  readonly name: string
  /** The port of the sockets. */
  readonly members = new Int32Array(1)
  memberCount = 0
  readonly remotes: Remotes
  readonly stations: Stations
  readonly bindings: Bindings
  readonly segments: Segments
  readonly outbox: Outbox
  /** Rows of packet/layout.ts Info: where the packets of the last receive came from. */
  readonly info = new Int32Array(BATCH << INFO_SHIFT)
  private readonly host: TunnelHost
  /** Port index that counts the datagrams. */
  private readonly underlay: number
  private readonly encapsulation: Encapsulation
  private readonly decapsulation: Decapsulation
  private told = 0
  private toldMs = Number.NEGATIVE_INFINITY

  constructor(host: TunnelHost, name: string, underlay: number, memory: VtepMemory, seed: number) {
    this.host = host
    this.name = name
    this.underlay = underlay
    const inner = new Inner(host.pool)
    const { counters } = host
    this.segments = new Segments(host.pool.size)
    this.remotes = new Remotes(memory, seed)
    const { remotes, segments, info } = this
    this.stations = new Stations(memory.addresses, remotes, counters)
    this.bindings = new Bindings(memory.bindings, seed)
    this.outbox = new Outbox(remotes.words, remotes.counters, counters)
    const { bindings, outbox, stations } = this
    const answers = new Answers(host, segments, inner)
    const suppression = new Suppression(host, inner, bindings, stations, answers)
    this.encapsulation = new Encapsulation(
      host,
      inner,
      remotes,
      stations,
      segments,
      suppression,
      answers,
      outbox,
    )
    this.decapsulation = new Decapsulation(host, info, inner, remotes, stations, segments, suppression)
  }

  /** Settings and sockets in force from now on. */
  set(settings: VtepSettings, sockets: VtepSockets): void {
    const { encapsulation, decapsulation, remotes } = this
    encapsulation.mtu = decapsulation.mtu = settings.mtu
    encapsulation.ttl = settings.ttl
    encapsulation.groupTtl = settings.groupTtl
    encapsulation.tos = settings.tos
    encapsulation.firstSender = sockets.receivers
    encapsulation.senders = sockets.senders
    encapsulation.dfSenders = settings.df === 'inherit' ? sockets.receivers + sockets.senders : 0
    decapsulation.strict = settings.strict
    decapsulation.own.fill(0)
    if (settings.local.some((word) => word !== 0)) {
      decapsulation.own[0] = settings.local.length === 1 ? 4 : 6
      decapsulation.own.set(settings.local, 1)
    }
    remotes.setPort(settings.port)
  }

  process(batch: Batch, port: number, nowMs: number): void {
    const { decapsulation, host } = this
    const { inboxes } = this.segments
    const { counters, pool } = host
    const { meta } = pool
    const { slots } = batch
    const n = batch.n
    const nowS = (nowMs / 1000) | 0
    let parts = 0
    decapsulation.prefetch(slots, n)
    for (let i = 0; i < n; i++) {
      const slot = slots[i]
      const to = decapsulation.open(i, slot, port, nowS)
      if (to < 0) continue
      // The batch's replacements come from the same pool.
      if (pool.available <= batch.taken || !inboxes.put(to, slot)) {
        drop(counters, port, pool.available <= batch.taken ? Drop.NoSlot : Drop.QueueFull)
        continue
      }
      const m = slot << META_SHIFT
      meta[m + Meta.Flags] |= Flag.Taken
      batch.taken++
      meta[m + Meta.Port] = to
      meta[m + Meta.Remote] = decapsulation.row
      const own = to * COUNTER_WORDS
      counters[port * COUNTER_WORDS + Counter.Consumed]++
      counters[own + Counter.RxPackets]++
      counters[own + Counter.RxBytes] += meta[m + Meta.Len]
      counters[own + Counter.Held]++
      if (meta[m + Meta.GsoSize] !== 0) counters[own + Counter.RxSuper]++
      if (inboxes.count[to] !== 1) continue
      host.follow(to)
      parts++
    }
    if (parts > 1) host.foresee(meta[(slots[0] << META_SHIFT) + Meta.Port], slots, n)
    batch.n = 0
  }

  queue(port: number, words: Int32Array, at: number, count: number): void {
    this.encapsulation.queue(port, words, at, count)
  }

  flush(): void {
    this.encapsulation.flush()
    if (this.outbox.tooLong !== this.told) this.tell()
  }

  /** The control thread asks the kernel for the MTU of the paths. */
  private tell(): void {
    const nowMs = this.host.memory.clock[Clock.MonotonicMs]
    if (nowMs - this.toldMs < TELL_MS) return
    this.toldMs = nowMs
    this.told = this.outbox.tooLong
    this.host.notify(this.underlay)
  }

  remove(port: number): void {
    removeSegment(this, port)
  }

  forget(): void {}

  tick(nowMs: number): void {
    const nowS = (nowMs / 1000) | 0
    this.stations.sweep(nowS)
    this.remotes.sweep(nowS)
    if (this.outbox.tooLong !== this.told) this.tell()
  }
}
