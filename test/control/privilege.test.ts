/** Which capabilities a configuration needs, and the words when one is missing. */
import { describe, expect, it } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import {
  effectiveCapabilities,
  neededCapabilities,
  requireCapabilities,
} from '../../src/control/privilege.ts'

const needs = (text: string) => neededCapabilities(parseConfig(text, 'test.yaml')).map(({ name }) => name)
const ports = (text: string) => `switches: { lan: { ports: { ${text} } } }`

describe('a configuration needs', () => {
  it.each([
    ['a: { memory: {} }', []],
    ['a: { tap: { name: tl0 } }', ['CAP_NET_ADMIN']],
    ['a: { host: { name: tl0 } }', ['CAP_NET_ADMIN']],
    ['a: { tap: { name: tl0, netns: /run/netns/x } }', ['CAP_NET_ADMIN', 'CAP_SYS_ADMIN']],
    ['a: { packet: { name: eth0 } }', ['CAP_NET_RAW']],
  ])('%s: %j', (text, names) => expect(needs(ports(text))).toEqual(names))

  it.each([
    ['memory: {}', []],
    ['switch: lan', []],
    ['tap: { name: tl0 }', ['CAP_NET_ADMIN']],
    ['tun: { name: tl0, netns: /run/netns/x }', ['CAP_NET_ADMIN', 'CAP_SYS_ADMIN']],
    ['packet: { name: eth0 }', ['CAP_NET_RAW']],
  ])("a router's interface on %s: %j", (text, names) =>
    expect(needs(`switches: { lan: {} }\nrouters: { r: { interfaces: { a: { ${text} } } } }`)).toEqual(names),
  )

  it('CAP_SYS_ADMIN to make a namespace', () => {
    expect(needs(`namespaces: [x]\n${ports('a: { memory: {} }')}`)).toEqual(['CAP_SYS_ADMIN'])
  })
})

describe('when one is missing', () => {
  const config = parseConfig(ports('a: { tap: { name: tl0, netns: /run/netns/x } }'), 'test.yaml')

  it('says which, what for and what to do', () => {
    const ask = () => requireCapabilities(config, 1n << 12n)
    expect(ask).toThrow('CAP_SYS_ADMIN  to create and enter network namespaces')
    expect(ask).toThrow('--ambient-caps +sys_admin')
    expect(ask).not.toThrow('CAP_NET_ADMIN')
  })

  it('is content with both', () => {
    requireCapabilities(config, (1n << 12n) | (1n << 21n))
  })

  it('reads the set of this process', () => {
    expect(effectiveCapabilities()).toBeGreaterThanOrEqual(0n)
  })
})
