/** The Tap and Tun classes against the kernel's own stack. */
import { afterAll, describe, expect, it } from 'vitest'
import { Tap, Tun } from '../../src/index.ts'
import { Lab, lacking } from '../support/lab.ts'

const lab = new Lab()
afterAll(() => lab.close())

const released = (device: Tap | Tun) => new Promise<void>((resolve) => device.release(() => resolve()))

/** Turns an echo request into its reply: addresses swapped, type 0, checksum one type less. */
function answer(packet: Buffer): Buffer | null {
  if (packet[0] >> 4 !== 4 || packet[9] !== 1 || packet[20] !== 8) return null
  const reply = Buffer.from(packet)
  packet.copy(reply, 12, 16, 20)
  packet.copy(reply, 16, 12, 16)
  reply[20] = 0
  const sum = packet.readUInt16BE(22) + 0x0800
  reply.writeUInt16BE((sum & 0xffff) + (sum >> 16), 22)
  return reply
}

describe.skipIf(lacking)(`Tap and Tun${lacking ? ` (skipped: ${lacking})` : ''}`, () => {
  it('a Tun that answers pings', async () => {
    const ns = lab.add('tun', { ipv6: true })
    const tun = new Tun({ netns: ns })
    tun.mtu = 1400
    tun.ipv4 = '10.8.0.1/24'
    tun.ipv6 = 'fd08::1/64'
    tun.isUp = true
    expect(tun.name).toMatch(/^tun\d+$/)
    expect([tun.isTun, tun.isTap, tun.isUp, tun.mtu]).toEqual([true, false, true, 1400])
    expect([tun.ipv4, tun.ipv6, tun.mac]).toEqual(['10.8.0.1/24', 'fd08::1/64', ''])
    expect(() => {
      tun.mac = '02:00:00:00:00:01'
    }).toThrow(/no MAC/)
    tun.on('data', (packet: Buffer) => {
      const reply = answer(packet)
      if (reply) tun.write(reply)
    })
    expect(await lab.ping(ns, '10.8.0.2', 3)).toBe(3)
    await released(tun)
    expect((await lab.in(ns, 'ip', 'link', 'show', tun.name)).code).not.toBe(0)
  })

  it('two Taps piped into each other join two namespaces', async () => {
    const [a, b] = lab.spaces(2)
    const one = new Tap({ netns: a, name: 'left' })
    const two = new Tap({ netns: b, name: 'right' })
    one.mac = '02:00:00:00:00:01'
    one.ipv4 = '10.8.1.1/24'
    two.ipv4 = '10.8.1.2/24'
    one.isUp = true
    two.isUp = true
    one.pipe(two).pipe(one)
    expect(one.mac).toBe('02:00:00:00:00:01')
    expect(await lab.ping(a, '10.8.1.2', 5)).toBe(5)
    expect(await lab.ping(a, '10.8.1.2', 2, '-s', '5000')).toBe(2)
    await Promise.all([released(one), released(two)])
  })

  it('many are released at once, and new ones opened meanwhile', async () => {
    const ns = lab.add('many')
    for (let round = 0; round < 5; round++) {
      const first = Array.from({ length: 8 }, () => new Tap({ netns: ns }))
      const gone = first.map(released)
      const second = Array.from({ length: 8 }, () => new Tun({ netns: ns }))
      await Promise.all(gone)
      await Promise.all(second.map(released))
      expect([...first, ...second].map((device) => device.errored)).toEqual(Array(16).fill(null))
    }
  })

  it('wrong values say what is wrong', async () => {
    const ns = lab.add('bad')
    const tap = new Tap({ netns: ns })
    expect(() => {
      tap.ipv4 = '10.0.0.1'
    }).toThrow(/prefix length/)
    expect(() => {
      tap.mac = 'nonsense'
    }).toThrow(/not a MAC/)
    expect(() => {
      tap.mtu = 20
    }).toThrow(/MTU/)
    await released(tap)
    expect(() => new Tap({ netns: 'no-such-namespace' })).toThrow(/no-such-namespace/)
    expect(() => new Tap({ name: 'much-too-long-a-name' })).toThrow(/15 bytes/)
  })
})
