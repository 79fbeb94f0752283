import { expect, test } from 'vitest'
import * as dhcp from '../../src/wire/dhcp.ts'
import { DhcpMessage, DhcpOp, DhcpOption } from '../../src/wire/dhcp.ts'
import { ip4 } from '../support/frames.ts'
import { hex, lay, mutations, truncations } from './lay.ts'

/** A discover, written out: client identifier, requested address, parameter list, padding. */
const discover = hex(`
  01010600 00003d1d 00000000 00000000 00000000 00000000 00000000 000b8201fc42 00000000000000000000
  ${'00'.repeat(192)} 63825363
  350101 3d0701000b8201fc42 320400000000 370401030 62a ff 00000000000000`)

test('a discover', () => {
  const { view, at, end } = lay(discover)
  expect(dhcp.fits(view, at, end)).toBe(true)
  expect(dhcp.text(view, at, end)).toBe('dhcp discover xid 0x3d1d')
  expect([dhcp.op(view, at), dhcp.hops(view, at), dhcp.secs(view, at), dhcp.flags(view, at)]).toEqual([
    1, 0, 0, 0,
  ])
  expect([dhcp.srcMacHi(view, at), dhcp.srcMacLo(view, at)]).toEqual([0x000b, 0x8201fc42 | 0])
  expect(dhcp.option32(view, at, end, DhcpOption.RequestedAddress, 7)).toBe(0)
  expect(dhcp.option32(view, at, end, DhcpOption.ServerId, 7)).toBe(7)
  const list = dhcp.findOption(view, at, end, DhcpOption.ParameterList)
  expect([...new Uint8Array(view.buffer, list, 6)]).toEqual([55, 4, 1, 3, 6, 42])
})

test('an offer that is written is read, byte by byte', () => {
  const { view, at, bytes } = lay(new Uint8Array(400).fill(0xee))
  dhcp.write(view, at, DhcpOp.Reply, 0x3d1d, 0x8000, 0x000b, 0x8201fc42 | 0)
  dhcp.setAddrs(view, at, 0, ip4('10.0.0.5'), ip4('10.0.0.1'), ip4('10.9.0.1'))
  let place = dhcp.writeOption8(view, at + dhcp.SIZE, DhcpOption.MessageType, DhcpMessage.Offer)
  place = dhcp.writeOption32(view, place, DhcpOption.ServerId, ip4('10.0.0.1'))
  place = dhcp.writeOption32(view, place, DhcpOption.LeaseTime, 3600)
  place = dhcp.writeOption16(view, place, DhcpOption.Mtu, 1450)
  const end = at + dhcp.writeEnd(view, at, place)
  expect(end - at).toBe(dhcp.MIN_MESSAGE)
  expect(bytes[end]).toBe(0xee)
  expect([...bytes.subarray(at + 236, at + 260)]).toEqual([
    ...hex('63825363 350102 36040a000001 330400000e10 1a0205aa ff'),
  ])
  expect(dhcp.text(view, at, end)).toBe('dhcp offer xid 0x3d1d')
  expect(dhcp.wantsBroadcast(view, at)).toBe(true)
  const addrs = [dhcp.clientAddr, dhcp.yourAddr, dhcp.serverAddr, dhcp.relayAddr].map((read) =>
    read(view, at),
  )
  expect(addrs).toEqual([0, ip4('10.0.0.5'), ip4('10.0.0.1'), ip4('10.9.0.1')])
  expect(dhcp.option32(view, at, end, DhcpOption.LeaseTime, 0)).toBe(3600)
})

test('classless routes: as many bytes of the prefix as it has', () => {
  const { view, at, bytes } = lay(new Uint8Array(40).fill(0xee))
  let place = at
  for (const [len, prefix] of [
    [0, '0.0.0.0'],
    [8, '10.0.0.0'],
    [17, '10.1.128.0'],
    [32, '10.1.2.3'],
  ] as const) {
    place = dhcp.writeRoute(view, place, len, ip4(prefix), ip4('192.0.2.1'))
  }
  expect([...bytes.subarray(at, place)]).toEqual([
    ...hex('00 c0000201 080a c0000201 11 0a0180 c0000201 200a010203 c0000201'),
  ])
})

test('options in file and sname, when option 52 says so', () => {
  for (const [overload, inFile, inSname] of [
    [0, false, false],
    [1, true, false],
    [2, false, true],
    [3, true, true],
  ] as const) {
    const { view, at, end } = lay(discover)
    view.setInt32(at + 108, 0x0c0161ff)
    view.setInt32(at + 44, 0x0f0162ff)
    const place = at + dhcp.SIZE
    dhcp.writeOption8(view, place, DhcpOption.Overload, overload)
    expect(dhcp.findOption(view, at, end, DhcpOption.HostName) >= 0).toBe(inFile)
    expect(dhcp.findOption(view, at, end, DhcpOption.DomainName) >= 0).toBe(inSname)
  }
})

test('an option is echoed', () => {
  const { view, at, end, bytes } = lay(discover)
  const from = dhcp.findOption(view, at, end, DhcpOption.ClientId)
  expect(dhcp.copyOption(view, at, from)).toBe(at + 9)
  expect([...bytes.subarray(at, at + 9)]).toEqual([...hex('3d0701000b8201fc42')])
})

test('every truncation; no cookie; not Ethernet; options cut short', () => {
  truncations(dhcp.fits, discover.subarray(0, 240))
  for (const i of [1, 2, 236, 239]) {
    const { view, at, end, bytes } = lay(discover)
    bytes[at + i] ^= 1
    expect(dhcp.fits(view, at, end)).toBe(false)
  }
  for (let n = 240; n < discover.length; n++) {
    const { view, at, end } = lay(discover.subarray(0, n))
    expect(dhcp.messageType(view, at, end)).toBe(n >= 243 ? DhcpMessage.Discover : 0)
    expect(dhcp.findOption(view, at, end, DhcpOption.ClientId) >= 0).toBe(n >= 252)
  }
})

mutations('dhcp', discover, ({ view, at, end }) => {
  if (!dhcp.fits(view, at, end)) return
  dhcp.text(view, at, end)
  for (let code = 1; code < 255; code += 3) {
    const place = dhcp.findOption(view, at, end, code)
    if (place >= 0) expect(place + 2 + view.getUint8(place + 1)).toBeLessThanOrEqual(end)
  }
})
