/**
 * A DHCP server with its file: requests in, saved changes and packets out. Answers of one breath are saved
 * with one sync and then sent; what could not be saved is not promised (an offer promises nothing).
 */
import { isDeepStrictEqual } from 'node:util'
import { CLIENT_PORT, SERVER_PORT } from '../wire/dhcp.ts'
import { Bucket } from './bucket.ts'
import type { Reply } from './dhcp-reply.ts'
import { DhcpServer } from './dhcp-server.ts'
import type { DhcpSettings } from './dhcp-settings.ts'
import { LeaseFile } from './lease-file.ts'
import type { Lease } from './lease-table.ts'
import { echo4, readUdp4, udp4 } from './made.ts'

const PRUNE_MS = 30_000
const WARN_PER_SECOND = 1
const WARN_BURST = 20
/** Requests a server looks at, of all clients together. */
const REQUESTS_PER_SECOND = 1000
const REQUESTS_BURST = 2000

export interface DhcpHost {
  /** @param mac null = as the router sends its own packets; `ask`: look for who has the destination */
  send(packet: Uint8Array, mac: Uint8Array | null, ask: boolean): void
  /** MAC of who answered for the address in the last `withinMs`, or null. */
  userOf(address: number, withinMs: number): string | null
  warn(message: string): void
}

export class DhcpService {
  readonly server: DhcpServer
  readonly path: string
  private settings: DhcpSettings
  private readonly host: DhcpHost
  private readonly file: LeaseFile
  private readonly warnings = new Bucket(WARN_PER_SECOND, WARN_BURST)
  private readonly requests = new Bucket(REQUESTS_PER_SECOND, REQUESTS_BURST)
  private probing: { address: number; sinceMs: number; dueMs: number }[] = []
  private pruneMs = 0
  private broken = false
  private nowMs = 0

  /** @throws Error when the file cannot be had */
  constructor(settings: DhcpSettings, path: string, host: DhcpHost, nowMs: number) {
    this.settings = settings
    this.host = host
    this.path = path
    const { file, leases } = LeaseFile.open(path, (message) => host.warn(message))
    this.file = file
    this.server = new DhcpServer(settings, (message) => this.warn(message))
    for (const lease of leases) this.server.leases.put(lease, nowMs)
  }

  configure(settings: DhcpSettings): void {
    if (isDeepStrictEqual(settings, this.settings)) return
    this.settings = settings
    this.probing = []
    this.server.configure(settings)
  }

  /** Takes a UDP packet to port 67. `flush` sends what comes of it. */
  receive(packet: Uint8Array, checked: boolean, nowMs: number): void {
    this.nowMs = nowMs
    const datagram = readUdp4(packet, checked)
    if (datagram === null || datagram.dstPort !== SERVER_PORT) {
      this.server.counters.malformed++
      return
    }
    const { dst, payload, src } = datagram
    if (!this.requests.take(nowMs)) this.server.counters.limited++
    else this.server.receive(payload, dst >>> 0 === this.settings.serverId, src >>> 0, nowMs)
  }

  /** When `tick` has something to do; wall clock, ms. */
  due(): number {
    return this.probing.reduce((soonest, { dueMs }) => Math.min(soonest, dueMs), this.pruneMs)
  }

  tick(nowMs: number): void {
    this.nowMs = nowMs
    const ready = this.probing.filter((p) => p.dueMs <= nowMs)
    this.probing = this.probing.filter((p) => p.dueMs > nowMs)
    for (const { address, sinceMs } of ready)
      this.server.probed(address, this.host.userOf(address, nowMs - sinceMs), nowMs)
    if (nowMs >= this.pruneMs) {
      this.server.tick(nowMs)
      this.pruneMs = nowMs + PRUNE_MS
    }
    this.flush(nowMs)
  }

  /** Saves, then sends. */
  flush(nowMs: number): void {
    const { answers, changes, probes } = this.server
    const saved = this.save(changes.splice(0))
    for (const reply of answers.splice(0)) if (saved || !reply.grants) this.reply(reply)
    for (const address of probes.splice(0)) {
      this.probing.push({ address, sinceMs: nowMs, dueMs: nowMs + this.settings.probeMs })
      this.host.send(echo4(this.settings.serverId | 0, address | 0), null, true)
    }
  }

  private save(changes: readonly Lease[]): boolean {
    try {
      // After a failure the file may end in the middle of a line.
      if (this.broken || this.file.long) this.file.compact(this.server.leases.all())
      else this.file.append(changes)
      this.broken = false
      return true
    } catch (error) {
      if (!this.broken)
        this.host.warn(`leases file ${this.path}: ${(error as Error).message}: no lease is given`)
      this.broken = true
      return false
    }
  }

  private reply({ way, dst, dstPort, macHi, macLo, message }: Reply): void {
    const src = this.settings.serverId | 0
    const packet = udp4(
      { src, dst: dst | 0, srcPort: SERVER_PORT, dstPort: dstPort === 67 ? SERVER_PORT : CLIENT_PORT },
      message,
    )
    if (way === 'routed') return this.host.send(packet, null, false)
    const mac = new Uint8Array(6).fill(0xff)
    if (way === 'direct') {
      const view = new DataView(mac.buffer)
      view.setUint16(0, macHi)
      view.setInt32(2, macLo)
    }
    this.host.send(packet, mac, false)
  }

  private warn(message: string): void {
    if (this.warnings.take(this.nowMs)) this.host.warn(message)
  }

  /** Takes over what a server with another file has given. */
  adopt(leases: readonly Lease[], nowMs: number): void {
    const fresh = leases.filter(({ address }) => this.server.leases.at(address) === undefined)
    for (const lease of fresh) this.server.leases.put(lease, nowMs)
    this.save(fresh)
  }

  close(): void {
    this.file.close()
  }
}
