import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  inSubnet,
  ipBits,
  isLinkLocal,
  readCidr,
  readIp,
  readMac,
  readNetwork,
  reservedIn,
} from '../../src/config/address.ts'
import { nearest } from '../../src/config/error.ts'

describe('addresses', () => {
  it('IPv6 has one spelling, whatever it was written like', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 8, maxLength: 8 }), (groups) => {
        fc.pre(groups[0] < 0xff00 && groups.some((g) => g !== 0))
        const long = groups.map((g) => g.toString(16).padStart(4, '0').toUpperCase()).join(':')
        const short = groups.map((g) => g.toString(16)).join(':')
        const canonical = readIp(long)
        expect(readIp(short)).toBe(canonical)
        expect(readIp(canonical)).toBe(canonical)
        expect(ipBits(canonical)).toBe(groups.reduce((sum, g) => (sum << 16n) | BigInt(g), 0n))
      }),
    )
  })

  it('a subnet holds what has its first bits', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 32 }), fc.nat(0xffffffff), fc.nat(0xffffffff), (prefix, a, b) => {
        const text = (n: number) => [24, 16, 8, 0].map((s) => (n >>> s) & 255).join('.')
        let cidr: ReturnType<typeof readCidr>
        try {
          cidr = readCidr(`${text(a)}/${prefix}`)
        } catch {
          return
        }
        const mask = (0xffffffff << (32 - prefix)) >>> 0
        expect(inSubnet(text(b), cidr)).toBe((a & mask) >>> 0 === (b & mask) >>> 0)
      }),
    )
    expect(inSubnet('fd00::5', readCidr('10.0.0.1/8'))).toBe(false)
  })

  it.each(['fe80::1', 'febf::1'])('%s is link-local', (a) => expect(isLinkLocal(a)).toBe(true))
  it.each(['fec0::1', 'fd00::1', '169.254.0.1'])('%s is not', (a) => expect(isLinkLocal(a)).toBe(false))

  it('a MAC address has six bytes and one kind of separator', () => {
    expect(readMac('02-00-00-AA-bb-01')).toBe('02:00:00:aa:bb:01')
    for (const bad of [
      '02:00:00:00:00',
      '02:00-00:00:00:01',
      '020000000001',
      '02:00:00:00:00:0g',
      'ff:ff:ff:ff:ff:ff',
      7,
    ]) {
      expect(() => readMac(bad)).toThrow()
    }
  })

  it('a /31 and a /32 have neither network nor broadcast address (RFC 3021)', () => {
    expect(readCidr('10.0.0.0/31').text).toBe('10.0.0.0/31')
    expect(readCidr('10.0.0.255/32').text).toBe('10.0.0.255/32')
    expect(readCidr('fd00::/127').text).toBe('fd00::/127')
  })
})

it('a misspelt word is near the right one', () => {
  const words = ['aging', 'limit', 'reserved', 'ports', 'tap', 'tun']
  expect(['agign', 'Limit', 'resrved', 'port', 'tpa', 'something'].map((w) => nearest(w, words))).toEqual([
    'aging',
    'limit',
    'reserved',
    'ports',
    'tap',
    undefined,
  ])
})

describe('networks', () => {
  const told = (text: string) => {
    try {
      return readNetwork(text).text
    } catch (wrong) {
      return (wrong as { hint?: string }).hint
    }
  }

  it('are written with their first address, one host without a prefix', () => {
    expect(
      ['0.0.0.0/0', '::/0', '10.0.0.0/8', 'FD00::0/8', '10.1.2.3', '::1', '224.0.0.0/4'].map(told),
    ).toEqual(['0.0.0.0/0', '::/0', '10.0.0.0/8', 'fd00::/8', '10.1.2.3/32', '::1/128', '224.0.0.0/4'])
    expect(['10.1.2.3/8', 'fd00:1::5/32', '10.0.0.0/33', '10.0.0/8', 'x'].map(told)).toEqual([
      'that is a host; its network is 10.0.0.0/8',
      'that is a host; its network is fd00:1::/32',
      'an IPv4 prefix is from 0 to 32',
      'an IPv4 address has four parts',
      undefined,
    ])
  })

  it('the hint for a host can be taken', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }), fc.nat(128), (bits, prefix) => {
        const hex = bits.toString(16).padStart(32, '0')
        const text = `${hex.match(/.{4}/g)!.join(':')}/${prefix}`
        const network = told(text)!.replace('that is a host; its network is ', '')
        expect(told(network)).toBe(network)
        expect(inSubnet(readNetwork(network).address, { ...readNetwork(network), bits })).toBe(true)
      }),
    )
  })

  it('have reserved addresses, unless they are of one or two', () => {
    const of = (address: string, network: string) => reservedIn(address, readNetwork(network))
    expect(of('10.0.0.0', '10.0.0.0/24')).toBe("the network's own address")
    expect(of('10.0.0.255', '10.0.0.0/24')).toBe("the network's broadcast address")
    expect(of('10.0.0.1', '10.0.0.0/31')).toBeUndefined()
    expect(of('fd00::', 'fd00::/64')).toContain('anycast')
    expect(of('fd00::ffff:ffff:ffff:ffff', 'fd00::/64')).toBeUndefined()
  })
})
