/** The addon at its edges: wrong arguments, failures, threads. It throws or says -errno, never more. */
import { execFileSync } from 'node:child_process'
import { readdirSync, readlinkSync } from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DeviceKind, type IoArrays, native } from '../../src/native.ts'
import { Clock, Meta, Offload, SLOT_SIZE } from '../../src/packet/layout.ts'
import { packageRoot } from '../../src/root.ts'
import { lacking, NetLab } from '../support/netlab.ts'

const { EBADF, EFAULT } = constants.errno
const main = fileURLToPath(new URL('probe.main.mjs', import.meta.url))

function probe(name: string): unknown {
  const out = execFileSync(process.execPath, ['--expose-gc', main, name], {
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  return JSON.parse(out)
}

const arrays = (): IoArrays => ({
  pool: new Uint8Array(SLOT_SIZE * 2),
  meta: new Int32Array(Meta.Words * 2),
  rx: new Int32Array([0, 1]),
  txq: new Int32Array(4),
  events: new Int32Array(4),
  clock: new Float64Array(Clock.Words),
  txResult: new Int32Array(8),
})

describe('Io', () => {
  test('refuses arrays that are missing, of another kind, or smaller than the layout says', () => {
    for (const name of Object.keys(arrays()) as (keyof IoArrays)[]) {
      expect(() => new native.Io({ ...arrays(), [name]: undefined } as never), name).toThrow(TypeError)
      expect(() => new native.Io({ ...arrays(), [name]: [1, 2, 3] } as never), name).toThrow(TypeError)
      expect(() => new native.Io({ ...arrays(), [name]: new Uint16Array(1000) } as never), name).toThrow(
        TypeError,
      )
    }
    for (const name of ['meta', 'events', 'clock', 'txResult'] as const) {
      const short = name === 'clock' ? new Float64Array(1) : new Int32Array(1)
      expect(() => new native.Io({ ...arrays(), [name]: short } as never), name).toThrow(RangeError)
    }
    expect(() => new (native.Io as never as new () => unknown)()).toThrow(TypeError)
  })

  test('answers wrong devices, places and slots with -errno, and goes on working', () => {
    const results = probe('rxtx') as Record<string, unknown>
    const expected: Record<string, unknown> = {
      still: 1,
      detached: [-EBADF, -EBADF],
      closed: [-EBADF, -EBADF, 'EBADF'],
      waitClosed: -EBADF,
    }
    for (const name of Object.keys(results)) expected[name] ??= / device /.test(name) ? -EBADF : -EFAULT
    expect(results).toEqual(expected)
  })

  test('counts packets whose metadata does not add up as malformed', () => {
    const results = probe('metadata') as [number, number][]
    for (const result of results) expect(result).toEqual([0, 1])
  })

  test('a virtio header has 10 to 24 bytes', () => {
    const io = new native.Io(arrays())
    const fd = native.eventfd()
    for (const size of [-1, 1, 9, 25, 1000])
      expect(() => io.attach(fd, DeviceKind.Tap, size, 0, 0)).toThrow(RangeError)
    expect(() => io.attach(9999, DeviceKind.Tap, 0, 0, 0)).toThrow(/EBADF/)
    io.close()
    native.close(fd)
  })

  test('a wake ends a wait, sets the clock, and is told as token -1', () => {
    const a = arrays()
    const fd = native.eventfd()
    const io = new native.Io(a, fd)
    expect(io.wait(0, 0)).toBe(0)
    const before = a.clock[Clock.MonotonicMs]
    expect(before).toBeGreaterThan(0)
    expect(Math.abs(a.clock[Clock.WallSeconds] * 1000 - Date.now())).toBeLessThan(60_000)
    native.wake(fd)
    native.wake(fd)
    expect(io.wait(1000, 0)).toBe(1)
    expect(a.events[0]).toBe(-1)
    expect(a.clock[Clock.MonotonicMs]).toBeGreaterThanOrEqual(before)
    expect(io.wait(0, 50)).toBe(0)
    io.close()
    io.close()
    native.close(fd)
  })
})

describe('wrong arguments', () => {
  const wrong: [string, () => unknown][] = [
    ['openTap()', () => (native.openTap as () => unknown)()],
    ['openTap of a name of 16 bytes', () => native.openTap({ name: '1234567890123456' })],
    ['openTap of 0 queues', () => native.openTap({ queues: 0 })],
    ['openTap of 257 queues', () => native.openTap({ queues: 257 })],
    ['openPacket()', () => (native.openPacket as () => unknown)()],
    ['openPacket without a name', () => native.openPacket({} as never)],
    ['changeLink without a change', () => (native.changeLink as (a: string, b: string) => void)('', 'lo')],
    ['changeLink with a MAC of 5 bytes', () => native.changeLink('', 'lo', { mac: new Uint8Array(5) })],
    ['segment()', () => (native.segment as () => unknown)()],
    ['segment of a string', () => native.segment('x' as never, 1, 1, 1)],
    ['segment of an Int32Array', () => native.segment(new Int32Array(9) as never, 1, 1, 1)],
    ['coalesce of a number', () => native.coalesce(5 as never)],
    ['coalesce of numbers', () => native.coalesce([5] as never)],
    ['checksum()', () => (native.checksum as () => unknown)()],
    ['setPersist of no device', () => native.setPersist(-1, true)],
    ['setCarrier of no device', () => native.setCarrier(-1, true)],
    ['wake of no descriptor', () => native.wake(-1)],
  ]
  test.each(wrong)('%s throws', (_, call) => {
    expect(call).toThrow()
  })

  test('a descriptor that is no number closes nothing', () => {
    expect(probe('close')).toMatchObject({ stdin: 'open' })
  })
})

describe('failures', () => {
  test('leave no descriptor open', () => {
    const leaked = Object.entries(probe('leaks') as Record<string, number>).filter(([, n]) => n !== 0)
    expect(leaked).toEqual([])
  })

  test('are errors with code, errno, syscall and a sentence', () => {
    const calls: [() => unknown, string, RegExp][] = [
      [() => native.readLink('/nonexistent', 'lo'), 'ENOENT', /^cannot open network namespace \/nonexistent/],
      [() => native.openPacket({ name: 'tl-none' }), 'ENODEV', /^no device tl-none/],
      [() => native.changeLink('', 'tl-none', { mtu: 1400 }), 'ENODEV', /tl-none/],
      [
        () => native.openTap({ netns: '/etc/passwd', name: 'tlx' }),
        'EINVAL',
        /cannot enter network namespace/,
      ],
    ]
    for (const [call, code, sentence] of calls) {
      try {
        call()
        expect.unreachable()
      } catch (e) {
        const error = e as NodeJS.ErrnoException
        if (error.code === 'EPERM') continue // without root the kernel does not get that far
        expect(error).toBeInstanceOf(Error)
        expect(error.code).toBe(code)
        expect(error.errno).toBe(-(constants.errno as Record<string, number>)[code])
        expect(error.syscall).toMatch(/\w/)
        expect(error.message).toMatch(sentence)
      }
    }
  })
})

describe('threads', () => {
  const source = `
    const { parentPort, workerData } = require('node:worker_threads')
    const native = require(workerData + '/node_modules/node-gyp-build')(workerData)
    const { kSlotSize, kMetaWords } = native.layout()
    const shared = (n) => new SharedArrayBuffer(n)
    const wake = native.eventfd()
    const io = new native.Io({
      pool: new Uint8Array(shared(kSlotSize)), meta: new Int32Array(shared(kMetaWords * 4)), rx: new Int32Array(shared(4)),
      txq: new Int32Array(shared(8)), events: new Int32Array(shared(64)), clock: new Float64Array(shared(32)),
      txResult: new Int32Array(shared(32)) }, wake)
    parentPort.postMessage(wake)
    for (;;) io.wait(5, 20)
  `
  test('several load the addon, wait, and are ended all at once', async () => {
    const before = readdirSync('/proc/self/fd').length
    for (let round = 0; round < 3; round++) {
      const workers = Array.from(
        { length: 6 },
        () => new Worker(source, { eval: true, workerData: packageRoot }),
      )
      const wakes = await Promise.all(
        workers.map((w) => new Promise<number>((yes, no) => w.once('message', yes).once('error', no))),
      )
      await Promise.all(workers.map((w) => w.terminate()))
      for (const fd of wakes) native.close(fd)
    }
    // Every Io closed its epoll descriptor when its environment ended.
    expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(before + 2)
    expect(native.checksum(new Uint8Array([1, 2]), 0, 2)).toBe(0x0102)
  })
})

describe.skipIf(lacking)(`namespaces${lacking ? ` (${lacking})` : ''}`, () => {
  const own = (): string => readlinkSync('/proc/thread-self/ns/net')
  let lab: NetLab
  let there: string
  beforeAll(() => {
    lab = new NetLab()
    there = lab.path(lab.add('native'))
  })
  afterAll(() => lab.close())

  test('a device is made there, described, changed, and the thread stays here', async () => {
    const before = own()
    const tap = native.openTap({
      netns: there,
      name: 'tln0',
      offloads: Offload.Csum | Offload.Tso4 | Offload.Tso6,
      queues: 2,
    })
    expect(tap.name).toBe('tln0')
    expect(tap.fds.length).toBe(2)
    expect(tap.offloads).toBe(Offload.Csum | Offload.Tso4 | Offload.Tso6)
    expect(native.readLink(there, 'tln0')).toMatchObject({ mtu: 1500, up: false })
    expect(native.readLink('', 'tln0')).toBe(null)
    native.changeLink(there, 'tln0', { mac: Uint8Array.from([2, 0, 0, 0, 0, 9]), mtu: 9000, up: true })
    const link = native.readLink(there, 'tln0')!
    expect([...link.mac!]).toEqual([2, 0, 0, 0, 0, 9])
    expect([link.mtu, link.up]).toEqual([9000, true])
    native.setCarrier(tap.fds[0], false)
    // The kernel's link watch tells it a moment later.
    await expect.poll(() => native.readLink(there, 'tln0')?.carrier, { timeout: 5000 }).toBe(false)
    for (const fd of tap.fds) native.close(fd)
    expect(native.readLink(there, 'tln0')).toBe(null)
    expect(own()).toBe(before)
  })

  test('failures leave the thread here, too', () => {
    const before = own()
    const tap = native.openTap({ netns: there, name: 'tln1' })
    for (const call of [
      () => native.openTap({ netns: there, name: 'tln1' }),
      () => native.openTap({ netns: there, name: 'lo' }),
      () => native.openPacket({ netns: there, name: 'none' }),
      () => native.changeLink(there, 'tln1', { mtu: 1 }),
      () => native.changeLink(there, 'none', { up: true }),
      () => native.readLink('/etc/passwd', 'lo'),
    ]) {
      expect(call).toThrow()
      expect(own()).toBe(before)
    }
    native.close(tap.fds[0])
  })

  test('a device that exists is not taken over, unless asked for', () => {
    const first = native.openTap({ netns: there, name: 'tln2', persist: true })
    expect(() => native.openTap({ netns: there, name: 'tln2' })).toThrow(/EBUSY/)
    native.close(first.fds[0])
    expect(native.readLink(there, 'tln2')).not.toBe(null)
    const again = native.openTap({ netns: there, name: 'tln2', exclusive: false })
    native.setPersist(again.fds[0], false)
    native.close(again.fds[0])
    expect(native.readLink(there, 'tln2')).toBe(null)
  })
})
