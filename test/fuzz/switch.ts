/**
 * The fuzzer: frames that are almost right, through a switch whose settings change all the time, and
 * after every batch the question whether the plane is still whole.
 *
 *     corpus and templates -> mutate: bits, words, tags, lengths -> metadata, right and wrong
 *        -> VLAN, learning, forwarding -> ports that look at every packet
 *                                      -> one device port without offloads: native segmentation
 *
 * Invariants: nothing throws; rx + made = tx + drops + held; every slot is once in the batch or free;
 * no table over its limit, and its counts true; what a port is to send lies inside its slot.
 * Everything follows from the seed.
 */
import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readdirSync, readFileSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Engine } from '../../src/engine/engine.ts'
import { DeviceKind } from '../../src/native.ts'
import type { Batch } from '../../src/packet/batch.ts'
import { Counter, dropsOf } from '../../src/packet/counters.ts'
import { DROPS } from '../../src/packet/drop.ts'
import { BATCH, META_SHIFT, Meta, SLOT_SIZE } from '../../src/packet/layout.ts'
import { planeMemory } from '../../src/packet/memory.ts'
import { DevicePort } from '../../src/port/device.ts'
import { countRx, countTx, type Port, type PortHost, type TxQueue } from '../../src/port/port.ts'
import { packageRoot } from '../../src/root.ts'
import { Entry } from '../../src/switch/fdb.ts'
import type { Switch } from '../../src/switch/switch.ts'
import { HashTable } from '../../src/table/hash.ts'
import { random } from '../support/frames.ts'
import { counter } from '../support/port.ts'
import { makeFrame, randomSettings, templatesOf } from './mutate.ts'

export interface FuzzReport {
  frames: number
  seconds: number
  rx: number
  made: number
  tx: number
  dropped: number
  reasons: [string, number][]
}

const PORTS = 6
const DEVICE = PORTS
const SLOTS = 96
const LIMIT = 64

/** Fills batches with what the fuzzer made, and looks at everything it is told to send. */
export class FuzzPort implements Port {
  readonly index: number
  readonly name: string
  mtu = 1500
  readonly timed = false
  private readonly host: PortHost
  private readonly fill: (slot: number) => number
  private readonly next: () => number
  count = 0

  constructor(host: PortHost, index: number, next: () => number, fill: (slot: number) => number) {
    this.host = host
    this.index = index
    this.name = `p${index}`
    this.next = next
    this.fill = fill
  }

  rx(batch: Batch): number {
    const n = this.next() % 4 === 0 ? BATCH : 1 + (this.next() % BATCH)
    let bytes = 0
    for (let i = 0; i < n; i++) {
      const slot = batch.slots[i]
      this.host.pool.meta[(slot << META_SHIFT) + Meta.Port] = this.index
      bytes += this.fill(slot)
    }
    batch.n = n
    this.count = n
    countRx(this.host, this.index, n, bytes)
    return n
  }

  tx(queue: TxQueue): number {
    const { meta } = this.host.pool
    let bytes = 0
    for (let i = 0; i < queue.count; i++) {
      const slot = queue.words[queue.at + 2 * i]
      const tag = queue.words[queue.at + 2 * i + 1]
      const m = slot << META_SHIFT
      const [head, len, strip] = [meta[m + Meta.Head], meta[m + Meta.Len], meta[m + Meta.Strip]]
      const whole =
        slot >= 0 && slot < this.host.pool.size && head >= 24 && len >= 14 && head + len <= SLOT_SIZE
      const tagged = (strip === 0 || strip === 4) && len - strip >= 14 && (tag & 0xfff) !== 0xfff
      if (!whole || !tagged)
        throw new Error(
          `port ${this.index} got slot ${slot}: head ${head} len ${len} strip ${strip} tag ${tag}`,
        )
      bytes += len
    }
    countTx(this.host, this.index, queue.count, bytes)
    return 0
  }

  held(): number {
    return 0
  }

  due(): number {
    return Number.POSITIVE_INFINITY
  }

  close(): void {}
}

/** A pipe stands for a device: the addon writes every segment, we read them away. Needs no root. */
function openPipe(seed: number): number {
  const path = join(tmpdir(), `taploom-fuzz-${process.pid}-${seed}`)
  execFileSync('mkfifo', [path])
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
  rmSync(path)
  return fd
}

function drain(fd: number, into: Uint8Array): void {
  try {
    while (readSync(fd, into) === into.length) {}
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
  }
}

export function fuzz({ frames, seed }: { frames: number; seed: number }): FuzzReport {
  const next = random(seed)
  const corpus = join(packageRoot, 'test/fuzz/corpus')
  const kept = readdirSync(corpus)
    .filter((name) => name.endsWith('.hex'))
    .sort()
    .map((name) => Buffer.from(readFileSync(join(corpus, name), 'utf8').replace(/#.*$|\s/gm, ''), 'hex'))
  const templates = [...kept, ...templatesOf()]
  const engine = new Engine(planeMemory(SLOTS))
  const settings = { agingS: 3, limit: LIMIT, reservedOpen: 0 }
  engine.apply({ op: 'switch-add', id: 0, name: 'fuzz', fdb: HashTable.memory(LIMIT, seed), settings })
  const sw = engine.stages[0] as Switch
  const ports = Array.from({ length: PORTS }, (_, i) => {
    const port = new FuzzPort(engine, i, next, (slot) => makeFrame(engine.pool, slot, templates, next))
    engine.addPort(port, 0)
    return port
  })
  const fd = openPipe(seed)
  const spec = { index: DEVICE, name: 'pipe', kind: DeviceKind.Tap, fd, vnetSize: 10, offloads: 0, mtu: 1500 }
  engine.addPort(new DevicePort(engine, engine.io, spec), 0)
  for (let i = 0; i <= PORTS; i++) engine.set(i, randomSettings(next, i))

  const sink = new Uint8Array(1 << 17)
  const started = performance.now()
  let done = 0
  let nowMs = 1
  try {
    while (done < frames) {
      if (next() % 16 === 0) {
        const i = next() % (PORTS + 1)
        engine.set(i, randomSettings(next, i))
      }
      if (next() % 64 === 0) {
        settings.reservedOpen = next() & 0xffff
        settings.agingS = next() % 5
        engine.apply({ op: 'switch-set', id: 0, settings })
      }
      if (next() % 512 === 0)
        engine.apply({ op: 'flush', switch: 0, port: (next() % 8) - 1, vid: (next() % 6) - 1 })
      const port = ports[next() % PORTS]
      engine.ready(port.index)
      engine.service(nowMs)
      nowMs += next() % 100
      done += port.count
      drain(fd, sink)
      check(engine, sw)
    }
    return report(engine, done, (performance.now() - started) / 1000)
  } catch (error) {
    const { slots, n } = engine.batch
    const hex = [...slots.subarray(0, Math.max(n, 1))].map((s) =>
      Buffer.from(engine.pool.frame(s)).toString('hex').slice(0, 200),
    )
    throw new Error(`seed ${seed}, after ${done} frames: ${String(error)}\n${hex.join('\n')}`, {
      cause: error,
    })
  } finally {
    engine.close()
    closeSync(fd)
  }
}

const seen = new Uint8Array(SLOTS)

function check(engine: Engine, sw: Switch): void {
  const { counters } = engine.memory
  let balance = 0
  for (let i = 0; i <= PORTS; i++) {
    balance += counter(counters, i, Counter.RxPackets) + counter(counters, i, Counter.Made)
    balance -=
      counter(counters, i, Counter.TxPackets) + dropsOf(counters, i) + counter(counters, i, Counter.Held)
  }
  if (balance !== 0) throw new Error(`${balance} packets are not accounted for`)

  seen.fill(0)
  for (let i = 0; i < BATCH; i++) seen[engine.batch.slots[i]]++
  const free = engine.pool.available
  for (let i = 0; i < SLOTS; i++) if (seen[i] > 1) throw new Error(`slot ${i} is twice in the batch`)
  if (free !== SLOTS - BATCH || engine.batch.taken !== 0)
    throw new Error(`${free} slots are free, of ${SLOTS - BATCH}`)

  const { fdb } = sw
  if (fdb.table.size > LIMIT) throw new Error(`${fdb.table.size} addresses`)
  const words = fdb.table.words
  let size = 0
  for (let at = 0; at < words.length; at += 4) {
    if (words[at + 1] === 0) continue
    size++
    if ((words[at + 2] & Entry.PortMask) > PORTS) throw new Error(`an address at port ${words[at + 2]}`)
  }
  let counted = 0
  for (let i = 0; i <= PORTS; i++) counted += fdb.perPort[i]
  if (size !== fdb.table.size || counted !== size) throw new Error(`${size} addresses, ${counted} counted`)
}

function report(engine: Engine, frames: number, seconds: number): FuzzReport {
  const { counters } = engine.memory
  const result: FuzzReport = { frames, seconds, rx: 0, made: 0, tx: 0, dropped: 0, reasons: [] }
  for (let i = 0; i <= PORTS; i++) {
    result.rx += counter(counters, i, Counter.RxPackets)
    result.made += counter(counters, i, Counter.Made)
    result.tx += counter(counters, i, Counter.TxPackets)
    result.dropped += dropsOf(counters, i)
  }
  DROPS.forEach(([name], reason) => {
    let n = 0
    for (let i = 0; i <= PORTS; i++) n += counter(counters, i, (Counter.Drops + reason) as Counter)
    if (n > 0) result.reasons.push([name, n])
  })
  return result
}
