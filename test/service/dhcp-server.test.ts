/** The server of RFC 2131 4.3, message by message, with a clock moved by hand. */
import { describe, expect, it, test } from 'vitest'
import { MAX_ADDRESSES } from '../../src/service/lease-table.ts'
import * as dhcp from '../../src/wire/dhcp.ts'
import { DhcpMessage, DhcpOption } from '../../src/wire/dhcp.ts'
import { hex } from '../wire/lay.ts'
import { addr, Lab, message, SETTINGS } from './support.ts'

const { Ack, Nak, Offer } = { Ack: DhcpMessage.Ack, Nak: DhcpMessage.Nak, Offer: DhcpMessage.Offer }
const MINUTE = 60_000
const CODES = { mask: 1, router: 3, dns: 6, host: 12, domain: 15, mtu: 26, broadcast: 28, routes: 121 }

describe('discover and select', () => {
  it('an offer, byte by byte', () => {
    const lab = new Lab({ pool: [[addr('10.0.0.100'), addr('10.0.0.100')]] })
    const offer = lab.discover({ wants: [CODES.router, CODES.mask, CODES.dns, CODES.domain] })!
    const expected = new Uint8Array(303)
    expected.set(hex('02010600 00001234 00000000 00000000 0a000064 00000000 00000000 02000000000a'))
    expected.set(
      hex(`63825363 350102 36040a000001 330400000e10 3a0400000708 3b0400000c4e
        03040a000001 0104ffffff00 0604c0000235 0f0b6c61622e6578616d706c65 1a020578 ff`),
      236,
    )
    expect([...offer.message]).toEqual([...expected])
    expect(offer).toMatchObject({ way: 'direct', dst: addr('10.0.0.100'), dstPort: 68, grants: false })
    expect([offer.macHi, offer.macLo]).toEqual([0x0200, 10])
  })

  it('select: the ACK grants the lease, and it is saved before it is sent', () => {
    const lab = new Lab()
    const offer = lab.discover()!
    expect(lab.server.changes).toEqual([])
    const ack = lab.select(offer.yiaddr, { more: [12, 3, 0x77, 0x65, 0x62] })!
    expect(ack).toMatchObject({ type: Ack, yiaddr: offer.yiaddr, grants: true, way: 'direct' })
    expect(lab.server.changes).toEqual([
      {
        address: addr(offer.yiaddr),
        state: 'bound',
        mac: '02:00:00:00:00:0a',
        clientId: '',
        hostName: 'web',
        expiresMs: lab.now + 3_600_000,
      },
    ])
  })

  it('the broadcast bit is honoured, the transaction repeated', () => {
    const lab = new Lab()
    const offer = lab.discover({ broadcast: true, xid: 0x7fffffff })!
    expect(offer).toMatchObject({ way: 'broadcast', dst: 0xffffffff, dstPort: 68 })
    expect(dhcp.xid(offer.view, 0)).toBe(0x7fffffff)
    expect(dhcp.flags(offer.view, 0)).toBe(0x8000)
  })

  it('asking again gives the same offer; others get other addresses; then there is none', () => {
    const lab = new Lab()
    const all = [1, 2, 3, 4].map((mac) => lab.discover({ mac })!.yiaddr)
    expect(new Set(all).size).toBe(4)
    expect(lab.discover({ mac: 2 })!.yiaddr).toBe(all[1])
    expect(lab.discover({ mac: 5 })).toBeNull()
    expect(lab.discover({ mac: 6 })).toBeNull()
    expect(lab.warnings).toEqual(['no address is free (the pool has 4)'])
    // Nobody came back for them.
    lab.now += 31_000
    expect(lab.discover({ mac: 5 })?.type).toBe(Offer)
    expect(lab.server.counters.exhausted).toBe(2)
  })

  it('who asks for an address gets it, when it is free', () => {
    const lab = new Lab()
    expect(lab.discover({ requested: '10.0.0.102' })?.yiaddr).toBe('10.0.0.102')
    expect(lab.discover({ mac: 11, requested: '10.0.0.102' })?.yiaddr).not.toBe('10.0.0.102')
    expect(lab.discover({ mac: 12, requested: '10.0.0.7' })?.yiaddr).toMatch(/^10\.0\.0\.10[0-3]$/)
  })

  it('selecting another server makes the offer void', () => {
    const lab = new Lab({ pool: [[addr('10.0.0.100'), addr('10.0.0.100')]] })
    lab.discover()
    expect(lab.discover({ mac: 11 })).toBeNull()
    expect(lab.request({ requested: '10.0.0.100', serverId: '10.0.0.9' })).toBeNull()
    expect(lab.discover({ mac: 11 })?.type).toBe(Offer)
  })

  it('selecting what is not to be had: NAK, to everybody', () => {
    const lab = new Lab()
    const taken = lab.lease()
    const nak = lab.select(taken, { mac: 11 })!
    expect(nak).toMatchObject({ type: Nak, yiaddr: '0.0.0.0', way: 'broadcast', grants: false })
    expect(nak.option(DhcpOption.ServerId)).toEqual([10, 0, 0, 1])
    expect(nak.option(DhcpOption.LeaseTime)).toBeNull()
    expect(lab.select('10.0.0.1', { mac: 12 })?.type).toBe(Nak)
    expect(lab.select('10.9.0.1', { mac: 12 })?.type).toBe(Nak)
  })

  it('a shorter lease is given when asked for, a longer one is not', () => {
    const lab = new Lab()
    const time = (seconds: number[], mac: number) =>
      lab.discover({ mac, more: [51, 4, ...seconds] })?.option(DhcpOption.LeaseTime)
    expect(time([0, 0, 2, 0], 1)).toEqual([0, 0, 2, 0])
    expect(time([255, 255, 255, 255], 2)).toEqual([0, 0, 14, 16])
    expect(time([0, 0, 0, 1], 3)).toEqual([0, 0, 0, 60])
  })
})

describe('a client that has an address', () => {
  it('renewing: to its own address, as it has one', () => {
    const lab = new Lab()
    const address = lab.lease()
    lab.now += 30 * MINUTE
    const ack = lab.request({ ciaddr: address, toUs: true, src: address })!
    expect(ack).toMatchObject({ type: Ack, yiaddr: address, way: 'routed', dst: addr(address), dstPort: 68 })
    expect(dhcp.clientAddr(ack.view, 0) >>> 0).toBe(addr(address))
    expect(lab.server.leases.at(addr(address))?.expiresMs).toBe(lab.now + 3_600_000)
  })

  it('rebinding: what we gave is prolonged; what we do not know is left to others', () => {
    const lab = new Lab()
    const address = lab.lease()
    expect(lab.request({ ciaddr: address })?.type).toBe(Ack)
    expect(lab.request({ mac: 11, ciaddr: '10.0.0.103' })).toBeNull()
    expect(lab.request({ mac: 11, ciaddr: '10.7.0.1' })?.type).toBe(Nak)
    // It is known, and has another one.
    expect(lab.request({ ciaddr: '10.0.0.99' })?.type).toBe(Nak)
  })

  it('renewing what another one has meanwhile, or what is not in the pool any more: NAK', () => {
    const lab = new Lab()
    const address = lab.lease()
    expect(lab.request({ mac: 11, ciaddr: address, toUs: true })?.type).toBe(Nak)
    lab.server.configure({ ...SETTINGS, pool: [[addr('10.0.0.50'), addr('10.0.0.51')]] })
    expect(lab.request({ ciaddr: address, toUs: true })?.type).toBe(Nak)
    expect(lab.lease()).toMatch(/^10\.0\.0\.5[01]$/)
  })

  it('renewing after our file was lost: it has what we must have given', () => {
    const lab = new Lab()
    expect(lab.request({ ciaddr: '10.0.0.101', toUs: true })?.type).toBe(Ack)
  })

  it('init-reboot: known and right, known and wrong, elsewhere, unknown', () => {
    const lab = new Lab()
    const address = lab.lease()
    expect(lab.request({ requested: address })).toMatchObject({ type: Ack, way: 'direct', yiaddr: address })
    const other = address === '10.0.0.100' ? '10.0.0.101' : '10.0.0.100'
    expect(lab.request({ requested: other })?.type).toBe(Nak)
    expect(lab.request({ mac: 11, requested: '192.168.1.5' })?.type).toBe(Nak)
    expect(lab.request({ mac: 11, requested: other })).toBeNull()
    expect(lab.request({ mac: 11, requested: address })).toBeNull()
  })

  it('a lease that is over: the client gets the same address again as long as it is free', () => {
    const lab = new Lab()
    const address = lab.lease()
    lab.now += 61 * MINUTE
    expect(lab.discover()?.yiaddr).toBe(address)
    lab.now += 31_000
    // Three were never used; the fourth newcomer gets the oldest.
    const others = [1, 2, 3, 4].map((mac) => lab.lease({ mac }))
    expect(others).toContain(address)
    expect(others.indexOf(address)).toBe(3)
    expect(lab.request({ ciaddr: address, toUs: true })?.type).toBe(Nak)
  })

  it('release: free at once, and still remembered; not for anybody else to give back', () => {
    const lab = new Lab({ pool: [[addr('10.0.0.100'), addr('10.0.0.100')]] })
    const address = lab.lease()
    const release = (mac: number, serverId = '10.0.0.1') =>
      lab.ask(DhcpMessage.Release, { mac, ciaddr: address, serverId })
    expect(release(11)).toBeNull()
    release(10, '10.0.0.9')
    expect(lab.server.leases.at(addr(address))?.state).toBe('bound')
    lab.server.changes.length = 0
    expect(release(10)).toBeNull()
    expect(lab.server.changes).toMatchObject([{ state: 'released', expiresMs: lab.now }])
    expect(lab.lease({ mac: 11 })).toBe(address)
  })

  it('decline: nobody gets the address for ten minutes', () => {
    const lab = new Lab({ pool: [[addr('10.0.0.100'), addr('10.0.0.100')]] })
    const address = lab.lease()
    const decline = (mac: number) =>
      lab.ask(DhcpMessage.Decline, { mac, requested: address, serverId: '10.0.0.1' })
    decline(11)
    expect(lab.server.leases.at(addr(address))?.state).toBe('bound')
    decline(10)
    expect(lab.server.leases.at(addr(address))?.state).toBe('declined')
    expect(lab.warnings[0]).toContain('was declined by 02:00:00:00:00:0a')
    expect(lab.lease()).toBe('')
    lab.now += 10 * MINUTE + 1
    expect(lab.lease()).toBe(address)
  })

  it('inform: parameters, and no lease', () => {
    const lab = new Lab()
    const ack = lab.ask(DhcpMessage.Inform, { ciaddr: '10.0.0.9', toUs: true })!
    expect(ack).toMatchObject({
      type: Ack,
      yiaddr: '0.0.0.0',
      way: 'routed',
      dst: addr('10.0.0.9'),
      grants: false,
    })
    expect(ack.option(DhcpOption.DnsServer)).toEqual([192, 0, 2, 53])
    for (const code of [DhcpOption.LeaseTime, DhcpOption.RenewalTime, DhcpOption.RebindingTime])
      expect(ack.option(code)).toBeNull()
    expect(lab.server.leases.size).toBe(0)
    expect(lab.ask(DhcpMessage.Inform, { ciaddr: '10.7.0.9' })).toBeNull()
  })
})

describe('who a client is', () => {
  it('its identifier before its MAC; it is repeated', () => {
    const lab = new Lab()
    const first = lab.lease({ clientId: 'ff0102' })
    const ack = lab.request({ mac: 99, clientId: 'ff0102', ciaddr: first, toUs: true })!
    expect(ack.type).toBe(Ack)
    expect(ack.option(DhcpOption.ClientId)).toEqual([0xff, 1, 2])
    expect(lab.lease()).not.toBe(first)
  })

  const reservations = [
    { mac: '02:00:00:00:00:0a', clientId: '', address: addr('10.0.0.7'), hostName: 'web' },
    { mac: '', clientId: 'ff0102', address: addr('10.0.0.101'), hostName: '' },
  ]

  it('reservations: by MAC and by identifier, in the pool and outside; nobody else gets them', () => {
    const lab = new Lab({ reservations })
    const offer = lab.discover({ requested: '10.0.0.103' })!
    expect(offer.yiaddr).toBe('10.0.0.7')
    expect(Buffer.from(offer.option(CODES.host)!).toString()).toBe('web')
    expect(lab.lease({ mac: 33, clientId: 'ff0102' })).toBe('10.0.0.101')
    expect([1, 2, 3].map((mac) => lab.lease({ mac })).sort()).toEqual([
      '10.0.0.100',
      '10.0.0.102',
      '10.0.0.103',
    ])
    expect(lab.discover({ mac: 4 })).toBeNull()
    expect(lab.select('10.0.0.101', { mac: 4 })?.type).toBe(Nak)
  })

  it('one machine, two systems: the reserved MAC keeps its address under another identifier', () => {
    const lab = new Lab({ reservations })
    expect(lab.lease({ clientId: 'aa01' })).toBe('10.0.0.7')
    expect(lab.lease({ clientId: 'bb02' })).toBe('10.0.0.7')
    expect(lab.server.leases.all()).toHaveLength(1)
  })

  it('a reservation that comes later: the client moves with its next request', () => {
    const lab = new Lab()
    const before = lab.lease()
    lab.server.configure({ ...SETTINGS, reservations })
    expect(lab.request({ ciaddr: before, toUs: true })?.type).toBe(Nak)
    lab.server.changes.length = 0
    expect(lab.lease()).toBe('10.0.0.7')
    expect(lab.server.changes.map((c) => c.state)).toEqual(['released', 'bound'])
  })
})

describe('addresses that somebody uses', () => {
  it('are looked for before they are offered, and put aside', () => {
    const lab = new Lab({ probeMs: 500 })
    expect(lab.discover()).toBeNull()
    expect(lab.discover({ xid: 77 })).toBeNull()
    const [first] = lab.server.probes.splice(0)
    lab.server.probed(first, '02:00:00:00:00:99', lab.now)
    expect(lab.answer()).toBeNull()
    const [second] = lab.server.probes.splice(0)
    expect(second).not.toBe(first)
    lab.server.probed(second, null, lab.now)
    const offer = lab.answer()!
    expect(addr(offer.yiaddr)).toBe(second)
    // Of the last time it asked.
    expect(dhcp.xid(offer.view, 0)).toBe(77)
    expect(lab.server.leases.at(first)?.state).toBe('declined')
    expect(lab.warnings[0]).toContain('is used by 02:00:00:00:00:99')
  })

  it('the client itself may have it; one with a lease is not looked for', () => {
    const lab = new Lab({ probeMs: 500 })
    lab.discover()
    lab.server.probed(lab.server.probes.splice(0)[0], '02:00:00:00:00:0a', lab.now)
    const offer = lab.answer()!
    expect(lab.select(offer.yiaddr)?.type).toBe(Ack)
    expect(lab.discover()?.yiaddr).toBe(offer.yiaddr)
    expect(lab.server.probes).toEqual([])
  })

  it('two who ask at the same time are offered two', () => {
    const lab = new Lab({ probeMs: 500 })
    lab.discover({ mac: 1, requested: '10.0.0.102' })
    lab.discover({ mac: 2, requested: '10.0.0.102' })
    expect(new Set(lab.server.probes).size).toBe(2)
  })
})

describe('parameters', () => {
  it('those asked for, in that order; mask and an unusual MTU always; none asked: all', () => {
    const lab = new Lab()
    const codes = (wants?: number[]) => {
      const { message: bytes } = lab.discover({ wants })!
      const found: number[] = []
      for (let at = 240; bytes[at] !== 255; at += 2 + bytes[at + 1]) found.push(bytes[at])
      return found.slice(5)
    }
    expect(codes([15, 3])).toEqual([15, 3, 1, 26])
    expect(codes([3, 3, 77])).toEqual([3, 1, 26])
    expect(codes()).toEqual([1, 3, 6, 15, 26, 28])
    lab.server.configure({ ...SETTINGS, mtu: 1500 })
    expect(codes([3])).toEqual([3, 1])
    expect(codes([26])).toEqual([26, 1])
  })

  it('classless routes have the default route and take the place of option 3', () => {
    const routes = [{ prefix: addr('10.20.128.0'), length: 17, router: addr('10.0.0.9') }]
    const lab = new Lab({ routes })
    const offer = lab.discover({ wants: [3, 121] })!
    expect(offer.option(CODES.router)).toBeNull()
    expect(offer.option(CODES.routes)).toEqual([17, 10, 20, 128, 10, 0, 0, 9, 0, 10, 0, 0, 1])
    expect(lab.discover({ wants: [3] })!.option(CODES.router)).toEqual([10, 0, 0, 1])
    lab.server.configure({ ...SETTINGS, routes, router: 0 })
    expect(lab.discover({ wants: [3, 121] })!.option(CODES.routes)).toEqual([17, 10, 20, 128, 10, 0, 0, 9])
  })

  it('what finds no room in the options field is in file and sname, in pieces of 255', () => {
    const routes = Array.from({ length: 50 }, (_, i) => ({
      prefix: addr(`10.20.${i}.0`),
      length: 24,
      router: addr('10.0.0.9'),
    }))
    const lab = new Lab({ routes: routes.slice(0, 40) })
    const small = lab.discover({ wants: [121, 6, 15] })!
    expect(small.message.length).toBeLessThanOrEqual(548)
    expect(small.option(CODES.routes)).toHaveLength(40 * 8 + 5)
    expect(small.option(CODES.dns)).toEqual([192, 0, 2, 53])
    expect(small.option(DhcpOption.Overload)).not.toBeNull()
    // A client that takes more gets it in one piece.
    lab.server.configure({ ...SETTINGS, routes })
    const large = lab.discover({ wants: [121], more: [57, 2, 5, 220] })!
    expect(large.option(DhcpOption.Overload)).toBeNull()
    expect(large.option(CODES.routes)).toHaveLength(50 * 8 + 5)
    expect(large.message.length).toBeLessThanOrEqual(1500 - 28)
  })
})

describe('relays', () => {
  it('in our subnet: answered there, with what they told (option 82) at the end', () => {
    const lab = new Lab()
    const offer = lab.discover({ giaddr: '10.0.0.9', more: [82, 3, 1, 1, 7], broadcast: true })!
    expect(offer).toMatchObject({ way: 'routed', dst: addr('10.0.0.9'), dstPort: 67 })
    expect(offer.option(DhcpOption.RelayInfo)).toEqual([1, 1, 7])
    expect(dhcp.relayAddr(offer.view, 0) >>> 0).toBe(addr('10.0.0.9'))
    const nak = lab.request({ giaddr: '10.0.0.9', requested: '192.168.0.1' })!
    expect(nak).toMatchObject({ type: Nak, way: 'routed', dst: addr('10.0.0.9'), dstPort: 67 })
    expect(dhcp.wantsBroadcast(nak.view, 0)).toBe(true)
  })

  it('elsewhere: counted, told once, not answered', () => {
    const lab = new Lab()
    for (let i = 0; i < 3; i++) expect(lab.discover({ giaddr: '10.5.0.1' })).toBeNull()
    expect(lab.server.counters.relayed).toBe(3)
    expect(lab.warnings).toHaveLength(1)
  })
})

describe('floods', () => {
  it('of invented clients: slow, bounded, and over when it is over', () => {
    const lab = new Lab({ pool: [[addr('10.0.0.2'), addr('10.0.0.254')]] })
    const mine = lab.lease()
    let answered = 0
    for (let mac = 1000; mac < 21_000; mac++) {
      lab.now += 1
      if (lab.discover({ mac })) answered++
      // Who has an address is served all the time.
      if (mac % 1000 === 0) expect(lab.request({ ciaddr: mine, toUs: true })?.type).toBe(Ack)
    }
    expect(answered).toBeLessThanOrEqual(256 + 20 * 32 + 1)
    expect(lab.warnings).toHaveLength(1)
    expect(lab.server.leases.size).toBe(1)
    lab.now += 31_000
    lab.server.tick(lab.now)
    expect(lab.lease({ mac: 5 })).not.toBe('')
  })

  it('of a large pool that is used up: it is looked through once a second, not for each', () => {
    const lab = new Lab({ pool: [[addr('10.0.0.2'), addr('10.0.0.2') + MAX_ADDRESSES - 1]], length: 8 })
    for (let i = 0; i < MAX_ADDRESSES; i++) {
      const mac = `02:00:01:${[16, 8, 0].map((s) => ((i >> s) & 255).toString(16).padStart(2, '0')).join(':')}`
      const rest = {
        state: 'bound',
        mac,
        clientId: '',
        hostName: '',
        expiresMs: lab.now + 3_600_000,
      } as const
      lab.server.leases.put({ address: addr('10.0.0.2') + i, ...rest }, lab.now)
    }
    let looked = 0
    const at = lab.server.leases.at.bind(lab.server.leases)
    lab.server.leases.at = (address) => {
      looked++
      return at(address)
    }
    for (let mac = 1000; mac < 1100; mac++) expect(lab.discover({ mac })).toBeNull()
    expect(looked).toBeLessThan(1.1 * MAX_ADDRESSES)
    expect(lab.server.counters.exhausted).toBe(100)
    // Given back: the next one gets it.
    const mine = lab.server.leases.at(addr('10.0.0.9'))!
    const bytes = message(DhcpMessage.Release, { ciaddr: '10.0.0.9', serverId: '10.0.0.1' })
    bytes.set(Buffer.from(mine.mac.replaceAll(':', ''), 'hex'), 28)
    lab.server.receive(bytes, true, addr('10.0.0.9'), lab.now)
    expect(lab.discover({ mac: 2000 })?.yiaddr).toBe('10.0.0.9')
  })

  it('selecting without an offer is limited as well', () => {
    const lab = new Lab({
      pool: [[addr('10.0.0.2') + 0x1000000, addr('10.0.0.2') + 0x1000000 + MAX_ADDRESSES - 1]],
      length: 4,
    })
    let acks = 0
    for (let i = 0; i < 2000; i++) {
      const address = addr('11.0.0.2') + i
      const requested = `11.0.${(address >> 8) & 255}.${address & 255}`
      if (lab.select(requested, { mac: 1000 + i })?.type === Ack) acks++
    }
    expect(acks).toBe(256)
  })
})

test('100,000 messages with random bytes: nothing is thrown, and what is answered is whole', () => {
  const lab = new Lab({ pool: [[addr('10.0.0.2'), addr('10.0.0.254')]] })
  let seed = 7
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
    return Math.floor((seed / 0x100000000) * below)
  }
  let answers = 0
  for (let i = 0; i < 100_000; i++) {
    const options = Array.from({ length: random(2) * random(40) }, () => random(256))
    const bytes = message(1 + random(9), {
      mac: random(300),
      ciaddr: random(4) === 0 ? `10.0.${random(2)}.${random(256)}` : undefined,
      giaddr: random(9) === 0 ? `10.0.${random(2)}.9` : undefined,
      requested: random(2) === 0 ? `10.0.0.${random(256)}` : undefined,
      serverId: random(2) === 0 ? `10.0.0.${1 + random(2)}` : undefined,
      clientId: random(3) === 0 ? `0${random(10)}0${random(10)}` : undefined,
      more: options,
    })
    for (let n = random(4); n > 0; n--) bytes[random(bytes.length)] = random(256)
    const cut = random(5) === 0 ? bytes.subarray(0, random(bytes.length)) : bytes
    lab.now += random(200)
    lab.server.receive(cut, random(2) === 0, addr('10.0.0.5'), lab.now)
    for (let answer = lab.answer(); answer; answer = lab.answer()) {
      answers++
      expect(answer.message.length).toBeLessThanOrEqual(1472)
      expect([Offer, Ack, Nak]).toContain(answer.type)
    }
    lab.server.changes.length = 0
    if (i % 1000 === 0) lab.server.tick(lab.now)
  }
  expect(answers).toBeGreaterThan(5000)
  expect(lab.server.leases.size).toBeLessThanOrEqual(253)
}, 120_000)
