/** Stories of one switch: stations, ports, and what the switch remembers of them. */
import { describe, expect, test } from 'vitest'
import { Counter } from '../../src/packet/counters.ts'
import { Flag, Gso } from '../../src/packet/layout.ts'
import { type Fabric, type FabricOptions, fabricOf } from '../support/fabric.ts'
import {
  BROADCAST,
  frame,
  group,
  ipv4,
  mac,
  numbered,
  numberIn,
  random,
  reserved,
  station,
  tcp,
} from '../support/frames.ts'

const [A, B, C] = [1, 2, 3]
const three = (options: FabricOptions = {}): Fabric => fabricOf({ left: {}, middle: {}, right: {} }, options)

describe('learning', () => {
  test('a frame to a station nobody has heard of goes everywhere but back', () => {
    const lab = three()
    lab.send('left', frame({ src: A, dst: B }))
    expect(lab.went()).toEqual({ middle: 1, right: 1 })
  })

  test('a station that has spoken is found at its port, and only there', () => {
    const lab = three()
    lab.send('middle', frame({ src: B, dst: BROADCAST }))
    lab.went()
    lab.send('left', frame({ src: A, dst: B }))
    expect(lab.went()).toEqual({ middle: 1 })
    expect(lab.addresses()).toEqual([
      { vid: 0, mac: mac(station(A)), port: 'left', type: 'dynamic' },
      { vid: 0, mac: mac(station(B)), port: 'middle', type: 'dynamic' },
    ])
  })

  test('a frame arrives with every byte it was sent with', () => {
    const lab = three()
    const sent = frame({ src: A, dst: B, payload: Uint8Array.from({ length: 1500 }, (_, i) => i) })
    lab.send('left', sent)
    expect(lab.out('right')).toEqual([sent])
    expect(lab.out('middle')).toEqual([sent])
  })

  test('a host that moves is found at its new port', () => {
    const lab = three()
    lab.send('middle', frame({ src: B, dst: BROADCAST }))
    lab.send('right', frame({ src: B, dst: BROADCAST }))
    lab.went()
    lab.send('left', frame({ src: A, dst: B }))
    expect(lab.went()).toEqual({ right: 1 })
    expect(lab.count('right', Counter.Moved)).toBe(1)
    expect(lab.count('right', Counter.Learned)).toBe(0)
  })

  test('a silent host is forgotten after 300 seconds, not before', () => {
    const lab = three()
    lab.send('middle', frame({ src: B, dst: BROADCAST }))
    lab.went()
    lab.seconds(300)
    lab.send('left', frame({ src: A, dst: B }))
    expect(lab.went()).toEqual({ middle: 1 })
    lab.seconds(1)
    lab.send('left', frame({ src: A, dst: B }))
    expect(lab.went()).toEqual({ middle: 1, right: 1 })
  })

  test('an address still in use does not age', () => {
    const lab = three()
    for (let i = 0; i < 10; i++) {
      lab.send('middle', frame({ src: B, dst: A }))
      lab.seconds(200)
    }
    lab.went()
    lab.send('left', frame({ src: A, dst: B }))
    expect(lab.went()).toEqual({ middle: 1 })
  })

  test('a frame to a station behind the same port is not repeated there', () => {
    const lab = three()
    lab.send('left', frame({ src: A, dst: BROADCAST }), frame({ src: B, dst: BROADCAST }))
    lab.went()
    lab.send('left', frame({ src: A, dst: B }))
    expect(lab.went()).toEqual({})
    expect(lab.drops('left')).toEqual({ 'same-port': 1 })
  })

  test('with learning off nothing is remembered, and everything floods', () => {
    const lab = fabricOf({ left: { learning: false }, middle: {}, right: {} })
    lab.send('left', frame({ src: A, dst: BROADCAST }))
    lab.went()
    expect(lab.addresses()).toEqual([])
    lab.send('middle', frame({ src: B, dst: A }))
    expect(lab.went()).toEqual({ left: 1, right: 1 })
  })

  test('a static address needs no frame, does not age and does not move', () => {
    const lab = fabricOf({ left: {}, middle: { statics: [[station(B), 0]] }, right: {} })
    lab.seconds(100_000)
    lab.send('right', frame({ src: B, dst: BROADCAST }))
    lab.went()
    lab.send('left', frame({ src: A, dst: B }))
    expect(lab.went()).toEqual({ middle: 1 })
  })

  test('settings that leave a static address out take it back', () => {
    const lab = fabricOf({ left: {}, middle: { statics: [[station(B), 0]] }, right: {} })
    lab.set('middle', {})
    lab.send('left', frame({ src: A, dst: B }))
    expect(lab.went()).toEqual({ middle: 1, right: 1 })
  })

  test('a flushed address is unknown again', () => {
    const lab = three()
    lab.send('middle', frame({ src: B, dst: BROADCAST }))
    lab.went()
    lab.engine.apply({ op: 'flush', switch: 0, port: lab.port('middle').index, vid: -1 })
    lab.send('left', frame({ src: A, dst: B }))
    expect(lab.went()).toEqual({ middle: 1, right: 1 })
  })
})

describe('bad sources', () => {
  test('a group address as source is dropped and not learned', () => {
    const lab = three()
    lab.send('left', frame({ src: group(1), dst: B }), frame({ src: BROADCAST, dst: B }))
    expect(lab.went()).toEqual({})
    expect(lab.drops('left')).toEqual({ 'source-group': 2 })
    expect(lab.addresses()).toEqual([])
  })

  test('so is a source of all zeros', () => {
    const lab = three()
    lab.send('left', frame({ src: new Uint8Array(6), dst: B }))
    expect(lab.went()).toEqual({})
    expect(lab.drops('left')).toEqual({ 'source-zero': 1 })
  })

  test('but zeros in five bytes of six are a station like any other', () => {
    const lab = three()
    for (let i = 0; i < 6; i++) {
      const src = new Uint8Array(6)
      src[i] = 2
      lab.send('left', frame({ src, dst: B }))
    }
    expect(lab.went()).toEqual({ middle: 6, right: 6 })
    expect(lab.addresses().length).toBe(6)
  })

  test("a frame with the switch's own address from outside is an imposter's", () => {
    const lab = fabricOf({ host: { own: station(9) }, left: {}, right: {} })
    lab.send('left', frame({ src: 9, dst: A }))
    expect(lab.went()).toEqual({})
    expect(lab.drops('left')).toEqual({ 'source-own': 1 })
    lab.send('host', frame({ src: 9, dst: A }))
    expect(lab.went()).toEqual({ left: 1, right: 1 })
    lab.send('left', frame({ src: A, dst: 9 }))
    expect(lab.went()).toEqual({ host: 1 })
  })

  test('runts of every length are counted, and a header alone is a frame', () => {
    const lab = three()
    const whole = frame({ src: A, dst: B, size: 0 })
    for (let length = 0; length < 14; length++) lab.send('left', whole.slice(0, length))
    expect(lab.drops('left')).toEqual({ runt: 14 })
    expect(lab.went()).toEqual({})
    lab.send('left', whole)
    expect(lab.went()).toEqual({ middle: 1, right: 1 })
  })
})

describe('reserved addresses', () => {
  test('01-80-C2-00-00-00 to -0F stay on their link, and the sender is not learned', () => {
    const lab = three()
    for (let n = 0; n < 16; n++) lab.send('left', frame({ src: A, dst: reserved(n) }))
    expect(lab.went()).toEqual({})
    expect(lab.drops('left')).toEqual({ reserved: 16 })
    expect(lab.addresses()).toEqual([])
  })

  test('the neighbours of the block are multicast', () => {
    const lab = three()
    lab.send('left', frame({ src: A, dst: reserved(0x10) }), frame({ src: A, dst: reserved(0xff) }))
    lab.send('left', frame({ src: A, dst: [1, 0x80, 0xc3, 0, 0, 1] as unknown as Uint8Array }))
    lab.send('left', frame({ src: A, dst: [1, 0x81, 0xc2, 0, 0, 1] as unknown as Uint8Array }))
    lab.send('left', frame({ src: A, dst: [1, 0x80, 0xc2, 0, 1, 1] as unknown as Uint8Array }))
    lab.send('left', frame({ src: A, dst: [1, 0x80, 0xc2, 1, 0, 1] as unknown as Uint8Array }))
    expect(lab.went()).toEqual({ middle: 6, right: 6 })
  })

  test('a mask opens single ones', () => {
    for (let open = 0; open < 16; open++) {
      const lab = three({ reservedOpen: 1 << open })
      for (let n = 0; n < 16; n++) lab.send('left', frame({ src: A, dst: reserved(n), payload: numbered(n) }))
      expect(lab.out('right').map((f) => numberIn(f))).toEqual([open])
      expect(lab.drops('left')).toEqual({ reserved: 15 })
      lab.close()
    }
  })
})

describe('flags of a port', () => {
  const unknown = frame({ src: A, dst: B })
  const multicast = frame({ src: A, dst: group(1) })
  const broadcast = frame({ src: A, dst: BROADCAST })

  test.each([
    ['floodUnknown', unknown],
    ['floodMulticast', multicast],
    ['floodBroadcast', broadcast],
  ] as const)('%s off keeps that flood away from the port, and no other', (flag, kept) => {
    const lab = fabricOf({ left: {}, middle: { [flag]: false }, right: {} })
    for (const one of [unknown, multicast, broadcast]) {
      lab.send('left', one)
      expect(lab.went()).toEqual(one === kept ? { right: 1 } : { middle: 1, right: 1 })
    }
  })

  test('a flood nobody takes is a drop with a name', () => {
    const lab = fabricOf({ left: {}, middle: { floodBroadcast: false } })
    lab.send('left', broadcast)
    expect(lab.drops('left')).toEqual({ 'no-egress': 1 })
  })

  test('a known station is reached although its port takes no unknown floods', () => {
    const lab = fabricOf({ left: {}, middle: { floodUnknown: false }, right: {} })
    lab.send('middle', frame({ src: B, dst: BROADCAST }))
    lab.went()
    lab.send('left', unknown)
    expect(lab.went()).toEqual({ middle: 1 })
  })

  test('isolated ports reach the others and not each other, flooded or known', () => {
    const lab = fabricOf({ i1: { isolated: true }, i2: { isolated: true }, open: {} })
    lab.send('i1', frame({ src: A, dst: BROADCAST }))
    expect(lab.went()).toEqual({ open: 1 })
    lab.send('open', frame({ src: C, dst: BROADCAST }))
    expect(lab.went()).toEqual({ i1: 1, i2: 1 })
    lab.send('i2', frame({ src: B, dst: A }))
    expect(lab.went()).toEqual({})
    expect(lab.drops('i2')).toEqual({ 'no-egress': 1 })
    lab.send('i2', frame({ src: B, dst: C }))
    expect(lab.went()).toEqual({ open: 1 })
  })

  test('a hairpin port gets its own frames back', () => {
    const lab = fabricOf({ radio: { hairpin: true }, wire: {} })
    lab.send('radio', frame({ src: A, dst: BROADCAST }), frame({ src: B, dst: A }))
    expect(lab.went()).toEqual({ radio: 2, wire: 1 })
    expect(lab.count('radio', Counter.Made)).toBe(1)
  })

  test('a locked port lets only its static addresses in', () => {
    const lab = fabricOf({
      left: { locked: true, statics: [[station(A), 0]] },
      right: { statics: [[station(C), 0]] },
    })
    lab.send(
      'left',
      frame({ src: A, dst: BROADCAST }),
      frame({ src: B, dst: BROADCAST }),
      frame({ src: C, dst: BROADCAST }),
    )
    expect(lab.went()).toEqual({ right: 1 })
    expect(lab.drops('left')).toEqual({ locked: 2 })
    lab.set('left', {})
    lab.send('left', frame({ src: B, dst: BROADCAST }))
    expect(lab.went()).toEqual({ right: 1 })
  })

  test('a port that is down neither takes nor gives', () => {
    const lab = fabricOf({ left: {}, middle: { up: false }, right: {} })
    lab.send('left', frame({ src: A, dst: BROADCAST }))
    expect(lab.went()).toEqual({ right: 1 })
    lab.send('middle', frame({ src: B, dst: BROADCAST }))
    expect(lab.went()).toEqual({})
    expect(lab.drops('middle')).toEqual({ 'port-down': 1 })
    expect(lab.addresses().length).toBe(1)
  })

  test('a frame to a station behind a port that went down is dropped by name', () => {
    const lab = three()
    lab.send('middle', frame({ src: B, dst: BROADCAST }))
    lab.set('middle', { up: false })
    lab.went()
    lab.send('left', frame({ src: A, dst: B }))
    expect(lab.went()).toEqual({})
    expect(lab.drops('left')).toEqual({ 'no-egress': 1 })
  })

  test('a limit on addresses leaves the others unknown, and their frames still pass', () => {
    const lab = fabricOf({ left: { limit: 2 }, right: {} })
    for (let n = 1; n <= 5; n++) lab.send('left', frame({ src: n, dst: 99 }))
    expect(lab.went()).toEqual({ right: 5 })
    expect(lab.addresses().length).toBe(2)
    expect(lab.count('left', Counter.LearnRefused)).toBe(3)
  })
})

describe('storm control', () => {
  const kinds = [
    ['stormUnknown', 'storm-unknown', frame({ src: A, dst: B })],
    ['stormMulticast', 'storm-multicast', frame({ src: A, dst: group(1) })],
    ['stormBroadcast', 'storm-broadcast', frame({ src: A, dst: BROADCAST })],
  ] as const

  test.each(kinds)('%s limits that kind alone', (setting, reason, limited) => {
    const lab = fabricOf({ left: { [setting]: 10 }, right: {} })
    for (const [, , one] of kinds) for (let i = 0; i < 25; i++) lab.send('left', one)
    expect(lab.went()).toEqual({ right: 25 + 25 + 10 })
    expect(lab.drops('left')).toEqual({ [reason]: 15 })
    lab.send('right', frame({ src: B, dst: C }))
    for (let i = 0; i < 25; i++) lab.send('left', limited)
    expect(lab.drops('left')[reason]).toBe(setting === 'stormUnknown' ? 15 : 40)
  })

  test('over a long time exactly the rate passes, however the frames come', () => {
    const lab = fabricOf({ left: { stormBroadcast: 100 }, right: {} })
    const next = random(5)
    let passed = 0
    const burst = frame({ src: A, dst: BROADCAST })
    for (; lab.nowMs < 60_000; lab.nowMs += 1 + (next() % 50)) {
      for (let i = next() % 20; i >= 0; i--) lab.send('left', burst)
      passed += lab.out('right').length
    }
    // One second's worth in advance, then the rate; the last interval may be cut.
    expect(passed).toBeLessThanOrEqual(100 + 60 * 100 + 5)
    expect(passed).toBeGreaterThan(60 * 100 - 100)
  })

  test('a quiet port may send one second at once, and not more after an hour', () => {
    const lab = fabricOf({ left: { stormMulticast: 7 }, right: {} })
    lab.seconds(3600)
    for (let i = 0; i < 20; i++) lab.send('left', frame({ src: A, dst: group(1) }))
    expect(lab.went()).toEqual({ right: 7 })
    lab.seconds(3600)
    for (let i = 0; i < 20; i++) lab.send('left', frame({ src: A, dst: group(1) }))
    expect(lab.went()).toEqual({ right: 7 })
  })

  test('a rate of 0 lets none through, and lifting the limit lets all', () => {
    const lab = fabricOf({ left: { stormBroadcast: 0 }, right: {} })
    lab.seconds(100)
    lab.send('left', frame({ src: A, dst: BROADCAST }))
    expect(lab.went()).toEqual({})
    lab.set('left', {})
    for (let i = 0; i < 100; i++) lab.send('left', frame({ src: A, dst: BROADCAST }))
    expect(lab.went()).toEqual({ right: 100 })
  })

  test('settings that do not change the rate do not fill the bucket', () => {
    const lab = fabricOf({ left: { stormBroadcast: 5 }, right: {} })
    for (let i = 0; i < 5; i++) lab.send('left', frame({ src: A, dst: BROADCAST }))
    lab.set('left', { stormBroadcast: 5 })
    lab.went()
    lab.send('left', frame({ src: A, dst: BROADCAST }))
    expect(lab.went()).toEqual({})
  })
})

describe('sizes', () => {
  test('a frame longer than the port carries is dropped there, and reaches the others', () => {
    const lab = fabricOf({ left: { mtu: 9216 }, small: { mtu: 1500 }, large: { mtu: 9216 } })
    lab.send('left', frame({ src: A, dst: BROADCAST, size: 9216 }))
    expect(lab.went()).toEqual({ large: 1 })
    expect(lab.drops('small')).toEqual({ 'too-big': 1 })
    expect(lab.drops('left')).toEqual({})
  })

  test.each([
    ['partial', Flag.CsumPartial, 34],
    // A stale word of whatever packet was in the slot before.
    ['verified', Flag.CsumVerified, 9000],
    ['of an unknown checksum', 0, 0],
  ])('a super-frame is as big as its segments, its checksum %s', (_, flags, csumStart) => {
    const flow = { src: '10.0.0.1', dst: '10.0.0.2' }
    const payload = ipv4({ ...flow, protocol: 6, payload: tcp(flow, { payload: new Uint8Array(8000) }) })
    for (const [gsoSize, went] of [
      [1464, { right: 1 }],
      [1465, {}],
    ] as const) {
      const lab = fabricOf({ left: { mtu: 9216 }, right: { mtu: 1500 } })
      const super_ = { gsoType: 1, gsoSize, csumStart, csumOffset: 16, flags }
      lab.sendSuper('left', frame({ src: A, dst: B, type: 0x0800, payload }), super_)
      expect(lab.went()).toEqual(went)
    }
  })

  test('the limit is the MTU and room for one tag, as in the Linux bridge', () => {
    const lab = fabricOf({ left: {}, right: { mtu: 1500 } })
    lab.send('left', frame({ src: A, dst: B, size: 1504 }), frame({ src: A, dst: B, size: 1505 }))
    expect(lab.went()).toEqual({ right: 1 })
    expect(lab.drops('right')).toEqual({ 'too-big': 1 })
  })

  test('frames with an 802.2 length instead of a type pass', () => {
    const lab = three()
    const stp = frame({
      src: A,
      dst: group(1),
      type: 38,
      payload: Uint8Array.from([0x42, 0x42, 3, ...new Array(43).fill(0)]),
    })
    lab.send('left', stp)
    expect(lab.out('right')).toEqual([stp])
  })

  const tcp4 = (payload: number): Uint8Array => {
    const f = frame({ src: A, dst: B, type: 0x0800, size: 40 + payload })
    f[14] = 0x45
    f[14 + 9] = 6
    f[14 + 20 + 12] = 5 << 4
    return f
  }
  const tso = (gsoSize: number) => ({
    gsoType: Gso.Tcp4,
    gsoSize,
    csumStart: 34,
    csumOffset: 16,
    flags: Flag.CsumPartial,
  })

  test('a super-frame of 64 KiB passes a port of MTU 1500 when its segments do', () => {
    const lab = fabricOf({ left: {}, right: {} })
    const whole = tcp4(65535 - 40)
    lab.sendSuper('left', whole, tso(1460))
    expect(lab.out('right').map((f) => f.length)).toEqual([14 + 65535])
    lab.sendSuper('left', whole, tso(1464))
    expect(lab.went()).toEqual({ right: 1 })
    lab.sendSuper('left', whole, tso(1465))
    expect(lab.went()).toEqual({})
    expect(lab.drops('right')).toEqual({ 'too-big': 1 })
  })

  test('the options of a TCP header count', () => {
    const lab = fabricOf({ left: {}, right: {} })
    const whole = tcp4(3000)
    whole[14 + 20 + 12] = 8 << 4
    lab.sendSuper('left', whole, tso(1452))
    expect(lab.went()).toEqual({ right: 1 })
    lab.sendSuper('left', whole, tso(1453))
    expect(lab.went()).toEqual({})
  })

  test('a UDP super-frame is measured with its 8 bytes of header', () => {
    const lab = fabricOf({ left: {}, right: {} })
    const udp = { gsoType: Gso.Udp, csumStart: 34, csumOffset: 6, flags: Flag.CsumPartial }
    lab.sendSuper('left', tcp4(3000), { ...udp, gsoSize: 1476 })
    expect(lab.went()).toEqual({ right: 1 })
    lab.sendSuper('left', tcp4(3000), { ...udp, gsoSize: 1477 })
    expect(lab.went()).toEqual({})
  })
})

describe('batches', () => {
  test.each([1, 2, 63, 64, 65, 256, 257])('%i frames queued at once all arrive, in order', (n) => {
    const lab = three()
    const frames = Array.from({ length: n }, (_, i) =>
      frame({ src: A, dst: BROADCAST, payload: numbered(i) }),
    )
    lab.send('left', ...frames)
    const expected = Array.from({ length: n }, (_, i) => i)
    expect(lab.out('middle').map((f) => numberIn(f))).toEqual(expected)
    expect(lab.out('right').map((f) => numberIn(f))).toEqual(expected)
  })

  test('every flow keeps its order among drops, floods and other flows', () => {
    const lab = fabricOf({ a: {}, b: { mtu: 200 }, c: { stormUnknown: 20 } })
    const next = random(7)
    lab.send('b', frame({ src: B, dst: BROADCAST }))
    lab.went()
    for (let i = 0; i < 500; i++) {
      const dst = [B, C, BROADCAST, group(1), reserved(3)][next() % 5]
      const payload = numbered(i, next() % 2 ? 46 : 300)
      const at = next() % 2
      lab.inject(['a', 'c'][at], frame({ src: 10 + 2 * (next() % 2) + at, dst, payload }))
    }
    lab.run()
    for (const name of ['a', 'b', 'c']) {
      const flows = new Map<string, number>()
      for (const f of lab.out(name)) {
        const flow = mac(f.subarray(0, 12))
        expect(numberIn(f)).toBeGreaterThan(flows.get(flow) ?? -1)
        flows.set(flow, numberIn(f))
      }
    }
  })

  test('a flood queues the same slot on every port: no copy is made', () => {
    const lab = fabricOf(Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`p${i}`, {}])))
    lab.send('p0', frame({ src: A, dst: BROADCAST }))
    const slots = lab.names.slice(1).map((name) => lab.port(name).lastSlots)
    for (const used of slots) expect(used).toEqual(slots[0])
    expect(lab.count('p0', Counter.Made)).toBe(7)
  })
})

describe('ports that come and go', () => {
  test('what was learned of a removed port is forgotten, and the rest is not', () => {
    const lab = three()
    lab.send('middle', frame({ src: B, dst: BROADCAST }))
    lab.send('right', frame({ src: C, dst: BROADCAST }))
    lab.went()
    lab.engine.removePort(lab.port('middle').index)
    expect(lab.port('middle').closed).toBe(true)
    lab.send('left', frame({ src: A, dst: B }), frame({ src: A, dst: C }))
    expect(lab.went()).toEqual({ right: 2 })
  })

  test('a port whose device is gone goes down, is reported once, and can be removed and added again', () => {
    const lab = three()
    const gone: number[] = []
    lab.engine.onPortDown = (index) => gone.push(index)
    lab.port('middle').failWith = -77 // EBADFD
    lab.send('left', frame({ src: A, dst: BROADCAST }), frame({ src: A, dst: BROADCAST }))
    lab.send('left', frame({ src: A, dst: BROADCAST }))
    expect(gone).toEqual([1])
    expect(lab.out('right').length).toBe(3)
    lab.engine.removePort(1)
    const again = lab.port('middle')
    again.failWith = 0
    lab.engine.addPort(again, 0)
    lab.set('middle', {})
    lab.went()
    lab.send('left', ...Array.from({ length: 64 }, () => frame({ src: A, dst: BROADCAST })))
    expect(lab.went()).toEqual({ middle: 64, right: 64 })
  })

  test('two switches share nothing', () => {
    const lab = three()
    const other = fabricOf({})
    expect(other.addresses()).toEqual([])
    lab.send('left', frame({ src: A, dst: BROADCAST }))
    expect(other.addresses()).toEqual([])
  })
})
