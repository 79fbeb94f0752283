import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Change, diffConfig } from '../../src/config/diff.ts'
import { filterOf, type RouterChange } from '../../src/config/diff-router.ts'
import { checkConfigObject } from '../../src/config/load.ts'
import type { FabricConfig, InterfaceConfig, PortConfig, RouterConfig } from '../../src/config/types.ts'
import { NO_RULES } from '../../src/control/router/rules.ts'
import { configObject } from './configs.ts'

/** What a port needs opened. */
function footing({ device }: PortConfig): object {
  if (device.type !== 'vxlan') return device
  const { vtep, vni, group, groupDevice } = device
  return { vtep, vni, group, groupDevice }
}

const tunnelsOn = (model: FabricConfig, vtep: string) =>
  Object.values(model.switches).flatMap((sw) =>
    Object.values(sw.ports).filter(({ device }) => device.type === 'vxlan' && device.vtep === vtep),
  )

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
        for (const router of Object.values(model.routers))
          for (const { on } of Object.values(router.interfaces))
            expect(on).not.toMatchObject({ switch: change.name })
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
        if (change.config.device.type === 'vxlan')
          expect(model.vteps).toHaveProperty(change.config.device.vtep)
        model.switches[change.switch].ports[change.port] = change.config
        break
      case 'set-port':
        expect(footing(model.switches[change.switch].ports[change.port])).toEqual(footing(change.config))
        model.switches[change.switch].ports[change.port] = change.config
        break
      case 'add-vtep':
        expect(model.vteps[change.name]).toBeUndefined()
        model.vteps[change.name] = change.config
        break
      case 'set-vtep': {
        const { netns, local, port } = model.vteps[change.name]
        expect(change.config).toMatchObject({ netns, local, port })
        model.vteps[change.name] = change.config
        break
      }
      case 'remove-vtep':
        expect(tunnelsOn(model, change.name)).toEqual([])
        delete model.vteps[change.name]
        break
      default:
        applyToRouters(model, change)
    }
  }
  return model
}

/** Which interfaces the routes and policies of a router name. */
const namedBy = ({ routes, policies }: Pick<RouterConfig, 'routes' | 'policies'>) =>
  [...routes.flatMap((r) => r.hops.map((h) => h.interface)), ...policies.map((p) => p.interface)].filter(
    Boolean,
  )

function applyToRouters(model: FabricConfig, change: RouterChange): void {
  if (change.op === 'add-router') {
    expect(model.routers[change.name]).toBeUndefined()
    model.routers[change.name] = {
      interfaces: {},
      routes: [],
      policies: [],
      nat: [],
      rules: [],
      profile: 'linux',
      sets: [],
      nflog: [],
      conntrack: NO_RULES.config.conntrack,
    }
    return
  }
  if (change.op === 'remove-router') {
    expect(model.routers[change.name].interfaces).toEqual({})
    delete model.routers[change.name]
    return
  }
  const router = model.routers[change.router]
  expect(router).toBeDefined()
  switch (change.op) {
    case 'add-interface': {
      expect(router.interfaces[change.name]).toBeUndefined()
      const { on } = change.config
      if (on.type === 'switch') {
        expect(model.switches[on.switch]).toBeDefined()
        expect(on.vlan !== null).toBe(model.switches[on.switch].vlanAware)
      }
      router.interfaces[change.name] = change.config
      break
    }
    case 'remove-interface':
      expect(router.interfaces[change.name]).toBeDefined()
      expect(namedBy(router)).not.toContain(change.name)
      delete router.interfaces[change.name]
      break
    case 'set-interface': {
      const opened = ({ on, mac, fault }: InterfaceConfig) => ({ on, mac, fault })
      expect(opened(change.config)).toEqual(opened(router.interfaces[change.name]))
      router.interfaces[change.name] = change.config
      break
    }
    case 'set-routes': {
      const { routes, policies } = change
      for (const name of namedBy(change)) expect(router.interfaces[name]).toBeDefined()
      const tables = [255, 254, ...routes.map((r) => r.table)]
      for (const { table } of policies) expect(tables).toContain(table)
      Object.assign(router, { routes, policies })
      break
    }
    case 'set-rules': {
      Object.assign(router, filterOf(change))
    }
  }
}

const isGoing = (c: Change) => c.op === 'remove-interface'
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
    // set-routes comes twice: first without what goes, then with what came.
    const order = [
      'remove-tunnel',
      'remove-vtep',
      'routes-going',
      'remove-interface',
      'remove-router',
      'remove-port',
      'remove-switch',
      'remove-namespace',
      'add-namespace',
      'set-poll',
      'add-switch',
      'set-switch',
      'add-port',
      'set-port',
      'add-router',
      'add-interface',
      'set-interface',
      'set-rules',
      'set-routes',
      'add-or-set-vtep',
      'add-tunnel',
      'add-replay',
    ]
    fc.assert(
      fc.property(config, config, (a, b) => {
        const changes = diffConfig(a, b)
        const coming = changes.findIndex((c) => /^(add|set)-(?!routes)/.test(c.op))
        const steps = changes.map((c, i) => {
          if (c.op === 'set-routes' && (coming < 0 || i < coming) && changes.slice(i).some(isGoing))
            return order.indexOf('routes-going')
          if (c.op === 'add-vtep' || c.op === 'set-vtep') return order.indexOf('add-or-set-vtep')
          const device =
            'port' in c ? ('config' in c ? c.config : a.switches[c.switch].ports[c.port]).device : null
          if (device?.type === 'vxlan' && c.op !== 'set-port')
            return order.indexOf(c.op.replace('port', 'tunnel'))
          if (device?.type === 'pcap' && c.op === 'add-port') return order.indexOf('add-replay')
          return order.indexOf(c.op)
        })
        expect(steps).not.toContain(-1)
        expect(steps).toEqual([...steps].sort((x, y) => x - y))
      }),
      { numRuns: 50 },
    )
  })

  it('a tunnel stays open while its remotes and options change, and goes with its VTEP', () => {
    const tunnel = (vxlan: object, vtep: object = {}) =>
      checkConfigObject({
        switches: { lan: { ports: { t: { vxlan: { vtep: 'u', vni: 1, ...vxlan } }, m: { memory: {} } } } },
        vteps: { u: { local: '192.0.2.1', ...vtep } },
      })
    const ops = (vxlan: object, vtep: object = {}) =>
      diffConfig(tunnel({}), tunnel(vxlan, vtep)).map((c) => ('port' in c ? `${c.op} ${c.port}` : c.op))
    expect(ops({ remotes: ['192.0.2.2'] })).toEqual(['set-port t'])
    expect(ops({ suppress: true, learning: false, aging: 0 })).toEqual(['set-port t'])
    expect(ops({ vni: 2 })).toEqual(['remove-port t', 'add-port t'])
    expect(ops({ group: '239.1.1.1', device: 'eth0' })).toEqual(['remove-port t', 'add-port t'])
    expect(ops({}, { ttl: 9, tos: 8, strict: true, resolve: 5, probe: true })).toEqual(['set-vtep'])
    expect(ops({}, { port: 8472 })).toEqual(['remove-port t', 'remove-vtep', 'add-vtep', 'add-port t'])
    expect(diffConfig(tunnel({}), of({ m: { memory: {} } })).map((c) => c.op)).toEqual([
      'remove-port',
      'remove-vtep',
    ])
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

  it('restores what was when it is asked for the way back, from any step', () => {
    fc.assert(
      fc.property(config, config, fc.nat(), (a, b, stop) => {
        const changes = diffConfig(a, b)
        const half = applied(a, changes.slice(0, stop % (changes.length + 1)))
        expect(sorted(applied(half, diffConfig(half, a)))).toEqual(sorted(a))
      }),
      { numRuns: 60 },
    )
  })
})

describe('the difference of two routers', () => {
  const router = (more: object, a: object = {}, b: object = {}) =>
    checkConfigObject({
      switches: { lan: { ports: { p: { memory: {} } } } },
      routers: {
        r: {
          interfaces: {
            a: { switch: 'lan', addresses: ['10.0.0.1/24'], ...a },
            b: { memory: {}, addresses: ['10.0.1.1/24'], ...b },
          },
          ...more,
        },
      },
    })
  const without = checkConfigObject({ switches: { lan: { ports: { p: { memory: {} } } } } })
  const told = (from: FabricConfig, to: FabricConfig) =>
    diffConfig(from, to).map((c) =>
      c.op === 'set-routes' ? `${c.op} ${c.routes.length}` : `${c.op} ${'name' in c ? c.name : ''}`.trim(),
    )
  const viaB = { to: 'default', via: '10.0.1.2' }
  const viaA = { to: '10.1.0.0/16', via: '10.0.0.2' }
  const base = router({ routes: [viaA, viaB] })

  it('a new one comes whole, rules and routes last', () => {
    expect(told(without, base)).toEqual([
      'add-router r',
      'add-interface a',
      'add-interface b',
      'set-rules',
      'set-routes 2',
    ])
    expect(told(without, router({}))).toEqual([
      'add-router r',
      'add-interface a',
      'add-interface b',
      'set-rules',
      'set-routes 0',
    ])
    expect(told(base, without)).toEqual([
      'set-routes 0',
      'remove-interface a',
      'remove-interface b',
      'remove-router r',
    ])
  })

  it('settings of an interface do not open it again', () => {
    const settings = {
      addresses: ['10.0.0.1/24', 'fd00::1/64'],
      mtu: 9000,
      rpFilter: 'loose',
      clampMss: true,
    }
    expect(told(base, router({ routes: [viaA, viaB] }, settings))).toEqual(['set-interface a'])
  })

  it('a device, a MAC address or a fault does, and its routes go and come with it', () => {
    const again = ['set-routes 1', 'remove-interface b', 'add-interface b', 'set-routes 2']
    for (const b of [{ mac: '02:00:00:00:00:01' }, { fault: { tx: { loss: 1 } } }])
      expect(told(base, router({ routes: [viaA, viaB] }, {}, b))).toEqual(again)
    const other = { memory: undefined, tap: { name: 'x' } }
    expect(told(base, router({ routes: [viaA, viaB] }, {}, other))).toEqual(again)
  })

  it('what refers to an interface or a table that goes, goes before it', () => {
    const more = {
      routes: [viaA, { to: 'default', via: ['10.0.0.2', '10.0.1.2'] }, { ...viaB, table: 7 }],
      policies: [
        { priority: 1, interface: 'b', table: 'main' },
        { priority: 2, table: 7 },
        { priority: 3, table: 'main' },
      ],
    }
    const [first] = diffConfig(router(more), router(more, {}, { mac: '02:00:00:00:00:01' }))
    expect(first).toMatchObject({
      op: 'set-routes',
      router: 'r',
      routes: [{ to: '10.1.0.0/16' }, { to: '0.0.0.0/0', hops: [{ via: '10.0.0.2' }] }],
      policies: [{ priority: 3 }],
    })
  })

  it('rules and routes are set as a whole', () => {
    const nat = [{ masquerade: { from: '10.0.0.0/24', out: 'b' } }]
    expect(told(base, router({ routes: [viaA, viaB], nat }))).toEqual(['set-rules'])
    expect(told(base, router({ routes: [viaA, viaB], profile: 'rfc' }))).toEqual(['set-rules'])
    expect(told(base, router({ routes: [viaB] }))).toEqual(['set-routes 1'])
    expect(told(base, router({ routes: [viaB], nat }))).toEqual(['set-rules', 'set-routes 1'])
  })

  it('a switch that starts to look at tags gets its interfaces anew', () => {
    const vlan = checkConfigObject({
      switches: { lan: { ports: { p: { memory: {}, vlan: { access: 1 } } } } },
      routers: { r: { interfaces: { a: { switch: 'lan' } } } },
    })
    const plain = checkConfigObject({
      switches: { lan: { ports: { p: { memory: {} } } } },
      routers: { r: { interfaces: { a: { switch: 'lan' } } } },
    })
    expect(told(plain, vlan)).toEqual(['remove-interface a', 'set-switch lan', 'set-port', 'add-interface a'])
  })
})
