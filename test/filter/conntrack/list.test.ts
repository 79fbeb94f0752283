/** Listing, filtering, deleting; the lines are those of the real tool (kernel.test.ts compares them). */
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { conntrackMemory, MAX_CAPACITY, Status } from '../../../src/filter/conntrack/layout.ts'
import { settingsOf } from '../../../src/filter/conntrack/options.ts'
import { lineOf } from '../../../src/filter/conntrack/row.ts'
import { type ConntrackFilter, remove, rows } from '../../../src/filter/conntrack/select.ts'
import { PROFILES, TIMEOUT_NAMES, timeoutsOf } from '../../../src/filter/conntrack/timeouts.ts'
import { natRange } from '../../../src/filter/nat/range.ts'
import { addr, Bench } from './support.ts'

function busy(): Bench {
  const b = new Bench()
  const snat = natRange({ addresses: { first: addr('203.0.113.1'), last: addr('203.0.113.1') } })
  b.send({ src: '10.0.0.2', dst: '198.51.100.9', flags: 'S', seq: 1 }, { snat })
  b.ct.setMark(1, 0x2a)
  b.send({ src: '198.51.100.9', dst: '203.0.113.1', sport: 80, dport: 40000, flags: 'SA', seq: 1, ack: 2 })
  b.send({ src: '10.0.0.2', dst: '198.51.100.9', flags: 'A', seq: 2, ack: 2 })
  b.send({ src: '10.0.0.3', dst: '198.51.100.9', proto: 'udp', payload: 10 }, { zone: [7, 3] })
  b.send({ src: '10.0.0.4', dst: '198.51.100.9', proto: 'icmp', id: 1234 })
  b.send({ src: 'fd00::5', dst: '2001:db8::1', proto: 'icmpv6', id: 1234 })
  b.send({ src: '10.0.0.6', dst: '198.51.100.9', proto: 47, payload: 4 }, { zone: [9, 1] })
  b.send({ src: '10.0.0.7', dst: '198.51.100.9', proto: 99, payload: 4 })
  return b
}

test('lines', () => {
  const b = busy()
  b.pass(0.5)
  expect([...rows(b.ct.table.memory, b.nowMs)].map((row) => lineOf(row))).toEqual([
    'tcp      6 431999 ESTABLISHED src=10.0.0.2 dst=198.51.100.9 sport=40000 dport=80 packets=2 bytes=80 src=198.51.100.9 dst=203.0.113.1 sport=80 dport=40000 packets=1 bytes=40 [ASSURED] mark=42 use=1',
    'udp      17 29 src=10.0.0.3 dst=198.51.100.9 sport=40000 dport=53 packets=1 bytes=38 [UNREPLIED] src=198.51.100.9 dst=10.0.0.3 sport=53 dport=40000 packets=0 bytes=0 mark=0 zone=7 use=1',
    'icmp     1 29 src=10.0.0.4 dst=198.51.100.9 type=8 code=0 id=1234 packets=1 bytes=28 [UNREPLIED] src=198.51.100.9 dst=10.0.0.4 type=0 code=0 id=1234 packets=0 bytes=0 mark=0 use=1',
    'icmpv6   58 29 src=fd00::5 dst=2001:db8::1 type=128 code=0 id=1234 packets=1 bytes=48 [UNREPLIED] src=2001:db8::1 dst=fd00::5 type=129 code=0 id=1234 packets=0 bytes=0 mark=0 use=1',
    'gre      47 29 src=10.0.0.6 dst=198.51.100.9 srckey=0x0 dstkey=0x0 zone-orig=9 packets=1 bytes=24 [UNREPLIED] src=198.51.100.9 dst=10.0.0.6 srckey=0x0 dstkey=0x0 packets=0 bytes=0 mark=0 use=1',
    'unknown  99 599 src=10.0.0.7 dst=198.51.100.9 packets=1 bytes=24 [UNREPLIED] src=198.51.100.9 dst=10.0.0.7 packets=0 bytes=0 mark=0 use=1',
  ])
})

test('rows are JSON', () => {
  const b = busy()
  const [row] = JSON.parse(JSON.stringify([...rows(b.ct.table.memory, b.nowMs)]))
  expect(row).toEqual({
    family: 4,
    protocol: 6,
    protocolName: 'tcp',
    timeoutS: 432000,
    state: 'ESTABLISHED',
    original: { src: '10.0.0.2', dst: '198.51.100.9', sport: 40000, dport: 80, packets: 2, bytes: 80 },
    reply: { src: '198.51.100.9', dst: '203.0.113.1', sport: 80, dport: 40000, packets: 1, bytes: 40 },
    status: ['SEEN_REPLY', 'ASSURED', 'SRC_NAT'],
    mark: 42,
    zone: 0,
    zoneDirection: null,
  })
})

const FILTERS: [string, ConntrackFilter, string[]][] = [
  ['everything', {}, ['tcp', 'udp', 'icmp', 'icmpv6', 'gre', 'unknown']],
  ['a family', { family: 6 }, ['icmpv6']],
  ['a protocol', { protocol: 17 }, ['udp']],
  ['a source', { src: { address: addr('10.0.0.4') } }, ['icmp']],
  ['a network', { src: { address: addr('10.0.0.4'), prefix: 30 } }, ['icmp', 'gre', 'unknown']],
  ['an IPv6 network', { src: { address: addr('fd00::'), prefix: 8 } }, ['icmpv6']],
  ['a reply destination', { replyDst: { address: addr('203.0.113.1') } }, ['tcp']],
  ['ports', { sport: 40000, dport: 53 }, ['udp']],
  ['a state', { state: 'ESTABLISHED' }, ['tcp']],
  ['a zone', { zone: 7 }, ['udp']],
  ['a mark', { mark: { value: 0x2, mask: 0xf }, protocol: 6 }, []],
  ['a mark under a mask', { mark: { value: 0xa, mask: 0xf } }, ['tcp']],
  ['NATed', { status: Status.SrcNat }, ['tcp']],
  ['unreplied', { statusNot: Status.SeenReply, family: 4 }, ['udp', 'icmp', 'gre', 'unknown']],
]

test.each(FILTERS)('filter: %s', (_, filter, wanted) => {
  const b = busy()
  expect([...rows(b.ct.table.memory, b.nowMs, filter)].map((row) => row.protocolName)).toEqual(wanted)
  expect(remove(b.ct.entries, b.nowMs, filter)).toBe(wanted.length)
  expect(b.ct.count).toBe(6 - wanted.length)
  const left = FILTERS[0][2].filter((name) => !wanted.includes(name))
  expect([...rows(b.ct.table.memory, b.nowMs)].map((row) => row.protocolName)).toEqual(left)
})

test('what is masqueraded to an interface can be deleted with it', () => {
  const b = new Bench()
  const snat = natRange({ dynamic: true, bound: true })
  b.send({ src: '10.0.0.2', dst: '198.51.100.9', proto: 'udp' }, { snat, address: '203.0.113.1', outIf: 3 })
  b.send({ src: '10.0.0.3', dst: '198.51.100.9', proto: 'udp' }, { snat, address: '203.0.114.1', outIf: 4 })
  expect(remove(b.ct.entries, b.nowMs, { boundIf: 3 })).toBe(1)
  expect(b.list()[0]).toContain('10.0.0.3')
})

test('another thread reads the table while this one writes', async () => {
  const b = new Bench({ capacity: 256 })
  const { entries, ext, header } = b.ct.table.memory
  // Plain JavaScript: what a reader has to know is only the layout.
  const worker = new Worker(
    `const { parentPort, workerData: { entries, header } } = require('node:worker_threads')
     let odd = 0, seen = 0
     const until = Date.now() + 300
     while (Date.now() < until) {
       for (let i = 1; i <= header[1]; i++) {
         const at = i * 32
         if ((entries[at + 7] & 8) === 0) continue
         seen++
         if (entries[at] >>> 24 !== 10 && entries[at + 7] & 8 && entries[at] !== 0) odd++
       }
     }
     parentPort.postMessage({ odd, seen })`,
    { eval: true, workerData: { entries, ext, header } },
  )
  const answer = new Promise<{ seen: number }>((done, fail) => {
    worker.once('message', done)
    worker.once('error', fail)
  })
  let told: { seen: number } | null = null
  void answer.then((a) => {
    told = a
  })
  for (let i = 0; told === null; i++) {
    for (let k = 0; k < 20; k++)
      b.send({ src: `10.0.${i & 255}.${k}`, dst: '198.51.100.1', proto: 'udp' }, { noNat: true })
    b.pass(1)
    for (const row of rows(b.ct.table.memory, b.nowMs)) expect(row.original.dst).toBe('198.51.100.1')
    await new Promise((next) => setImmediate(next))
  }
  expect((await answer).seen).toBeGreaterThan(0)
  await worker.terminate()
})

test('timeouts: two profiles, every number can be set, wrong ones are refused', () => {
  expect(Object.keys(PROFILES.linux)).toEqual(TIMEOUT_NAMES.slice(1))
  expect(Object.keys(PROFILES.rfc)).toEqual(TIMEOUT_NAMES.slice(1))
  for (const name of TIMEOUT_NAMES.slice(1)) {
    const ms = timeoutsOf('linux', { [name]: 17 })
    expect(ms[TIMEOUT_NAMES.indexOf(name)]).toBe(17_000)
    expect(() => timeoutsOf('linux', { [name]: 0 })).toThrow(RangeError)
    expect(() => timeoutsOf('linux', { [name]: 1e9 })).toThrow(/1 to 1000000 seconds/)
    expect(() => timeoutsOf('linux', { [name]: Number.NaN })).toThrow(RangeError)
  }
})

test('limits that cannot be are refused', () => {
  const memory = conntrackMemory(10)
  expect(() => settingsOf({ limit: 11 }, memory)).toThrow(RangeError)
  expect(() => settingsOf({ perSource: -1 }, memory)).toThrow(RangeError)
  expect(() => settingsOf({ maxRetrans: 0 }, memory)).toThrow(RangeError)
  expect(() => conntrackMemory(0)).toThrow(RangeError)
  expect(() => conntrackMemory(MAX_CAPACITY + 1)).toThrow(RangeError)
})
