/** How long a DHCP server keeps an address for somebody: to the millisecond, with a clock moved by hand. */
import { expect, test } from 'vitest'
import { DhcpMessage } from '../../src/wire/dhcp.ts'
import { addr, Lab } from './support.ts'

const OTHER = { mac: 11 }
/** One address, so that who asks next gets it or nothing. */
const one = (more: object = {}): Lab => new Lab({ pool: [[addr('10.0.0.100'), addr('10.0.0.100')]], ...more })

/** The other one gets nothing a millisecond before, and the address then. (Who finds none looks again in a second.) */
function freeAfter(ms: number, story: () => Lab): void {
  for (const [wait, address] of [
    [ms - 1, ''],
    [ms, '10.0.0.100'],
  ] as const) {
    const lab = story()
    lab.now += wait
    expect(lab.lease(OTHER)).toBe(address)
  }
}

test('an offer that nobody requests: 30 s', () => {
  freeAfter(30_000, () => {
    const lab = one()
    lab.discover()
    return lab
  })
})

test('a lease: as long as it was given for', () => {
  for (const leaseS of [60, 3600, 86_400]) {
    freeAfter(leaseS * 1000, () => {
      const lab = one({ leaseS })
      lab.lease()
      return lab
    })
  }
})

test('renewed: from then on', () => {
  freeAfter(600_000, () => {
    const lab = one({ leaseS: 600 })
    lab.lease()
    lab.now += 599_999
    expect(lab.request({ ciaddr: '10.0.0.100', toUs: true })?.type).toBe(DhcpMessage.Ack)
    return lab
  })
})

test('declined: nobody has it for ten minutes', () => {
  freeAfter(600_000, () => {
    const lab = one()
    lab.lease()
    lab.ask(DhcpMessage.Decline, { requested: '10.0.0.100', serverId: '10.0.0.1' })
    return lab
  })
})
