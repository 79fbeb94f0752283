// Calls the addon with one wrong thing and says what happened: run by contract.test.ts in a process of
// its own, so that a crash is a result and not the end of the tests.
import { execFileSync } from 'node:child_process'
import { closeSync, constants, fstatSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)
const native = require('node-gyp-build')(fileURLToPath(new URL('../..', import.meta.url)))
const { kSlotSize, kMetaWords } = native.layout()
const SLOTS = 4

export const arrays = () => ({
  pool: new Uint8Array(kSlotSize * SLOTS),
  meta: new Int32Array(kMetaWords * SLOTS),
  rx: Int32Array.from([0, 1, 2, 3]),
  txq: new Int32Array(16),
  events: new Int32Array(8),
  clock: new Float64Array(4),
  txResult: new Int32Array(8),
})

/** A pipe, which the addon takes for a TAP. */
function pipe() {
  const path = join(tmpdir(), `taploom-probe-${process.pid}`)
  execFileSync('mkfifo', [path])
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
  rmSync(path)
  return fd
}

const descriptors = () => readdirSync('/proc/self/fd').length
function outcome(work) {
  try {
    const value = work()
    return typeof value === 'number' || value === null ? value : 'returned'
  } catch (e) {
    return { name: e.name, code: e.code, errno: e.errno, syscall: e.syscall, message: e.message }
  }
}

const probes = {
  rxtx() {
    const a = arrays()
    const io = new native.Io(a, -1)
    const fd = pipe()
    const device = io.attach(fd, 0, 0, 0, 7)
    writeSync(fd, 'something')
    const big = 0x7fffffff
    const results = {}
    for (const [from, max] of [
      [-1, 1],
      [0, 5],
      [4, 1],
      [0, -1],
      [big, 1],
      [1, big],
      [big, big],
      [3, 2],
    ]) {
      results[`rx ${from} ${max}`] = io.rx(device, from, max, 1000)
    }
    for (const [at, count] of [
      [-1, 1],
      [0, 9],
      [16, 1],
      [0, -1],
      [big - 15, 8],
      [0, big],
      [big, big],
      [1, 8],
    ]) {
      results[`tx ${at} ${count}`] = io.tx(device, at, count)
    }
    for (const device of [-1, 1, 4096, big, undefined]) {
      if (device !== undefined) results[`rx device ${device}`] = io.rx(device, 0, 1, 1000)
      if (device !== undefined) results[`tx device ${device}`] = io.tx(device, 0, 0)
    }
    for (const slot of [-1, SLOTS, big]) {
      a.txq[0] = slot
      results[`tx slot ${slot}`] = io.tx(device, 0, 1)
      a.rx[0] = slot
      results[`rx slot ${slot}`] = io.rx(device, 0, 1, 1000)
    }
    a.rx[0] = 0
    results.still = io.rx(device, 0, 4, 1000)
    io.detach(device)
    results.detached = [io.rx(device, 0, 1, 1000), io.tx(device, 0, 0)]
    io.close()
    results.closed = [
      io.rx(device, 0, 1, 1000),
      io.tx(device, 0, 0),
      outcome(() => io.attach(fd, 0, 0, 0, 1)).code,
    ]
    results.waitClosed = io.wait(0, 0)
    closeSync(fd)
    return results
  },
  metadata() {
    const a = arrays()
    const io = new native.Io(a, -1)
    const fd = pipe()
    const device = io.attach(fd, 0, 10, 0, 7)
    const results = []
    // [head, len, flags, gsoType, gsoSize, hdrLen, csumStart, csumOffset, strip]
    const big = 0x7fffffff
    for (const values of [
      [192, big, 0, 0, 0, 0, 0, 0, 0],
      [big, 60, 0, 0, 0, 0, 0, 0, 0],
      [-1, 60, 0, 0, 0, 0, 0, 0, 0],
      [192, -5, 0, 0, 0, 0, 0, 0, 0],
      [0, 60, 0, 0, 0, 0, 0, 0, 0],
      [192, 60, 1, 0, 0, 0, big, big, 0],
      [192, 60, 1, 0, 0, 0, -1, -1, 0],
      [192, 60, 1, 1, 1, 0, 34, 16, 0],
      [192, 60, 1, 99, 5, 0, 34, 16, 0],
      [192, 60, 0, 0, 0, 0, 0, 0, big],
      [192, 60, 0, 0, 0, 0, 0, 0, -4],
      [192, 13, 0, 0, 0, 0, 0, 0, 4],
      [192, 60, 1, 1, -1, 0, 34, 16, 0],
    ]) {
      const words = [0, 1, 3, 4, 5, 6, 7, 8, 9]
      words.forEach((word, i) => {
        a.meta[word] = values[i]
      })
      a.txq[0] = 0
      a.txq[1] = 0x8100000a | 0
      const sent = io.tx(device, 0, 1)
      results.push([sent, a.txResult[5]])
    }
    io.close()
    closeSync(fd)
    return results
  },
  leaks() {
    const results = {}
    const leak = (name, work) => {
      outcome(work)
      const before = descriptors()
      for (let i = 0; i < 5; i++) outcome(work)
      globalThis.gc?.()
      results[name] = descriptors() - before
    }
    leak('Io with a bad wake-up descriptor', () => new native.Io(arrays(), 9999))
    leak('Io with a small array', () => new native.Io({ ...arrays(), meta: new Int32Array(1) }, -1))
    leak('openTap in no namespace', () => native.openTap({ netns: '/nonexistent', name: 'tlx' }))
    leak('openTap in a file', () => native.openTap({ netns: '/etc/passwd', name: 'tlx' }))
    leak('openTap of lo', () => native.openTap({ name: 'lo' }))
    leak('openTap of a bad name', () => native.openTap({ name: 'a/b' }))
    leak('openPacket of nothing', () => native.openPacket({ name: 'tl-none' }))
    leak('readLink in no namespace', () => native.readLink('/nonexistent', 'lo'))
    leak('changeLink of nothing', () => native.changeLink('', 'tl-none', { mtu: 1400 }))
    return results
  },
  close() {
    const results = {}
    for (const [name, value] of [
      ['nothing', undefined],
      ['NaN', Number.NaN],
      ['a string', 'x'],
      ['-1', -1],
    ]) {
      results[name] = outcome(() => native.close(value)) !== 'returned' ? 'threw' : 'returned'
      try {
        fstatSync(0)
      } catch {
        return { ...results, stdin: `closed by close(${name})` }
      }
    }
    return { ...results, stdin: 'open' }
  },
}

console.log(JSON.stringify(probes[process.argv[2]]()))
