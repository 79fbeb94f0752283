/** An inline engine for stories about ports: memory ports, a clock moved by hand, the conservation law. */
import { expect } from 'vitest'
import type { PortSettings } from '../../src/engine/command.ts'
import { Engine } from '../../src/engine/engine.ts'
import { COUNTER_WORDS, Counter, dropsOf } from '../../src/packet/counters.ts'
import type { Drop } from '../../src/packet/drop.ts'
import { Clock, MAX_PORTS } from '../../src/packet/layout.ts'
import { planeMemory } from '../../src/packet/memory.ts'
import { FaultPort, type FaultSpec } from '../../src/port/fault.ts'
import { type MemoryOptions, MemoryPort } from '../../src/port/memory.ts'
import type { Port } from '../../src/port/port.ts'
import { HashTable } from '../../src/table/hash.ts'
import { settingsOf } from '../support/fabric.ts'

export class Plane {
  readonly engine: Engine
  nowMs = 1000

  constructor(switches = 1, slots = 256) {
    this.engine = new Engine(planeMemory(slots))
    for (let id = 0; id < switches; id++) {
      this.engine.apply({
        op: 'switch-add',
        id,
        name: `s${id}`,
        fdb: HashTable.memory(1024, 7),
        settings: { agingS: 300, limit: 1024, reservedOpen: 0 },
      })
    }
    this.at(this.nowMs)
  }

  private at(nowMs: number): void {
    this.nowMs = nowMs
    const { clock } = this.engine.memory
    clock[Clock.MonotonicMs] = nowMs
    clock[Clock.WallSeconds] = 1_700_000_000 + Math.floor(nowMs / 1000)
    clock[Clock.WallNanos] = (nowMs % 1000) * 1_000_000
  }

  add<P extends Port>(port: P, id = 0, settings: Partial<PortSettings> = {}): P {
    this.engine.addPort(port, id)
    this.engine.set(port.index, settingsOf(settings))
    return port
  }

  memory(
    index: number,
    id = 0,
    settings: Partial<PortSettings> = {},
    options: MemoryOptions = {},
  ): MemoryPort {
    return this.add(new MemoryPort(this.engine, index, `m${index}`, options), id, settings)
  }

  /** A memory port behind a bad line. */
  faulty(index: number, fault: FaultSpec, options: MemoryOptions = {}): MemoryPort {
    const inner = new MemoryPort(this.engine, index, `m${index}`, options)
    this.add(new FaultPort(this.engine, inner, fault))
    return inner
  }

  /** One breath. */
  step(): void {
    this.engine.service(this.nowMs)
  }

  /** Breathes until nothing moved for a while: a bad line may hold all of a batch, and have more. */
  settle(most = 200): void {
    for (let i = 0, quiet = 0; i < most && quiet < 8; i++)
      quiet = this.engine.service(this.nowMs) ? 0 : quiet + 1
  }

  /** Lets time pass, in steps of a millisecond. */
  pass(ms: number): void {
    for (let i = 0; i < ms; i++) {
      this.at(this.nowMs + 1)
      this.settle()
    }
  }

  count(port: number, which: Counter): number {
    return this.engine.memory.counters[port * COUNTER_WORDS + which]
  }

  drops(port: number, reason: Drop): number {
    return this.count(port, Counter.Drops + reason)
  }

  /** rx + made = tx + drops + held, and what the ports say they hold is what they counted. */
  conserved(): void {
    const { counters } = this.engine.memory
    let went = 0
    let came = 0
    for (let p = 0; p < MAX_PORTS; p++) {
      came += this.count(p, Counter.RxPackets) + this.count(p, Counter.Made)
      went += this.count(p, Counter.TxPackets) + dropsOf(counters, p) + this.count(p, Counter.Held)
      const port = this.engine.pipeline.portOf[p]
      const held = port?.held() ?? 0
      if (this.count(p, Counter.Held) !== held)
        expect(`port ${p} held ${this.count(p, Counter.Held)}`).toBe(held)
    }
    expect(came).toBe(went)
    // Every slot is in the batch, held, or free; and none is twice.
    const { pool, batch } = this.engine
    const held = this.engine.pipeline.portOf.reduce((sum, port) => sum + (port?.held() ?? 0), 0)
    expect(pool.available + batch.slots.length + held).toBe(pool.size)
    expect(new Set(batch.slots).size).toBe(batch.slots.length)
    expect(batch.taken).toBe(0)
  }
}
