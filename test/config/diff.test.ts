import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Change, diffConfig } from '../../src/config/diff.ts'
import { checkConfigObject } from '../../src/config/load.ts'
import type { FabricConfig } from '../../src/config/types.ts'
import { configObject } from './configs.ts'

/** A fabric that only remembers, and refuses steps in an order that a real one could not do. */
function applied(config: FabricConfig, changes: Change[]): FabricConfig {
  const model = structuredClone(config)
  const has = (switchName: string, port: string) => Object.hasOwn(model.switches[switchName].ports, port)
  for (const change of changes) {
    switch (change.op) {
      case 'remove-port':
        expect(has(change.switch, change.port)).toBe(true)
        delete model.switches[change.switch].ports[change.port]
        break
      case 'remove-switch':
        expect(model.switches[change.name].ports).toEqual({})
        delete model.switches[change.name]
        break
      case 'remove-namespace':
        expect(model.namespaces).toContain(change.name)
        model.namespaces = model.namespaces.filter((n) => n !== change.name)
        break
      case 'add-namespace':
        expect(model.namespaces).not.toContain(change.name)
        model.namespaces.push(change.name)
        break
      case 'set-poll':
        model.poll = change.poll
        break
      case 'add-switch':
        expect(model.switches[change.name]).toBeUndefined()
        model.switches[change.name] = { ...change.config, ports: {} }
        break
      case 'set-switch':
        model.switches[change.name] = { ...change.config, ports: model.switches[change.name].ports }
        break
      case 'add-port':
        expect(has(change.switch, change.port)).toBe(false)
        model.switches[change.switch].ports[change.port] = change.config
        break
      case 'set-port':
        expect(model.switches[change.switch].ports[change.port].device).toEqual(change.config.device)
        model.switches[change.switch].ports[change.port] = change.config
    }
  }
  return model
}

const sorted = (config: FabricConfig) => ({ ...config, namespaces: [...config.namespaces].sort() })
const config = configObject.map((object) => checkConfigObject(object))
const of = (ports: object, more: object = {}) => checkConfigObject({ switches: { lan: { ports, ...more } } })

describe('the difference of two configurations', () => {
  it('makes the one of the other', () => {
    fc.assert(
      fc.property(config, config, (a, b) => {
        expect(sorted(applied(a, diffConfig(a, b)))).toEqual(sorted(b))
      }),
      { numRuns: 100 },
    )
  })

  it('of equal ones is nothing', () => {
    fc.assert(
      fc.property(config, (a) => {
        expect(diffConfig(a, structuredClone(a))).toEqual([])
      }),
      { numRuns: 50 },
    )
  })

  it('is in an order that can be done: what goes, then what comes, then what changes', () => {
    const order = [
      'remove-port',
      'remove-switch',
      'remove-namespace',
      'add-namespace',
      'set-poll',
      'add-switch',
      'set-switch',
      'add-port',
      'set-port',
    ]
    fc.assert(
      fc.property(config, config, (a, b) => {
        const steps = diffConfig(a, b).map((c) => order.indexOf(c.op))
        expect(steps).toEqual([...steps].sort((x, y) => x - y))
      }),
      { numRuns: 50 },
    )
  })

  it('opens a port again only for its device or its faults', () => {
    const a = of({ p: { tap: { name: 't' } }, q: { memory: {} } })
    const ops = (b: FabricConfig) => diffConfig(a, b).map((c) => ('port' in c ? `${c.op} ${c.port}` : c.op))
    expect(ops(of({ p: { tap: { name: 't' }, isolated: true }, q: { memory: {} } }))).toEqual(['set-port p'])
    expect(ops(of({ p: { tap: { name: 'u' } }, q: { memory: {} } }))).toEqual(['remove-port p', 'add-port p'])
    expect(ops(of({ p: { tap: { name: 't' }, fault: { rx: { loss: 1 } } }, q: { memory: {} } }))).toEqual([
      'remove-port p',
      'add-port p',
    ])
    expect(ops(of({ p: { tap: { name: 't' } } }))).toEqual(['remove-port q'])
    expect(ops(of({ p: { tap: { name: 't' } }, q: { memory: {} } }, { aging: 60 }))).toEqual(['set-switch'])
  })

  it('a first vlan key changes every port of the switch', () => {
    const a = of({ p: { memory: {} }, q: { memory: {} } })
    const b = of({ p: { memory: {}, vlan: { access: 5 } }, q: { memory: {} } })
    expect(diffConfig(a, b).map((c) => c.op)).toEqual(['set-switch', 'set-port', 'set-port'])
  })

  it('opens both ends of a patch when it opens one', () => {
    const ends = (more: object) =>
      of({ p: { patch: 'lan.q', ...more }, q: { patch: 'lan.p' }, r: { memory: {} } })
    const changes = diffConfig(ends({}), ends({ fault: { tx: { loss: 0.1 } } }))
    expect(changes.map((c) => `${c.op} ${'port' in c ? c.port : ''}`)).toEqual([
      'remove-port p',
      'remove-port q',
      'add-port p',
      'add-port q',
    ])
  })
})
