/**
 * Watches over the remotes of all VTEPs, ten times a second: reads what the kernel believes of their paths, sends
 * echoes and hears the answers (path-probe.ts decides which), writes the MTU into the row of each remote, and
 * tells what changed. The worker reads the row; nobody waits for anybody.
 *
 *     looked at                       how often
 *     rows of remotes                 SCAN rows a tick; all of them, usually
 *     the kernel's path MTU           POLL remotes a tick, each twice a second at most; at once after an EMSGSIZE
 *     echoes                          the first PROBED remotes of a VTEP, those that were named before others
 */
import { netnsPath } from '../../config/netns.ts'
import { REMOTE_SHIFT, Remote, RemoteFlag } from '../../tunnel/tables.ts'
import { type LiveVtep, localText } from './live-vtep.ts'
import { type PathKernel, pathKernel } from './path-kernel.ts'
import { type MtuSource, PathProbe } from './path-probe.ts'
import { remoteText } from './remote-rows.ts'

export const TICK_MS = 100
const SCAN = 8192
const POLL = 64
const POLL_MS = 500
const PROBED = 1024
/** After an EMSGSIZE everything is read again, up to this many. */
const POLL_AT_ONCE = 4096
/** Family, address, port and scope. */
const ADDRESS_WORDS = Remote.Scope + 1

export interface WatchedRemote {
  row: number
  /** Address as text, with %device when link-local. */
  text: string
  /** The first words of its row: one that is used anew is another remote. */
  address: Int32Array
  named: boolean
  group: boolean
  probe: PathProbe
  /** Sends echoes. */
  probed: boolean
  state: 'up' | 'down' | 'unknown'
  heardS: number
  polledMs: number
}

export interface WatchNews {
  mtu(vtep: LiveVtep, remote: WatchedRemote, was: number): void
  state(vtep: LiveVtep, remote: WatchedRemote, was: WatchedRemote['state']): void
  /** A remote came or went, or the underlay's device has another MTU. */
  changed(vtep: LiveVtep): void
  trouble(vtep: LiveVtep, reason: string): void
}

export class VtepWatch {
  readonly remotes = new Map<number, WatchedRemote>()
  readonly vtep: LiveVtep
  /** The same, one after the other. */
  private order: WatchedRemote[] = []
  private readonly words: Int32Array
  private readonly news: WatchNews
  private readonly kernel: PathKernel
  /** null: not opened; -1: it cannot be. */
  private echoFd: number | null = null
  private readonly echoId = Math.floor(Math.random() * 0x10000)
  private seq = 0
  /** Echoes under way, by sequence number. */
  private readonly sent = new Map<number, { remote: WatchedRemote; bytes: number }>()
  private scanAt = 0
  private pollAt = 0
  private pokedMs = Number.NEGATIVE_INFINITY
  private settings: string
  /** What the underlay's device takes. */
  private deviceBytes: number
  private deviceReadMs = 0

  constructor(vtep: LiveVtep, news: WatchNews, asked: PathKernel = pathKernel) {
    this.vtep = vtep
    this.words = vtep.memory.remotes
    this.news = news
    this.kernel = asked
    this.settings = JSON.stringify([vtep.config.probe, vtep.config.mtu])
    this.deviceBytes = vtep.mtu
  }

  /** The kernel refused a datagram for its length: what it believes has changed. */
  poke(): void {
    this.pokedMs = Number.POSITIVE_INFINITY
  }

  tick(nowMs: number): void {
    this.begin()
    this.readDevice(nowMs)
    this.scan(nowMs)
    this.poll(nowMs)
    this.hear(nowMs)
    this.speak(nowMs)
    this.settle(nowMs)
  }

  private readDevice(nowMs: number): void {
    if (this.pokedMs !== Number.POSITIVE_INFINITY && nowMs - this.deviceReadMs < POLL_MS) return
    this.deviceReadMs = nowMs
    const bytes = this.kernel.deviceMtu(this.vtep) || this.vtep.mtu
    if (bytes === this.deviceBytes) return
    this.deviceBytes = bytes
    this.news.changed(this.vtep)
  }

  /** Options that changed begin anew. */
  private begin(): void {
    const settings = JSON.stringify([this.vtep.config.probe, this.vtep.config.mtu])
    if (settings === this.settings) return
    this.settings = settings
    this.remotes.clear()
    this.order = []
    this.scanAt = 0
  }

  private scan(nowMs: number): void {
    const { words } = this
    const rows = words.length >> REMOTE_SHIFT
    let changed = false
    for (let n = 0; n < Math.min(SCAN, rows); n++) {
      const row = this.scanAt
      this.scanAt = (this.scanAt + 1) % rows
      const at = row << REMOTE_SHIFT
      const free = words[at + Remote.Family] === 0
      // Most rows are free, and nobody was there before.
      if (free && this.remotes.size === 0) continue
      const known = this.remotes.get(row)
      if (free) {
        if (known) changed = this.remotes.delete(row)
      } else if (known && isRow(words, at, known.address)) {
        known.named = (words[at + Remote.Flags] & RemoteFlag.Named) !== 0
        this.hearData(known, words[at + Remote.HeardS], nowMs)
      } else {
        this.remotes.set(row, this.meet(row, nowMs))
        changed = true
      }
    }
    if (!changed) return
    this.order = [...this.remotes.values()]
    this.news.changed(this.vtep)
  }

  private hearData(remote: WatchedRemote, heardS: number, nowMs: number): void {
    if (heardS === remote.heardS) return
    remote.heardS = heardS
    remote.probe.heard(nowMs)
  }

  private meet(row: number, nowMs: number): WatchedRemote {
    const { config } = this.vtep
    const at = row << REMOTE_SHIFT
    const flags = this.words[at + Remote.Flags]
    const group = (flags & RemoteFlag.Group) !== 0
    const text = remoteText(this.words, row, config.device)
    const { mtu, liveness, intervalS, misses } = config.probe
    const search = mtu && config.mtu === 0
    const options = { family: config.family, mtu: search, liveness, intervalMs: intervalS * 1000, misses }
    const [bytes, source] = this.believed(text, group)
    const remote: WatchedRemote = {
      row,
      text,
      address: this.words.slice(at, at + ADDRESS_WORDS),
      named: (flags & RemoteFlag.Named) !== 0,
      group,
      probe: new PathProbe(options, bytes, source),
      probed: !group && this.remotes.size < PROBED,
      state: 'unknown',
      heardS: this.words[at + Remote.HeardS],
      polledMs: nowMs,
    }
    this.write(remote)
    return remote
  }

  /** What the kernel believes of the path, and why. */
  private believed(remote: string, group: boolean): [mtu: number, source: MtuSource] {
    const { vtep } = this
    const { config } = vtep
    if (config.mtu > 0) return [config.mtu, 'config']
    const device = this.deviceBytes
    if (group) return [device, 'device']
    try {
      const path = this.kernel.pathMtu(netnsPath(config.netns), localText(config), remote)
      return [path, path < device ? 'icmp' : 'device']
    } catch {
      // No route at present.
      return [device, 'device']
    }
  }

  private poll(nowMs: number): void {
    const poked = this.pokedMs === Number.POSITIVE_INFINITY
    if (poked) this.pokedMs = nowMs
    const all = this.order
    const most = Math.min(all.length, poked ? POLL_AT_ONCE : POLL)
    for (let n = 0; n < most; n++) {
      const remote = all[this.pollAt++ % all.length]
      if (!poked && nowMs - remote.polledMs < POLL_MS) continue
      remote.polledMs = nowMs
      const [mtu, source] = this.believed(remote.text, remote.group)
      remote.probe.kernel(mtu, source, nowMs)
    }
    this.pollAt %= Math.max(1, all.length)
  }

  private hear(nowMs: number): void {
    const fd = this.echoFd
    if (fd === null || fd < 0) return
    for (let reply = this.kernel.echoReply(fd); reply; reply = this.kernel.echoReply(fd)) {
      if (reply.id !== this.echoId) continue
      const sent = this.sent.get(reply.seq)
      if (!sent || sent.bytes !== reply.bytes || bare(sent.remote.text) !== bare(reply.remote)) continue
      this.sent.delete(reply.seq)
      sent.remote.probe.answer(reply.bytes, nowMs)
    }
  }

  private speak(nowMs: number): void {
    for (const remote of this.order) {
      if (!remote.probed) continue
      for (const bytes of remote.probe.due(nowMs)) this.send(remote, bytes)
    }
  }

  private send(remote: WatchedRemote, bytes: number): void {
    const fd = this.open()
    if (fd < 0) return
    this.seq = (this.seq + 1) & 0xffff
    this.sent.set(this.seq, { remote, bytes })
    // What cannot be sent is not answered either: that is all that has to be known of it.
    this.kernel.echo(fd, remote.text, this.echoId, this.seq, bytes, true)
  }

  private open(): number {
    if (this.echoFd !== null) return this.echoFd
    const { config } = this.vtep
    try {
      const { netns, family, device } = config
      const request = {
        netns: netnsPath(netns),
        family,
        local: localText(config),
        device: device || undefined,
      }
      this.echoFd = this.kernel.openEcho(request)
    } catch (error) {
      this.echoFd = -1
      this.news.trouble(this.vtep, `no echoes can be sent: ${(error as Error).message}`)
    }
    return this.echoFd
  }

  /** Writes and tells what came of it. */
  private settle(nowMs: number): void {
    for (const remote of this.order) {
      const at = remote.row << REMOTE_SHIFT
      const was = this.words[at + Remote.Mtu]
      if (remote.probe.mtu !== was) {
        this.write(remote)
        this.news.mtu(this.vtep, remote, was)
      }
      const state = remote.group ? 'unknown' : remote.probe.state(nowMs)
      if (state === remote.state) continue
      const before = remote.state
      remote.state = state
      this.news.state(this.vtep, remote, before)
    }
  }

  private write(remote: WatchedRemote): void {
    this.words[(remote.row << REMOTE_SHIFT) + Remote.Mtu] = remote.probe.mtu
  }

  close(): void {
    if (this.echoFd !== null && this.echoFd >= 0) this.kernel.close(this.echoFd)
    this.echoFd = -1
  }
}

function isRow(words: Int32Array, at: number, address: Int32Array): boolean {
  for (let i = 0; i < ADDRESS_WORDS; i++) if (words[at + i] !== address[i]) return false
  return true
}

/** Without the scope of a link-local address. */
const bare = (address: string): string => address.split('%')[0]
