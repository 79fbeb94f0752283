/**
 * A switch to tell stories about: an engine stepped by hand, with a clock that only the test moves.
 *
 *     const lab = fabricOf({ web: {}, db: { vlan: { mode: 'access', vid: 10 } } })
 *     lab.send('web', frame({ dst: 2, src: 1 }))        in at web, all the way through
 *     lab.out('db')                                     what came out of db since the last look
 *     lab.seconds(300)                                  time passes
 */

import type { PortSettings, SwitchSettings } from '../../src/engine/command.ts'
import { Engine } from '../../src/engine/engine.ts'
import { Counter } from '../../src/packet/counters.ts'
import { DROPS } from '../../src/packet/drop.ts'
import { Clock } from '../../src/packet/layout.ts'
import { planeMemory } from '../../src/packet/memory.ts'
import { Entry, type Fdb } from '../../src/switch/fdb.ts'
import type { Switch } from '../../src/switch/switch.ts'
import { HashTable } from '../../src/table/hash.ts'
import { macOf } from './frames.ts'
import { counter, type Offloads, TestPort } from './port.ts'

export interface FabricOptions extends Partial<SwitchSettings> {
  /** Packets in the pool. */
  slots?: number
  seed?: number
}

export function settingsOf(given: Partial<PortSettings> = {}): PortSettings {
  return {
    vlan: { mode: 'unaware' },
    mtu: 1500,
    up: true,
    learning: true,
    floodUnknown: true,
    floodMulticast: true,
    floodBroadcast: true,
    isolated: false,
    hairpin: false,
    locked: false,
    limit: 0,
    stormUnknown: Number.POSITIVE_INFINITY,
    stormMulticast: Number.POSITIVE_INFINITY,
    stormBroadcast: Number.POSITIVE_INFINITY,
    statics: [],
    own: null,
    ...given,
  }
}

/** One row of the forwarding database, for comparing. */
export interface Row {
  vid: number
  mac: string
  port: string
  type: 'dynamic' | 'static' | 'own'
}

export class Fabric {
  readonly engine: Engine
  readonly names: string[] = []
  readonly ports = new Map<string, TestPort>()
  nowMs = 0

  constructor(options: FabricOptions = {}) {
    this.engine = new Engine(planeMemory(options.slots ?? 128))
    this.addSwitch(0, options)
  }

  addSwitch(id: number, options: FabricOptions = {}): void {
    const settings = { agingS: 300, limit: 1024, reservedOpen: 0, ...options }
    const fdb = HashTable.memory(settings.limit, options.seed ?? 1)
    this.engine.apply({ op: 'switch-add', id, name: `lan${id}`, fdb, settings })
  }

  get fdb(): Fdb {
    return (this.engine.stages[0] as Switch).fdb
  }

  get counters(): Float64Array {
    return this.engine.memory.counters
  }

  add(name: string, settings: Partial<PortSettings> = {}): TestPort {
    const port = new TestPort(this.engine, this.names.length, name)
    this.names.push(name)
    this.ports.set(name, port)
    this.engine.addPort(port, 0)
    this.engine.set(port.index, settingsOf(settings))
    return port
  }

  set(name: string, settings: Partial<PortSettings>): void {
    this.engine.set(this.port(name).index, settingsOf(settings))
  }

  port(name: string): TestPort {
    const port = this.ports.get(name)
    if (!port) throw new Error(`no port ${name} in this test`)
    return port
  }

  /** Puts frames on the wire of a port without running. */
  inject(name: string, ...frames: Uint8Array[]): void {
    for (const f of frames) this.port(name).inject(f)
  }

  /** Frames in at a port, and everything that follows from them. */
  send(name: string, ...frames: Uint8Array[]): void {
    this.inject(name, ...frames)
    this.run()
  }

  /** One packet as an offloading device hands it over. */
  sendSuper(name: string, frame: Uint8Array, offloads: Offloads): void {
    this.port(name).inject(frame, offloads)
    this.run()
  }

  /** One breath. True if there was traffic. */
  breathe(): boolean {
    this.engine.memory.clock[Clock.MonotonicMs] = this.nowMs
    return this.engine.service(this.nowMs) > 0
  }

  /** Breathes until nothing moves. */
  run(): void {
    while (this.breathe()) {}
  }

  seconds(s: number): void {
    this.nowMs += s * 1000
  }

  /** What a port sent since the last call. */
  out(name: string): Uint8Array[] {
    return this.port(name).take()
  }

  /** Names of the ports that sent something since the last call, and how many. */
  went(): Record<string, number> {
    const went: Record<string, number> = {}
    for (const [name, port] of this.ports) {
      const n = port.take().length
      if (n > 0) went[name] = n
    }
    return went
  }

  count(name: string, which: Counter): number {
    return counter(this.counters, this.port(name).index, which)
  }

  /** Drops of a port by name, without the zeros. */
  drops(name: string): Record<string, number> {
    const result: Record<string, number> = {}
    DROPS.forEach(([reason], i) => {
      const n = this.count(name, (Counter.Drops + i) as Counter)
      if (n > 0) result[reason] = n
    })
    return result
  }

  /** The live addresses, sorted. */
  addresses(): Row[] {
    return addressesOf(this.fdb, (this.nowMs / 1000) | 0, this.names)
  }

  close(): void {
    this.engine.close()
  }
}

export function addressesOf(fdb: Fdb, nowS: number, names: readonly string[]): Row[] {
  const words = fdb.table.words
  const rows: Row[] = []
  for (let at = 0; at < words.length; at += 4) {
    const key1 = words[at + 1]
    if (key1 === 0 || fdb.find(words[at], key1, nowS) < 0) continue
    const value = words[at + 2]
    rows.push({
      vid: (key1 >> 16) & 0xfff,
      mac: macOf(key1 & 0xffff, words[at]),
      port: names[value & Entry.PortMask],
      type: value & Entry.Own ? 'own' : value & Entry.Static ? 'static' : 'dynamic',
    })
  }
  return rows.sort((a, b) => a.vid - b.vid || (a.mac < b.mac ? -1 : 1))
}

/** An engine with one switch and these ports, inline, with a clock the test moves. */
export function fabricOf(ports: Record<string, Partial<PortSettings>>, options: FabricOptions = {}): Fabric {
  const fabric = new Fabric(options)
  for (const [name, settings] of Object.entries(ports)) fabric.add(name, settings)
  return fabric
}
