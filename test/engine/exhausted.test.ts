/** A flow that there is no room for: what its sender is told in the two profiles (RFC 5508 REQ-8). */
import { expect, it } from 'vitest'
import { ipv4, udp } from '../support/frames.ts'
import { RouterLab, type RouterLabOptions } from './router-lab.ts'

/** All go to one port of one host, so a second one finds no translation. */
const RULES =
  '*nat\n-A POSTROUTING -o if1 -p udp -j SNAT --to-source 10.0.1.1:4000\nCOMMIT\n*filter\n-A OUTPUT -p icmp -j ACCEPT\nCOMMIT\n'

function second(options: RouterLabOptions, rules = RULES): { lab: RouterLab; told: Buffer[] } {
  const lab = new RouterLab(2, rules, options)
  const ends = { src: '10.0.0.2', dst: '10.0.1.2' }
  for (const srcPort of [1000, 1001])
    lab.send(0, ipv4({ ...ends, protocol: 17, payload: udp(ends, { srcPort, dstPort: 53 }) }))
  return { lab, told: lab.out(0) }
}

it('rfc: prohibited (3/13), about the packet as it was sent', () => {
  const { lab, told } = second({ profile: 'rfc' })
  expect(lab.drops()).toEqual({ 'nat-exhausted': 1 })
  expect(lab.out(1).length).toBe(1)
  expect(told.length).toBe(1)
  expect([...told[0].subarray(20, 22)]).toEqual([3, 13])
  // Quoted with the source and port that its sender knows.
  expect([...told[0].subarray(40, 44)]).toEqual([10, 0, 0, 2])
  expect(told[0].readUInt16BE(48)).toBe(1001)
  lab.conserved()
})

it('linux: nothing, as the kernel', () => {
  const { lab, told } = second({})
  expect([lab.drops(), told]).toEqual([{ 'nat-exhausted': 1 }, []])
})

it('rfc: the limits of the table, too', () => {
  const { lab, told } = second({ profile: 'rfc', conntrack: { perSource: 1 } })
  expect(lab.drops()).toEqual({ 'conntrack-source': 1 })
  expect([...told[0].subarray(20, 22)]).toEqual([3, 13])
  lab.conserved()
})
