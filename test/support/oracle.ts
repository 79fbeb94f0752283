/**
 * A switch as a textbook would write it: an object per frame, a Map per table, one rule after the
 * other, as IEEE 802.1Q says them. Slow and plain on purpose; test/engine/oracle.test.ts and the fuzzer's
 * little sister compare the engine with it.
 *
 *     8.6.1, 8.6.3   which frames are relayed at all        8.8.1, 8.8.3   learning, ageing
 *     6.9            the VLAN of a frame                    8.6.4, 8.8     to which ports it goes
 *
 * One thing is the engine's own and not the standard's: the frames of a batch go through the rules
 * together, so every one of them is admitted and learned before the first is forwarded.
 *
 * It knows no eviction: which address leaves a full table depends on where the hash put it. Tests
 * that fill the table are test/switch/fdb.test.ts.
 */
import type { PortSettings } from '../../src/engine/command.ts'
import type { Row } from './fabric.ts'
import { mac } from './frames.ts'
import type { Injected } from './port.ts'

const MACS = 12

interface Station {
  port: string
  seenS: number
  pinned: '' | 'static' | 'own'
}

interface Bucket {
  tokens: number
  filledMs: number
}

interface Relayed {
  source: string
  destination: string
  isGroup: boolean
  vid: number
  priority: number
  /** The frame without the tag that said its VLAN. */
  bytes: Uint8Array
  /** Longest frame that will really go out, without a tag. */
  longest: number
}

type Kind = 'unknown' | 'multicast' | 'broadcast'

export class OracleSwitch {
  readonly ports = new Map<string, PortSettings>()
  readonly stations = new Map<string, Station>()
  readonly buckets = new Map<string, Bucket>()
  readonly drops = new Map<string, number>()
  readonly sent = new Map<string, Uint8Array[]>()
  agingS = 300
  reservedOpen = 0

  add(name: string, settings: PortSettings): void {
    this.ports.set(name, settings)
    this.sent.set(name, [])
    this.set(name, settings)
  }

  set(name: string, settings: PortSettings): void {
    const before = this.ports.get(name)!
    this.ports.set(name, settings)
    for (const kind of ['unknown', 'multicast', 'broadcast'] as Kind[]) {
      if (rateOf(settings, kind) !== rateOf(before, kind)) this.buckets.delete(`${name} ${kind}`)
    }
    for (const [key, station] of this.stations)
      if (station.port === name && station.pinned) this.stations.delete(key)
    for (const [address, vid] of settings.statics) {
      this.stations.set(`${vid} ${mac(address)}`, { port: name, seenS: 0, pinned: 'static' })
    }
  }

  /** Frames from one port, at most a batch. */
  receive(name: string, batch: Injected[], nowMs: number): void {
    const nowS = Math.floor(nowMs / 1000)
    if (!this.ports.get(name)!.up) {
      for (const _ of batch) this.drop(name, 'port-down')
      return
    }
    const admitted = batch.map((p) => this.admit(name, p)).filter((r): r is Relayed => r !== null)
    const learned = admitted.filter((r) => this.learn(name, r, nowS))
    for (const relayed of learned) this.forward(name, relayed, nowMs, nowS)
  }

  private drop(name: string, reason: string): null {
    const key = `${name} ${reason}`
    this.drops.set(key, (this.drops.get(key) ?? 0) + 1)
    return null
  }

  private admit(name: string, packet: Injected): Relayed | null {
    const { frame } = packet
    if (frame.length < 14) return this.drop(name, 'runt')
    const source = mac(frame.subarray(6, 12))
    const destination = mac(frame.subarray(0, 6))
    if (frame[6] % 2 === 1) return this.drop(name, 'source-group')
    if (source === '00:00:00:00:00:00') return this.drop(name, 'source-zero')
    const link = /^01:80:c2:00:00:0(.)$/.exec(destination)
    if (link && !(this.reservedOpen & (1 << Number.parseInt(link[1], 16)))) return this.drop(name, 'reserved')
    const vlan = this.classify(name, frame)
    if (typeof vlan === 'string') return this.drop(name, vlan)
    const bytes = vlan.hasTag
      ? new Uint8Array([...frame.subarray(0, MACS), ...frame.subarray(MACS + 4)])
      : frame
    const { vid, priority } = vlan
    const longest = longestOf(packet) - (vlan.hasTag ? 4 : 0)
    return { source, destination, isGroup: frame[0] % 2 === 1, vid, priority, bytes, longest }
  }

  private classify(
    name: string,
    frame: Uint8Array,
  ): { vid: number; priority: number; hasTag: boolean } | string {
    const { vlan } = this.ports.get(name)!
    if (vlan.mode === 'unaware') return { vid: 0, priority: 0, hasTag: false }
    const word = (at: number): number => frame[at] * 256 + frame[at + 1]
    if (vlan.mode === 'tunnel') {
      const customer = word(12) === 0x8100 && frame.length >= 18
      return { vid: vlan.vid, priority: customer ? word(14) >> 12 : 0, hasTag: false }
    }
    const native = vlan.mode === 'access' ? vlan.vid : vlan.native
    if (word(12) !== (vlan.tpid ?? 0x8100)) {
      return native === undefined ? 'untagged-refused' : { vid: native, priority: 0, hasTag: false }
    }
    if (frame.length < 18) return 'runt'
    const wire = word(14) % 4096
    const priority = word(14) >> 12
    if (wire === 4095) return 'vlan-reserved'
    if (wire === 0) return native === undefined ? 'untagged-refused' : { vid: native, priority, hasTag: true }
    if (vlan.mode === 'access') return 'tagged-refused'
    const translate = vlan.translate ?? []
    const entry = translate.find(([from]) => from === wire)
    const hidden = !entry && translate.some(([, to]) => to === wire)
    const vid = entry ? entry[1] : wire
    if (hidden || !(vlan.allowed.includes(vid) || vid === vlan.native)) return 'vlan-ingress'
    return { vid, priority, hasTag: true }
  }

  private find(vid: number, address: string, nowS: number): Station | undefined {
    const station = this.stations.get(`${vid} ${address}`)
    if (!station || station.pinned) return station
    return this.agingS !== 0 && nowS - station.seenS > this.agingS ? undefined : station
  }

  /** False when the frame ends here. */
  private learn(name: string, { vid, source }: Relayed, nowS: number): boolean {
    const settings = this.ports.get(name)!
    const known = this.find(vid, source, nowS)
    if (settings.locked && !(known?.pinned && known.port === name)) {
      this.drop(name, 'locked')
      return false
    }
    if (!settings.learning || (known?.pinned && known.port !== name)) return true
    if (known?.port !== name) {
      const has = [...this.stations.keys()].filter((key) => {
        const [v, address] = key.split(' ')
        return this.stations.get(key)!.port === name && this.find(Number(v), address, nowS)
      })
      if (settings.limit !== 0 && has.length >= settings.limit) return true
    }
    this.stations.set(`${vid} ${source}`, { port: name, seenS: nowS, pinned: known?.pinned ?? '' })
    return true
  }

  private forward(name: string, relayed: Relayed, nowMs: number, nowS: number): void {
    const settings = this.ports.get(name)!
    const station = relayed.isGroup ? undefined : this.find(relayed.vid, relayed.destination, nowS)
    const broadcast = relayed.destination === 'ff:ff:ff:ff:ff:ff'
    const kind: Kind = broadcast ? 'broadcast' : relayed.isGroup ? 'multicast' : 'unknown'
    if (station?.port === name && !settings.hairpin) return void this.drop(name, 'same-port')
    if (!station && !this.admitsStorm(name, kind, nowMs)) return void this.drop(name, `storm-${kind}`)
    let taken = 0
    for (const [outName, out] of this.ports) {
      const wanted = {
        unknown: out.floodUnknown,
        multicast: out.floodMulticast,
        broadcast: out.floodBroadcast,
      }
      if (station ? station.port !== outName : !wanted[kind]) continue
      if (outName === name && !settings.hairpin) continue
      const tag = this.tagOn(out, relayed)
      if (!out.up || tag === null || (settings.isolated && out.isolated)) continue
      taken++
      if (relayed.longest > out.mtu + 18) this.drop(outName, 'too-big')
      else this.sent.get(outName)!.push(withTag(relayed.bytes, tag))
    }
    if (taken === 0) this.drop(name, 'no-egress')
  }

  /** The tag a frame gets on a port; null when the port is not in the VLAN. */
  private tagOn({ vlan }: PortSettings, { vid, priority }: Relayed): number[] | null {
    if (vlan.mode === 'unaware') return vid === 0 ? [] : null
    if (vlan.mode !== 'trunk') return vlan.vid === vid ? [] : null
    if (vlan.native === vid) return []
    if (!vlan.allowed.includes(vid)) return null
    const wire = (vlan.translate ?? []).find(([, inside]) => inside === vid)?.[0] ?? vid
    const tpid = vlan.tpid ?? 0x8100
    return [tpid >> 8, tpid % 256, priority * 16 + (wire >> 8), wire % 256]
  }

  private admitsStorm(name: string, kind: Kind, nowMs: number): boolean {
    const rate = rateOf(this.ports.get(name)!, kind)
    if (rate === Number.POSITIVE_INFINITY) return true
    const key = `${name} ${kind}`
    const bucket = this.buckets.get(key) ?? { tokens: rate, filledMs: nowMs }
    bucket.tokens = Math.min(rate, bucket.tokens + (rate * (nowMs - bucket.filledMs)) / 1000)
    bucket.filledMs = nowMs
    this.buckets.set(key, bucket)
    if (bucket.tokens < 1) return false
    bucket.tokens--
    return true
  }

  addresses(nowS: number): Row[] {
    const rows: Row[] = []
    for (const key of this.stations.keys()) {
      const [vid, address] = key.split(' ')
      const station = this.find(Number(vid), address, nowS)
      if (!station) continue
      rows.push({ vid: Number(vid), mac: address, port: station.port, type: station.pinned || 'dynamic' })
    }
    return rows.sort((a, b) => a.vid - b.vid || (a.mac < b.mac ? -1 : 1))
  }
}

function rateOf(settings: PortSettings, kind: Kind): number {
  return {
    unknown: settings.stormUnknown,
    multicast: settings.stormMulticast,
    broadcast: settings.stormBroadcast,
  }[kind]
}

/** Bytes of the longest frame on the wire: of a super-frame that is a segment. */
function longestOf({ frame, gsoSize = 0, csumStart = 0, csumOffset = 0 }: Injected): number {
  if (gsoSize === 0) return frame.length
  const header = csumOffset === 6 ? 8 : (frame[csumStart + 12] >> 4) * 4
  return Math.min(frame.length, csumStart + header + gsoSize)
}

function withTag(bytes: Uint8Array, tag: number[]): Uint8Array {
  return new Uint8Array([...bytes.subarray(0, MACS), ...tag, ...bytes.subarray(MACS)])
}
