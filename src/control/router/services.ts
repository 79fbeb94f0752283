/**
 * What a router does for the hosts on its links, on this thread: DHCP (service/dhcp-service.ts) and router
 * advertisements (service/advertiser.ts), per interface.
 *
 *     worker   DHCP request, router solicitation  -> punt ring (packet/punt.ts) -> drain
 *     drain    at most BUDGET packets, then what they changed is saved with one sync and answered;
 *              if there are more, the ring waits PAUSE_MS, and overflows in the worker at no cost here
 *     answer   -> `router-send` (engine/router-send.ts)
 *
 * Both wait until nobody else has the address they speak from (own-addresses.ts).
 *
 * Requests reach us as they would reach a socket of a kernel router: behind PREROUTING and INPUT, so rules
 * can refuse them and count them (a DHCP server with a raw socket sees what INPUT drops; here the rules are
 * the law for everything). Answers to clients that have no address yet leave without rules, as from a raw
 * socket; those that are routed (renewals, relays) pass OUTPUT and POSTROUTING.
 */
import type { Command } from '../../engine/command.ts'
import { PUNT_BYTES, PuntRec } from '../../packet/punt.ts'
import { RingReader, ringMemory } from '../../packet/ring.ts'
import { confirmedMac } from '../../router/neighbour-list.ts'
import { solicitorOf } from '../../service/advertisement.ts'
import { Advertiser } from '../../service/advertiser.ts'
import { DhcpService } from '../../service/dhcp-service.ts'
import type { Lease } from '../../service/lease-table.ts'
import type { Log } from '../fabric-options.ts'
import { linkLocal, type Network, networkOf } from './addressing.ts'
import type { LiveInterface } from './live-router.ts'
import { isAddress } from './own-addresses.ts'
import { advertiseSettings, dhcpSettings } from './service-settings.ts'

const RING_BYTES = 1 << 16
const BUDGET = 64
const PAUSE_MS = 20
/** Longest sleep of a timer. */
const IDLE_MS = 60_000
const ALL_NODES_MAC = Uint8Array.of(0x33, 0x33, 0, 0, 0, 1)
const UDP = 17

interface Unit {
  index: number
  /** The server's address is ours, as far as anybody knows. */
  serves: boolean
  dhcp: DhcpService | null
  advertiser: { settings: string; timer: Advertiser } | null
}

export interface ServedRouter {
  id: number
  name: string
  /** The worker's table. */
  neighbours: SharedArrayBuffer
}

export class RouterServices {
  readonly memory = { ring: ringMemory(RING_BYTES), signal: new SharedArrayBuffer(4) }
  private readonly router: ServedRouter
  private readonly send: (command: Command) => Promise<void>
  private readonly log: Log
  private readonly reader = new RingReader(this.memory.ring)
  private readonly flag = new Int32Array(this.memory.signal)
  private readonly units = new Map<string, Unit>()
  private timer: NodeJS.Timeout | null = null
  private pause: NodeJS.Timeout | null = null

  constructor(router: ServedRouter, send: (command: Command) => Promise<void>, log: Log) {
    this.router = router
    this.send = send
    this.log = log
  }

  /** Makes the services of an interface those that its configuration says. @throws Error: a leases file */
  set(live: LiveInterface, mtu: number): void {
    const { addresses, config, index, mac, name } = live
    const unit: Unit = this.units.get(name) ?? { index, serves: false, dhcp: null, advertiser: null }
    this.units.set(name, unit)
    this.setDhcp(unit, name, config, mtu)
    const { advertise, dhcp } = config
    const uses = (network: Network): boolean => addresses.some((a) => a.used && isAddress(a, network))
    unit.serves = dhcp !== undefined && uses(networkOf(dhcp.address))
    if (!advertise || !uses(linkLocal(mac))) {
      // Without a source of our own nothing can be said, nor taken back.
      if (!advertise) unit.advertiser?.timer.stop()
      unit.advertiser = null
    } else {
      const settings = advertiseSettings(advertise, config, mac, mtu)
      // A MAC is an array of bytes, and a setting like any other.
      const text = JSON.stringify(settings)
      if (!unit.advertiser) {
        const timer = new Advertiser(settings, (packet, to) => this.advertise(index, packet, to))
        unit.advertiser = { settings: text, timer }
        timer.start(monotonicMs())
      } else if (unit.advertiser.settings !== text) {
        unit.advertiser.settings = text
        unit.advertiser.timer.change(settings, monotonicMs())
      }
    }
    this.tick()
  }

  private setDhcp(unit: Unit, name: string, config: LiveInterface['config'], mtu: number): void {
    const { dhcp } = config
    const before = unit.dhcp
    if (before && before.path === dhcp?.leases) return before.configure(dhcpSettings(dhcp, config, mtu))
    if (dhcp) {
      const host = {
        send: (packet: Uint8Array, mac: Uint8Array | null, ask: boolean) =>
          this.emit(unit.index, packet, mac, ask),
        userOf: (address: number, withinMs: number) =>
          confirmedMac(this.router.neighbours, unit.index, address | 0, withinMs, monotonicMs()),
        warn: (message: string) =>
          this.log.warn({ router: this.router.name, interface: name }, `dhcp: ${message}`),
      }
      const next = new DhcpService(dhcpSettings(dhcp, config, mtu), dhcp.leases, host, Date.now())
      if (before) next.adopt(before.server.leases.all(), Date.now())
      unit.dhcp = next
    } else unit.dhcp = null
    before?.close()
  }

  /** Ends the services of an interface; done when its last advertisement is on its way. */
  async remove(name: string): Promise<void> {
    const unit = this.units.get(name)
    if (!unit) return
    this.units.delete(name)
    unit.dhcp?.close()
    const { advertiser } = unit
    if (!advertiser) return
    advertiser.timer.stop()
    await this.last.catch(() => {})
  }

  /** The `router-send` before the next; a worker that is gone sends nothing. */
  private last: Promise<void> = Promise.resolve()

  private emit(index: number, packet: Uint8Array, mac: Uint8Array | null, ask = false): void {
    this.last = this.send({ op: 'router-send', id: this.router.id, index, packet, mac, ask })
    this.last.catch(() => {})
  }

  private advertise(index: number, packet: Uint8Array, to: readonly number[] | null): void {
    this.emit(index, packet, to === null ? ALL_NODES_MAC : null)
  }

  /** Takes what the worker has put into the ring. */
  drain(): void {
    if (this.pause) return
    Atomics.store(this.flag, 0, 0)
    const byIndex = new Map([...this.units.values()].map((unit) => [unit.index, unit]))
    const nowMs = Date.now()
    for (let n = 0; n < BUDGET; n++) {
      const at = this.reader.next()
      if (at < 0) break
      const w = at >> 2
      const unit = byIndex.get(this.reader.words[w + PuntRec.Interface])
      const checked = this.reader.words[w + PuntRec.Checked] === 1
      const packet = this.reader.bytes.slice(at + PUNT_BYTES, at + this.reader.length)
      this.reader.release()
      if (unit) this.take(unit, packet, checked, nowMs)
    }
    if (!this.reader.empty) {
      // Nobody needs to tell us that there is more.
      Atomics.store(this.flag, 0, 1)
      this.pause = setTimeout(() => {
        this.pause = null
        this.drain()
      }, PAUSE_MS)
      this.pause.unref()
    }
    for (const { dhcp } of this.units.values()) dhcp?.flush(nowMs)
    this.schedule()
  }

  private take(unit: Unit, packet: Uint8Array, checked: boolean, nowMs: number): void {
    if (packet[0] >> 4 === 4 && packet[9] === UDP) {
      if (unit.serves) unit.dhcp?.receive(packet, checked, nowMs)
      return
    }
    const from = solicitorOf(packet)
    if (from) unit.advertiser?.timer.solicited(from, monotonicMs())
  }

  private tick(): void {
    const nowMs = Date.now()
    const upMs = monotonicMs()
    for (const { advertiser, dhcp } of this.units.values()) {
      if (dhcp && dhcp.due() <= nowMs) dhcp.tick(nowMs)
      if (advertiser && advertiser.timer.due() <= upMs) advertiser.timer.tick(upMs)
    }
    this.schedule()
  }

  private schedule(): void {
    if (this.timer) clearTimeout(this.timer)
    this.timer = null
    if (this.units.size === 0) return
    const nowMs = Date.now()
    const upMs = monotonicMs()
    const waits = [...this.units.values()].flatMap(({ advertiser, dhcp }) => [
      (dhcp?.due() ?? Number.POSITIVE_INFINITY) - nowMs,
      (advertiser?.timer.due() ?? Number.POSITIVE_INFINITY) - upMs,
    ])
    const waitMs = Math.max(1, Math.min(IDLE_MS, ...waits))
    this.timer = setTimeout(() => this.tick(), waitMs)
    this.timer.unref()
  }

  /** Leases, an interface after the other. */
  *leases(): Generator<{ interface: string; lease: Lease }> {
    for (const [name, { dhcp }] of this.units) {
      for (const lease of dhcp?.server.leases.all() ?? []) yield { interface: name, lease }
    }
  }

  async close(): Promise<void> {
    for (const name of [...this.units.keys()]) await this.remove(name)
    if (this.timer) clearTimeout(this.timer)
    if (this.pause) clearTimeout(this.pause)
    this.timer = null
    this.pause = null
  }
}

/** The worker's clock. */
function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n)
}
