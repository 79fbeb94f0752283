/** Valid configurations, at random, as the objects a file would hold. For the property tests. */
import fc from 'fast-check'

const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,6}$/)
const hex = fc.integer({ min: 0, max: 0xffff }).map((n) => n.toString(16).padStart(4, '0'))
const duration = fc.oneof(fc.constantFrom('300s', '5m', '0', 0), fc.integer({ min: 10, max: 1_000_000 }))
const share = fc.oneof(
  fc.constantFrom('0.5%', '100%', 0, 1),
  fc.double({ min: 0, max: 1, noNaN: true, noDefaultInfinity: true }),
)
const optional = { requiredKeys: [] }

const offload = fc.oneof(
  fc.boolean(),
  fc.record({ checksum: fc.constant(true), tso: fc.boolean(), uso: fc.boolean() }, optional),
)
const vid = fc.integer({ min: 1, max: 4094 })
const vlan = fc.oneof(
  fc.record({ access: vid }),
  fc.record({ tunnel: vid }),
  fc.record(
    {
      trunk: fc.oneof(
        fc.constant('all' as const),
        fc.array(
          fc.oneof(
            vid,
            vid.map((v) => `${v}-${Math.min(4094, v + 5)}`),
          ),
          { minLength: 1, maxLength: 4 },
        ),
      ),
      native: vid,
      protocol: fc.constantFrom('802.1q', '802.1ad', '0x9100'),
    },
    { requiredKeys: ['trunk'] },
  ),
)
const rates = fc.record(
  {
    loss: share,
    duplicate: share,
    reorder: share,
    truncate: share,
    delay: fc.constantFrom('10ms', '1s', 5),
    jitter: fc.constantFrom('1ms', 0),
  },
  optional,
)
const settings = fc.record(
  {
    vlan,
    mtu: fc.integer({ min: 68, max: 65535 }),
    learning: fc.boolean(),
    flood: fc.oneof(
      fc.boolean(),
      fc.record({ unknown: fc.boolean(), multicast: fc.boolean(), broadcast: fc.boolean() }, optional),
    ),
    isolated: fc.boolean(),
    hairpin: fc.boolean(),
    locked: fc.boolean(),
    limit: fc.integer({ min: 0, max: 1000 }),
    storm: fc.record({ unknown: fc.nat(9999), multicast: fc.nat(9999), broadcast: fc.nat(9999) }, optional),
    fault: fc.record({ seed: fc.nat(), rx: rates, tx: rates }, optional),
  },
  optional,
)

/** `at` makes names and addresses that no other port has. */
function device(at: number) {
  const four = `10.${at >> 8}.${at & 255}`
  const link = {
    addresses: fc.subarray([`${four}.1/24`, `fd00:${at.toString(16)}::1/64`]),
    mtu: fc.integer({ min: 1280, max: 9216 }),
    offload,
  }
  const mac = hex.map(
    (h) =>
      `02:00:${h.slice(0, 2)}:${h.slice(2)}:${(at >> 8).toString(16).padStart(2, '0')}:${(at & 255).toString(16).padStart(2, '0')}`,
  )
  const netns = fc.constantFrom('web', 'db', '/run/netns/x', 1, '')
  return fc.oneof(
    fc.record({
      tap: fc.record(
        { name: fc.constant(`tl${at}`), netns, ...link, mac, persist: fc.boolean(), queues: fc.constant(1) },
        { requiredKeys: ['name'] },
      ),
    }),
    fc.record({
      tap: fc.record({
        name: fc.constant(`tl${at}`),
        addresses: fc.constant([`${four}.1/24`]),
        gateway: fc.constant(`${four}.254`),
      }),
    }),
    fc.record({
      tun: fc.record({ name: fc.constant(`tl${at}`), netns, ...link }, { requiredKeys: ['name'] }),
    }),
    fc.record({
      host: fc.record({ name: fc.constant(`tl${at}`), ...link, mac }, { requiredKeys: ['name'] }),
    }),
    fc.record({ packet: fc.record({ name: fc.constant(`tl${at}`), netns }, { requiredKeys: ['name'] }) }),
    fc.record({
      pcap: fc.record(
        { file: fc.constant('a.pcap'), loop: fc.boolean(), speed: fc.nat(9) },
        { requiredKeys: ['file'] },
      ),
    }),
    fc.record({ memory: fc.constant({}) }),
  )
}

const port = (at: number) => fc.tuple(device(at), settings).map(([d, s]) => ({ ...d, ...s }))

const switchKeys = fc.record(
  {
    aging: duration,
    limit: fc.integer({ min: 1, max: 1_000_000 }),
    reserved: fc.subarray(['03', '0e', 4, 15] as (string | number)[]),
  },
  optional,
)
function switchAt(base: number) {
  return fc.tuple(switchKeys, fc.uniqueArray(name, { minLength: 1, maxLength: 4 })).chain(([keys, names]) =>
    fc.tuple(...names.map((_, i) => port(base + i))).map((bodies) => ({
      ...keys,
      ports: Object.fromEntries(names.map((n, i) => [n, bodies[i]])) as Record<string, object>,
    })),
  )
}

/** Joins the switches in a ring of patch ports, when there are two or more. */
function patched<T extends Record<string, { ports: Record<string, object> }>>(switches: T): T {
  const names = Object.keys(switches)
  for (let i = 0; i + 1 < names.length; i++) {
    switches[names[i]].ports.PATCH = { patch: `${names[i + 1]}.HCTAP` }
    switches[names[i + 1]].ports.HCTAP = { patch: { switch: names[i], port: 'PATCH' } }
  }
  return switches
}

/** Routes by gateways of a subnet, `net` = its first three bytes; tables of their own with policies. */
const routesBy = (net: string) =>
  fc
    .uniqueArray(
      fc.record(
        {
          to: fc.constantFrom('default', '0.0.0.0/0', '172.16.0.0/12', '192.0.2.7', '198.51.100.0/24'),
          via: fc.oneof(
            fc.constant(`${net}.77`),
            fc.constant([`${net}.77`, { via: `${net}.78`, weight: 3 }]),
          ),
          metric: fc.nat(9),
          table: fc.constantFrom('main', 100, 200),
        },
        { requiredKeys: ['to', 'via'] },
      ),
      {
        selector: (r) => `${r.to.replace('default', '0.0.0.0/0')} ${r.table ?? 'main'} ${r.metric ?? 0}`,
        maxLength: 4,
      },
    )
    .chain((routes) => {
      const tables = ['main' as const, ...routes.flatMap((r) => r.table ?? [])]
      const policy = fc.record(
        {
          priority: fc.integer({ min: 1, max: 32765 }),
          from: fc.constant('10.0.0.0/8'),
          mark: fc.constantFrom(7, '0x1/0xff'),
          table: fc.constantFrom(...tables),
        },
        { requiredKeys: ['priority', 'table'] },
      )
      return fc.record({
        routes: fc.constant([...routes, { to: 'fc00::/7', type: 'blackhole' }]),
        policies: fc.array(policy, { maxLength: 2 }),
      })
    })

/** A router with interfaces on switches (without VLANs, so that any ports will do) and of its own. */
function routerAt(at: number, switches: string[]) {
  const own = fc.constantFrom<object>(
    { memory: {} },
    { tap: { name: `tr${at}`, netns: 'web', addresses: [`10.200.${at}.9/24`] } },
    { tun: { name: `tr${at}` } },
    { packet: { name: `tr${at}`, netns: 'db' } },
  )
  const more = fc.record(
    {
      mac: hex.map((h) => `02:ff:${h.slice(0, 2)}:${h.slice(2)}:00:${at.toString(16).padStart(2, '0')}`),
      mtu: fc.integer({ min: 1280, max: 9000 }),
      rpFilter: fc.constantFrom('off', 'strict', 'loose'),
      dad: fc.constantFrom(true, false, 'strict'),
      clampMss: fc.boolean(),
      fault: fc.record({ seed: fc.nat(), tx: rates }, optional),
    },
    optional,
  )
  const lan = fc
    .tuple(more, switches.length > 0 ? fc.constantFrom(...switches) : fc.constant(undefined))
    .map(([m, sw]) => ({ ...(sw === undefined ? { memory: {} } : { switch: sw }), ...m }))
  // Without a MAC address: a TUN may not have one.
  const out = fc.tuple(own, more).map(([o, { mac: _, ...m }]) => ({ ...o, ...m }))
  return fc
    .tuple(
      fc.record({
        lan: lan.map((l) => ({ ...l, addresses: [`10.100.${at}.1/24`, `fd01:${at}::1/64`] })),
        out: out.map((o) => ({ ...o, addresses: [`10.200.${at}.1/24`] })),
      }),
      fc.option(routesBy(`10.200.${at}`), { nil: undefined }),
      fc.subarray<object>([
        { masquerade: { from: `10.100.${at}.0/24`, out: 'out' } },
        { publish: { listen: `10.200.${at}.1:80`, to: `10.100.${at}.5:80` } },
        { publish: { proto: 'udp', listen: ':5000-5010', to: `10.100.${at}.6:7000-7010` } },
      ]),
      fc.constantFrom('linux', 'rfc'),
    )
    .map(([interfaces, routes, nat, profile]) => ({ interfaces, ...routes, nat, profile }))
}

/** Tunnels on some of the switches, each with a VNI of its own, and the VTEPs they are on. */
function tunnelled<T extends { switches: Record<string, { ports: Record<string, object> }> }>(object: T) {
  const vtep = fc.record(
    {
      local: fc.constant('192.0.2.1'),
      port: fc.constantFrom(4789, 8472),
      ttl: fc.constantFrom(9, 'inherit'),
      df: fc.constantFrom('set', 'inherit'),
      probe: fc.boolean(),
    },
    { requiredKeys: ['local'] },
  )
  const vxlan = fc.record(
    {
      vtep: fc.constantFrom('U', 'V'),
      vni: fc.constantFrom(1, 2, 3),
      remotes: fc.subarray(['192.0.2.7', 'site-b.example', '192.0.2.8']),
      learning: fc.boolean(),
      suppress: fc.boolean(),
      static: fc.subarray([{ mac: '02:00:00:00:00:77', remote: '192.0.2.7', addresses: ['10.0.0.1'] }]),
    },
    { requiredKeys: ['vtep', 'vni'] },
  )
  const names = Object.keys(object.switches)
  return fc.tuple(fc.array(vxlan, { maxLength: names.length }), vtep, vtep).map(([tunnels, u, v]) => {
    if (tunnels.length === 0) return object
    const switches = { ...object.switches }
    tunnels.forEach((t, i) => {
      const { ports } = switches[names[i]]
      // A switch's own number in front: no VNI comes twice.
      switches[names[i]] = {
        ...switches[names[i]],
        ports: { ...ports, TUNNEL: { vxlan: { ...t, vni: 10 * i + t.vni } } },
      }
    })
    return { ...object, switches, vteps: { U: u, V: { ...v, local: '192.0.2.2' } } }
  })
}

export const configObject = fc
  .tuple(
    fc.record(
      { namespaces: fc.subarray(['web', 'db', 'lab']), poll: fc.constantFrom('sleep', 'adaptive', 'busy') },
      optional,
    ),
    fc.uniqueArray(name, { minLength: 1, maxLength: 3 }),
  )
  .chain(([top, names]) =>
    fc.tuple(...names.map((_, i) => switchAt(i * 100 + 1))).map((bodies) => ({
      ...top,
      switches: patched(Object.fromEntries(names.map((n, i) => [n, bodies[i]]))),
    })),
  )
  .chain((object) => {
    const plain = Object.keys(object.switches).filter((name) =>
      Object.values(object.switches[name].ports).every((p) => !('vlan' in p)),
    )
    // Capitals: no switch of the generator has such a name.
    return fc
      .uniqueArray(fc.constantFrom('R', 'S'), { maxLength: 2 })
      .chain((names) => fc.tuple(...names.map((n) => routerAt(n.charCodeAt(0), plain).map((r) => [n, r]))))
      .map((routers) => (routers.length > 0 ? { ...object, routers: Object.fromEntries(routers) } : object))
  })
  .chain(tunnelled)
