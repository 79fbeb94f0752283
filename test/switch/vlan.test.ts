/** VLANs: every cell of the table at the head of src/switch/vlan.ts, and what follows from it. */
import { describe, expect, test } from 'vitest'
import type { PortVlan } from '../../src/switch/vlan.ts'
import { type Fabric, fabricOf } from '../support/fabric.ts'
import { BROADCAST, frame, mac, station, type Tag } from '../support/frames.ts'

const [A, B] = [1, 2]
const access = (vid: number): PortVlan => ({ mode: 'access', vid })
const trunk = (allowed: number[], native?: number, tpid?: number): PortVlan => ({
  mode: 'trunk',
  allowed,
  native,
  tpid,
})
const tunnel = (vid: number): PortVlan => ({ mode: 'tunnel', vid })

const labOf = (vlans: Record<string, PortVlan>): Fabric =>
  fabricOf(Object.fromEntries(Object.entries(vlans).map(([name, vlan]) => [name, { vlan }])))

const payload = Uint8Array.from({ length: 50 }, (_, i) => i + 1)
const tagged = (...tags: Tag[]): Uint8Array => frame({ src: A, dst: BROADCAST, tags, payload })
const plain = tagged()
/** Sees every VLAN from 1 to 4094, tagged. */
const witness = trunk(Array.from({ length: 4094 }, (_, i) => i + 1))

/** What a frame becomes: what the witness sees, or why it was dropped. */
function classified(vlan: PortVlan, sent: Uint8Array): Uint8Array | string {
  const lab = labOf({ port: vlan, witness })
  lab.send('port', sent)
  const [seen] = lab.out('witness')
  lab.close()
  return seen ?? Object.keys(lab.drops('port'))[0]
}

describe('coming in', () => {
  describe('an access port of VLAN 10', () => {
    test('takes untagged frames into VLAN 10', () => {
      expect(classified(access(10), plain)).toEqual(tagged({ vid: 10 }))
    })
    test('takes priority-tagged frames into VLAN 10, priority and drop eligibility kept', () => {
      for (const [pcp, dei] of [
        [0, 0],
        [5, 0],
        [7, 1],
      ]) {
        expect(classified(access(10), tagged({ vid: 0, pcp, dei }))).toEqual(tagged({ vid: 10, pcp, dei }))
      }
    })
    test('refuses tagged frames, of its own VLAN too', () => {
      expect(classified(access(10), tagged({ vid: 20 }))).toBe('tagged-refused')
      expect(classified(access(10), tagged({ vid: 10 }))).toBe('tagged-refused')
    })
  })

  describe('a trunk', () => {
    test('takes untagged and priority-tagged frames into its native VLAN', () => {
      expect(classified(trunk([10, 20], 30), plain)).toEqual(tagged({ vid: 30 }))
      expect(classified(trunk([10, 20], 30), tagged({ vid: 0, pcp: 6, dei: 1 }))).toEqual(
        tagged({ vid: 30, pcp: 6, dei: 1 }),
      )
    })
    test('refuses them without a native VLAN', () => {
      expect(classified(trunk([10, 20]), plain)).toBe('untagged-refused')
      expect(classified(trunk([10, 20]), tagged({ vid: 0, pcp: 3 }))).toBe('untagged-refused')
    })
    test('takes tagged frames of the VLANs it allows, its native one included, PCP and DEI kept', () => {
      for (const vid of [10, 20, 30]) {
        for (let pcp = 0; pcp < 8; pcp++) {
          const sent = tagged({ vid, pcp, dei: pcp & 1 })
          expect(classified(trunk([10, 20], 30), sent)).toEqual(sent)
        }
      }
    })
    test('refuses every other VLAN', () => {
      for (const vid of [1, 9, 11, 4094])
        expect(classified(trunk([10, 20]), tagged({ vid }))).toBe('vlan-ingress')
    })
    test('takes the lowest and the highest VLAN', () => {
      expect(classified(trunk([1, 4094]), tagged({ vid: 1 }))).toEqual(tagged({ vid: 1 }))
      expect(classified(trunk([1, 4094]), tagged({ vid: 4094 }))).toEqual(tagged({ vid: 4094 }))
    })
  })

  test('VLAN 4095 is nobody’s', () => {
    for (const vlan of [access(10), trunk([10], 20), trunk([10])]) {
      expect(classified(vlan, tagged({ vid: 4095 }))).toBe('vlan-reserved')
    }
  })

  test('a tag that is cut short is a runt', () => {
    for (const length of [14, 15, 16, 17]) {
      expect(classified(trunk([10], 20), tagged({ vid: 10 }).slice(0, length))).toBe('runt')
    }
    expect(classified(trunk([10]), tagged({ vid: 10 }).slice(0, 18))).toEqual(
      tagged({ vid: 10 }).slice(0, 18),
    )
  })

  test('a tag of another kind than the port reads is payload', () => {
    const service = tagged({ tpid: 0x88a8, vid: 77 })
    expect(classified(access(10), service)).toEqual(tagged({ vid: 10 }, { tpid: 0x88a8, vid: 77 }))
    expect(classified(trunk([77], 10), service)).toEqual(tagged({ vid: 10 }, { tpid: 0x88a8, vid: 77 }))
    expect(classified(trunk([77]), service)).toBe('untagged-refused')
  })

  test('only the outer of two tags is read', () => {
    const double = tagged({ vid: 10, pcp: 2 }, { vid: 99, pcp: 7 })
    expect(classified(trunk([10]), double)).toEqual(double)
    expect(classified(trunk([99]), double)).toBe('vlan-ingress')
  })
})

describe('a tunnel (802.1ad customer port) of VLAN 100', () => {
  const provider = trunk([100], undefined, 0x88a8)

  test('pushes a service tag in front of whatever comes, and pops it at the far end', () => {
    const lab = labOf({ customer: tunnel(100), provider })
    const far = labOf({ provider, customer: tunnel(100) })
    const all = [
      plain,
      tagged({ vid: 7 }),
      tagged({ vid: 4095 }),
      tagged({ vid: 0, pcp: 1 }),
      tagged({ vid: 7 }, { vid: 8 }),
    ]
    for (const sent of all) {
      lab.send('customer', sent)
      const [carried] = lab.out('provider')
      expect(carried.length).toBe(sent.length + 4)
      expect([...carried.subarray(12, 16)]).toEqual([0x88, 0xa8, carried[14], 100])
      far.send('provider', carried)
      expect(far.out('customer')).toEqual([sent])
    }
  })

  test('carries the customer’s priority over into the service tag', () => {
    const lab = labOf({ customer: tunnel(100), provider })
    lab.send('customer', tagged({ vid: 7, pcp: 5, dei: 1 }))
    const expected = tagged({ tpid: 0x88a8, vid: 100, pcp: 5, dei: 1 }, { vid: 7, pcp: 5, dei: 1 })
    expect(lab.out('provider')).toEqual([expected])
  })

  test('gives everything to another tunnel port of the VLAN as it was, and to no other VLAN', () => {
    const lab = labOf({ one: tunnel(100), two: tunnel(100), other: tunnel(200), access: access(7) })
    for (const sent of [plain, tagged({ vid: 7 }), tagged({ vid: 7 }, { vid: 8 })]) {
      lab.send('one', sent)
      expect(lab.out('two')).toEqual([sent])
    }
    expect(lab.went()).toEqual({})
  })

  test('customers’ stations are kept apart by the service VLAN, not by their own tags', () => {
    const lab = labOf({ one: tunnel(100), two: tunnel(200), provider: trunk([100, 200], undefined, 0x88a8) })
    lab.send('one', tagged({ vid: 7 }))
    lab.send('two', tagged({ vid: 7 }))
    expect(lab.addresses().map((row) => [row.vid, row.port])).toEqual([
      [100, 'one'],
      [200, 'two'],
    ])
  })
})

describe('an unaware switch', () => {
  test('carries every frame as it is: untagged, tagged, 4095, cut short, service tags', () => {
    const lab = fabricOf({ one: {}, two: {} })
    const all = [
      plain,
      tagged({ vid: 10 }),
      tagged({ vid: 4095 }),
      tagged({ tpid: 0x88a8, vid: 5 }, { vid: 6 }),
    ]
    all.push(tagged({ vid: 10 }).slice(0, 15))
    for (const sent of all) {
      lab.send('one', sent)
      expect(lab.out('two')).toEqual([sent])
    }
    expect(lab.addresses()).toEqual([{ vid: 0, mac: mac(station(A)), port: 'one', type: 'dynamic' }])
  })
})

describe('going out', () => {
  const vlans = {
    a10: access(10),
    a20: access(20),
    t: trunk([10, 20]),
    n10: trunk([20], 10),
    t20: trunk([20]),
    s: trunk([10, 20], undefined, 0x88a8),
    old: trunk([10], undefined, 0x9100),
    q10: tunnel(10),
  }

  test('a frame of VLAN 10 leaves untagged by access, native and tunnel ports, tagged by trunks, not by others', () => {
    const lab = labOf({ in: access(10), ...vlans })
    lab.send('in', tagged({ vid: 0, pcp: 4, dei: 1 }))
    const out = (name: string): Uint8Array[] => lab.out(name)
    expect(out('a10')).toEqual([plain])
    expect(out('n10')).toEqual([plain])
    expect(out('q10')).toEqual([plain])
    expect(out('t')).toEqual([tagged({ vid: 10, pcp: 4, dei: 1 })])
    expect(out('s')).toEqual([tagged({ tpid: 0x88a8, vid: 10, pcp: 4, dei: 1 })])
    expect(out('old')).toEqual([tagged({ tpid: 0x9100, vid: 10, pcp: 4, dei: 1 })])
    expect([...out('a20'), ...out('t20')]).toEqual([])
  })

  test('access ports of two VLANs never meet, known station or not', () => {
    const lab = labOf({ a10: access(10), b10: access(10), a20: access(20), b20: access(20) })
    lab.send('a20', frame({ src: B, dst: BROADCAST }))
    expect(lab.went()).toEqual({ b20: 1 })
    lab.send('a10', frame({ src: A, dst: B }))
    expect(lab.went()).toEqual({ b10: 1 })
    lab.send('b20', frame({ src: A, dst: B }))
    expect(lab.went()).toEqual({ a20: 1 })
  })

  test('the same station in two VLANs is found in each', () => {
    const lab = labOf({ a10: access(10), a20: access(20), t: trunk([10, 20]) })
    lab.send('a10', frame({ src: B, dst: BROADCAST }))
    lab.send('a20', frame({ src: B, dst: BROADCAST }))
    lab.went()
    lab.send('t', frame({ src: A, dst: B, tags: [{ vid: 10 }] }))
    expect(lab.went()).toEqual({ a10: 1 })
    lab.send('t', frame({ src: A, dst: B, tags: [{ vid: 20 }] }))
    expect(lab.went()).toEqual({ a20: 1 })
  })

  test('a station learned in a VLAN its port has left is not sent to', () => {
    const lab = labOf({ a: access(10), t: trunk([10]) })
    lab.send('t', frame({ src: B, dst: BROADCAST, tags: [{ vid: 10 }] }))
    lab.set('t', { vlan: trunk([20]) })
    lab.went()
    lab.send('a', frame({ src: A, dst: B }))
    expect(lab.went()).toEqual({})
    expect(lab.drops('a')).toEqual({ 'no-egress': 1 })
  })

  test('an inner tag survives, whatever happens to the outer one', () => {
    const lab = labOf({ t: trunk([10]), a: access(10), s: trunk([10], undefined, 0x88a8) })
    lab.send('t', tagged({ vid: 10, pcp: 3 }, { vid: 99 }))
    expect(lab.out('a')).toEqual([tagged({ vid: 99 })])
    expect(lab.out('s')).toEqual([tagged({ tpid: 0x88a8, vid: 10, pcp: 3 }, { vid: 99 })])
  })

  test('a tagged frame is measured without its tag', () => {
    const lab = labOf({ t: trunk([10]), a: access(10) })
    lab.send('t', frame({ src: A, dst: B, tags: [{ vid: 10 }], size: 1504 }))
    expect(lab.went()).toEqual({ a: 1 })
    lab.send('t', frame({ src: A, dst: B, tags: [{ vid: 10 }], size: 1505 }))
    expect(lab.drops('a')).toEqual({ 'too-big': 1 })
  })
})

describe('translation', () => {
  const translating: PortVlan = {
    mode: 'trunk',
    allowed: [10, 20, 30],
    translate: [
      [100, 10],
      [200, 20],
    ],
  }

  test('a number on the wire becomes another inside, and back on the way out', () => {
    const lab = labOf({ t: translating, plain: trunk([10, 20, 30]) })
    for (const [wire, inside] of [
      [100, 10],
      [200, 20],
      [30, 30],
    ]) {
      lab.send('t', tagged({ vid: wire, pcp: 6, dei: 1 }))
      expect(lab.out('plain')).toEqual([tagged({ vid: inside, pcp: 6, dei: 1 })])
      lab.send('plain', tagged({ vid: inside, pcp: 6, dei: 1 }))
      expect(lab.out('t')).toEqual([tagged({ vid: wire, pcp: 6, dei: 1 })])
    }
  })

  test('two numbers can change places', () => {
    const lab = labOf({
      t: {
        mode: 'trunk',
        allowed: [10, 20],
        translate: [
          [10, 20],
          [20, 10],
        ],
      },
      plain: trunk([10, 20]),
    })
    lab.send('t', tagged({ vid: 10 }))
    lab.send('t', tagged({ vid: 20 }))
    expect(lab.out('plain')).toEqual([tagged({ vid: 20 }), tagged({ vid: 10 })])
    lab.send('plain', tagged({ vid: 10 }))
    expect(lab.out('t')).toEqual([tagged({ vid: 20 })])
  })

  test('the inside number is no second way in', () => {
    expect(classified(translating, tagged({ vid: 10 }))).toBe('vlan-ingress')
  })

  test('a translation onto the native VLAN still leaves it untagged', () => {
    const lab = labOf({
      t: { mode: 'trunk', allowed: [], native: 10, translate: [[100, 10]] },
      a: access(10),
    })
    lab.send('t', tagged({ vid: 100 }))
    expect(lab.out('a')).toEqual([plain])
    lab.send('a', plain)
    expect(lab.out('t')).toEqual([plain])
  })

  test('settings without it end it', () => {
    const lab = labOf({ t: translating, plain: trunk([10, 100]) })
    lab.set('t', { vlan: trunk([10, 100]) })
    lab.send('t', tagged({ vid: 100 }))
    expect(lab.out('plain')).toEqual([tagged({ vid: 100 })])
  })
})
