import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RingReader, RingWriter, ringMemory } from '../../src/packet/ring.ts'

function write(ring: RingWriter, payload: Uint8Array): boolean {
  const at = ring.reserve(payload.length)
  if (at < 0) return false
  ring.bytes.set(payload, at)
  ring.commit()
  return true
}

function read(ring: RingReader): Uint8Array | null {
  const at = ring.next()
  if (at < 0) return null
  const payload = ring.bytes.slice(at, at + ring.length)
  ring.release()
  return payload
}

describe('a ring', () => {
  it('behaves as a bounded queue of byte strings', () => {
    const operation = fc.oneof(
      { weight: 3, arbitrary: fc.uint8Array({ maxLength: 300 }) },
      { weight: 2, arbitrary: fc.constant('read' as const) },
      { weight: 1, arbitrary: fc.constant('reopen' as const) },
    )
    const startAt = fc.constantFrom(0, 0x7fffff00, -512, 8 * 1000)
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 300 }), startAt, (operations, start) => {
        const memory = ringMemory(1024)
        // Positions count bytes modulo 2^32: begin anywhere.
        const state = new Int32Array(memory, 0, 32)
        state[0] = start
        state[16] = start
        let writer = new RingWriter(memory)
        let reader = new RingReader(memory)
        const model: Uint8Array[] = []
        for (const op of operations) {
          if (op === 'read') {
            expect(read(reader)).toEqual(model.shift() ?? null)
          } else if (op === 'reopen') {
            writer = new RingWriter(memory)
            reader = new RingReader(memory)
          } else {
            const stored = model.reduce((sum, r) => sum + 8 + ((r.length + 7) & ~7), 0)
            const need = 8 + ((op.length + 7) & ~7)
            const fits = write(writer, op)
            if (fits) model.push(op)
            // A record is refused for the bytes it needs or, at the end of the ring, those it must skip.
            if (fits) expect(stored + need).toBeLessThanOrEqual(1024)
            else expect(stored + 2 * need).toBeGreaterThan(1024)
          }
          expect(reader.empty).toBe(model.length === 0)
          expect(writer.empty).toBe(model.length === 0)
        }
        for (const left of model) expect(read(reader)).toEqual(left)
        expect(read(reader)).toBeNull()
      }),
      { numRuns: 300 },
    )
  })

  it('takes a record of half its size whenever it is empty, and none that is longer', () => {
    const memory = ringMemory(1024)
    const writer = new RingWriter(memory)
    const reader = new RingReader(memory)
    expect(writer.reserve(writer.longest + 1)).toBe(-1)
    expect(writer.reserve(-1)).toBe(-1)
    for (let i = 0; i < 200; i++) {
      const big = new Uint8Array(writer.longest).fill(i)
      expect(write(writer, big)).toBe(true)
      expect(read(reader)).toEqual(big)
      const small = new Uint8Array(i % 40).fill(i)
      expect(write(writer, small)).toBe(true)
      expect(read(reader)).toEqual(small)
    }
  })

  it('shows nothing that was not committed', () => {
    const memory = ringMemory(1024)
    const writer = new RingWriter(memory)
    const reader = new RingReader(memory)
    writer.reserve(10)
    expect(reader.next()).toBe(-1)
    writer.commit()
    expect(reader.next()).toBeGreaterThanOrEqual(0)
  })

  it('ends when all was read, and goes on with a new writer', () => {
    const memory = ringMemory(1024)
    const writer = new RingWriter(memory)
    const reader = new RingReader(memory)
    write(writer, Uint8Array.of(1))
    writer.end()
    expect(reader.ended).toBe(false)
    expect(read(reader)).toEqual(Uint8Array.of(1))
    expect(reader.ended).toBe(true)
    const next = new RingWriter(memory)
    expect(reader.ended).toBe(false)
    write(next, Uint8Array.of(2))
    expect(read(reader)).toEqual(Uint8Array.of(2))
  })

  it('refuses sizes out of range, and memory that is no ring', () => {
    expect(() => ringMemory(1023)).toThrow(RangeError)
    expect(() => ringMemory(2 ** 31)).toThrow(RangeError)
    expect(() => new RingReader(new SharedArrayBuffer(1024))).toThrow(RangeError)
    expect(new RingWriter(ringMemory(1025)).capacity).toBe(2048)
  })

  it('carries a hundred thousand records from one thread to another, in order and whole', async () => {
    const memory = ringMemory(4096)
    const count = 100_000
    // The other thread reads by the layout in the head of ring.ts, not by its code.
    const worker = new Worker(
      `const { parentPort, workerData } = require('node:worker_threads')
       const { memory, count } = workerData
       const state = new Int32Array(memory, 0, 32), words = new Int32Array(memory, 128), bytes = new Uint8Array(memory, 128)
       let tail = 0, wrong = 0
       for (let i = 0; i < count; ) {
         if (Atomics.load(state, 0) === tail) continue
         let at = tail & 4095
         if (words[at >> 2] === -1) { tail = (tail + 4096 - at) | 0; at = 0 }
         const length = words[at >> 2]
         if (length !== i % 97) wrong++
         for (let k = 0; k < length; k++) if (bytes[at + 8 + k] !== (i & 255)) wrong++
         tail = (tail + 8 + ((length + 7) & ~7)) | 0
         Atomics.store(state, 16, tail)
         i++
       }
       parentPort.postMessage(wrong)`,
      { eval: true, workerData: { memory, count } },
    )
    const wrong = new Promise<number>((resolve, reject) =>
      worker.once('message', resolve).once('error', reject),
    )
    const writer = new RingWriter(memory)
    for (let i = 0; i < count; ) {
      const at = writer.reserve(i % 97)
      if (at < 0) {
        await new Promise(setImmediate)
        continue
      }
      writer.bytes.fill(i & 255, at, at + (i % 97))
      writer.commit()
      i++
    }
    expect(await wrong).toBe(0)
    await worker.terminate()
  })
})
