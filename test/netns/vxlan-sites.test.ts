/** Our daemons at every end, opened from configurations: meshes, stations that move, remotes that die or lie. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BROADCAST, frame } from '../support/frames.ts'
import { has, lacking } from '../support/lab.ts'
import { macOf, type Site, Sites } from '../support/sites.ts'
import { sendFrames } from '../support/wire.ts'

const missing = lacking ?? (has('iperf3') ? null : 'needs iperf3')

describe.skipIf(missing)(`sites joined by tunnels${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let lab: Sites
  beforeEach(() => {
    lab = new Sites()
  })
  afterEach(() => lab.end())

  const locals = ['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4']
  const others = (n: number, of = 3) => locals.slice(0, of).filter((_, i) => i !== n)

  async function mesh(vtep: object = {}, vxlan: object = {}): Promise<Site[]> {
    const hosts = lab.hosts(3)
    const sites = hosts.map((host, i) =>
      lab.site(host, i + 1, locals[i], { vxlan: { remotes: others(i), ...vxlan }, vtep }),
    )
    for (const site of sites) await lab.open(site)
    return sites
  }
  const send = (site: Site, ...frames: Uint8Array[]) => sendFrames(lab.path(site.inside), 'eth0', frames)
  const settled = (what: () => unknown, value: unknown) =>
    expect.poll(what, { timeout: 10_000, interval: 50 }).toEqual(value)

  it('three in a mesh: a broadcast comes once to each, an answer to one', async () => {
    const sites = await mesh()
    const before = sites.map((s) => s.sent())
    send(sites[0], ...new Array(10).fill(frame({ dst: BROADCAST, src: 0x99 })))
    await settled(() => sites.map((s, i) => s.sent() - before[i]), [0, 10, 10])
    expect(sites[1].behind('02:00:00:00:00:99')).toBe(locals[0])
    send(sites[1], ...new Array(5).fill(frame({ dst: 0x99, src: 0x98 })))
    await settled(() => sites.map((s, i) => s.sent() - before[i]), [5, 10, 10])
    for (const [i, site] of sites.entries())
      for (const [j] of sites.entries())
        if (i !== j) expect(await lab.ping(site.inside, `10.9.0.${j + 1}`, 2), `${i} to ${j}`).toBe(2)
    expect(sites.map((s) => s.fabric.tunnelRows().map((r) => r.addresses))).toEqual([
      [2, 1],
      [2, 1],
      [2, 1],
    ])
  })

  it('a station that moves is found at its new site', async () => {
    const [a, b, c] = await mesh()
    const hello = frame({ dst: BROADCAST, src: 0x99 })
    send(a, hello)
    await settled(() => b.behind('02:00:00:00:00:99'), locals[0])
    send(c, hello)
    await settled(() => b.behind('02:00:00:00:00:99'), locals[2])
    await settled(() => a.behind('02:00:00:00:00:99'), locals[2])
    expect(b.tunnel(locals[2]).moved).toBe(1)
    const before = [a.sent(), c.sent()]
    send(b, frame({ dst: 0x99, src: 0x98 }))
    await settled(() => [a.sent() - before[0], c.sent() - before[1]], [0, 1])
  })

  it('a remote that is not in the list is not heard', async () => {
    const hosts = lab.hosts(3)
    const a = await lab.open(lab.site(hosts[0], 1, locals[0], { vxlan: { remotes: [locals[1]] } }))
    await lab.open(lab.site(hosts[1], 2, locals[1], { vxlan: { remotes: [locals[0]] } }))
    const liar = await lab.open(lab.site(hosts[2], 3, locals[2], { vxlan: { remotes: [locals[0]] } }))
    expect(await lab.ping(a.inside, '10.9.0.2', 2)).toBe(2)
    const before = a.sent()
    send(liar, ...new Array(8).fill(frame({ dst: BROADCAST, src: 0x99 })))
    // Claims a station of the other one.
    send(liar, frame({ dst: BROADCAST, src: 0x902 }))
    const told = () =>
      a.fabric
        .drops()
        .filter((d) => d.reason === 'tunnel-remote')
        .reduce((sum, d) => sum + d.packets, 0)
    await settled(told, 9)
    // Not one of the nine; an ARP request of the other site may have come meanwhile.
    expect(a.sent() - before).toBeLessThan(3)
    expect(a.behind('02:00:00:00:00:99')).toBeUndefined()
    expect(a.behind(macOf(2))).toBe(locals[1])
  })

  it('a remote that dies is told, loses its stations, and comes back', async () => {
    const [a, b, c] = await mesh({ probe: { mtu: false, liveness: true, interval: '200ms', misses: 3 } })
    const told: string[] = []
    a.fabric.on('remote-down', ({ vtep, remote }) => told.push(`down ${vtep} ${remote}`))
    a.fabric.on('remote-up', ({ vtep, remote }) => told.push(`up ${vtep} ${remote}`))
    await settled(() => a.fabric.tunnelRows().map((r) => r.state), ['up', 'up'])
    expect(await lab.ping(a.inside, '10.9.0.3', 2)).toBe(2)
    expect(a.behind(macOf(3))).toBe(locals[2])
    told.length = 0

    lab.ip(c.host, 'link set u0 down')
    await settled(() => told, [`down u ${locals[2]}`])
    await settled(() => a.behind(macOf(3)), undefined)
    expect(a.tunnel(locals[2])).toMatchObject({ state: 'down', addresses: 0 })
    expect(a.tunnel(locals[1]).state).toBe('up')
    // The others go on, and floods do not go where nobody is.
    const sent = a.tunnel(locals[2]).txPackets
    expect(await lab.ping(a.inside, '10.9.0.2', 3)).toBe(3)
    send(a, frame({ dst: BROADCAST, src: 0x99 }))
    await settled(() => b.behind('02:00:00:00:00:99'), locals[0])
    expect(a.tunnel(locals[2]).txPackets).toBe(sent)

    lab.ip(c.host, 'link set u0 up')
    await settled(() => told.at(-1), `up u ${locals[2]}`)
    await expect.poll(() => lab.ping(a.inside, '10.9.0.3', 1), { timeout: 10_000 }).toBe(1)
  })

  it('a group of the underlay instead of a list', async () => {
    const hosts = lab.hosts(3)
    const vxlan = { group: '239.1.1.7', device: 'u0' }
    const sites = hosts.map((host, i) => lab.site(host, i + 1, locals[i], { vxlan }))
    for (const site of sites) await lab.open(site)
    const before = sites.map((s) => s.sent())
    send(sites[0], ...new Array(10).fill(frame({ dst: BROADCAST, src: 0x99 })))
    await settled(() => sites.map((s, i) => s.sent() - before[i]), [0, 10, 10])
    expect(sites[1].tunnel(locals[0]).kind).toBe('learned')
    expect(sites[0].tunnel('239.1.1.7')).toMatchObject({ kind: 'group', txPackets: 10, vnis: [7] })
    expect(await lab.ping(sites[0].inside, '10.9.0.3', 3)).toBe(3)
    // A known station is not written to by way of the group.
    const flooded = sites[0].tunnel('239.1.1.7').txPackets
    expect(await lab.ping(sites[0].inside, '10.9.0.3', 3)).toBe(3)
    expect(sites[0].tunnel('239.1.1.7').txPackets).toBe(flooded)
  })

  it('names of remotes: looked up, looked up again, and not waited for', async () => {
    const hosts = lab.hosts(3)
    await lab.open(lab.site(hosts[1], 2, locals[1], { vxlan: { remotes: [locals[0]] } }))
    await lab.open(lab.site(hosts[2], 3, locals[2], { vxlan: { remotes: [locals[0]] } }))
    let zone: Record<string, string> = {}
    const asked = async (name: string) => {
      if (!zone[name]) throw new Error(`nobody knows ${name}`)
      return [zone[name]]
    }
    const site = lab.site(hosts[0], 1, locals[0], {
      vxlan: { remotes: ['b.example'], accept: 'known' },
      vtep: { resolve: '1s' },
    })
    const a = await lab.open(site, { lookup: asked })
    expect(a.fabric.tunnelRows()).toMatchObject([
      { remote: null, name: 'b.example', state: 'unresolved', vnis: [7] },
    ])
    zone = { 'b.example': locals[1] }
    const told: unknown[] = []
    a.fabric.on('remote-address', (e) => told.push(e))
    await expect.poll(() => lab.ping(a.inside, '10.9.0.2', 1), { timeout: 15_000 }).toBe(1)
    expect(a.tunnel(locals[1])).toMatchObject({ name: 'b.example', kind: 'listed' })
    zone = { 'b.example': locals[2] }
    await settled(() => told.at(-1), { vtep: 'u', name: 'b.example', address: locals[2], was: locals[1] })
    await expect.poll(() => lab.ping(a.inside, '10.9.0.3', 1), { timeout: 10_000 }).toBe(1)
    expect(await lab.ping(a.inside, '10.9.0.2', 1)).toBe(0)
  })

  it('over a line that loses, duplicates and reorders', async () => {
    const [left, right] = lab.spaces(2)
    const bad = { tx: { loss: '0.3%', duplicate: '1%', reorder: '1%' } }
    const wan = (netns: string, n: number) => ({
      tap: { name: 'u0', netns, addresses: [`192.0.2.${n}/24`] },
      fault: { seed: n, ...bad },
    })
    const config = { switches: { wan: { ports: { l: wan(left, 1), r: wan(right, 2) } } } }
    const line = lab.site(left, 0, locals[0])
    Object.assign(line, { config })
    await lab.open(line)
    const a = await lab.open(lab.site(left, 1, locals[0], { vxlan: { remotes: [locals[1]] } }))
    const b = await lab.open(lab.site(right, 2, locals[1], { vxlan: { remotes: [locals[0]] } }))
    expect(await lab.ping(a.inside, '10.9.0.2', 50)).toBeGreaterThan(40)
    expect(await lab.transfer(a.inside, b.inside, '10.9.0.2', '8M')).toBeGreaterThanOrEqual(8 << 20)
    expect(await lab.transfer(b.inside, a.inside, '10.9.0.1', '8M')).toBeGreaterThanOrEqual(8 << 20)
    const lost = line.fabric.drops().filter((d) => d.reason === 'fault-loss')
    expect(lost.every((d) => d.packets > 0)).toBe(true)
  })

  it('a reload touches nothing that stays', async () => {
    const hosts = lab.hosts(2)
    const a = await lab.open(lab.site(hosts[0], 1, locals[0], { vxlan: { remotes: [locals[1]] } }))
    await lab.open(lab.site(hosts[1], 2, locals[1], { vxlan: { remotes: [locals[0]] } }))
    expect(await lab.ping(a.inside, '10.9.0.2', 1)).toBe(1)
    const { checkConfigObject } = await import('../../src/index.ts')
    const next = (vxlan: object, vtep: object, ports: object = {}) => {
      const config = structuredClone(a.config) as {
        switches: { lan: { ports: Record<string, object> } }
        vteps: object
      }
      config.switches.lan.ports.t = { vxlan: { vtep: 'u', vni: 7, remotes: [locals[1]], ...vxlan } }
      Object.assign(config.switches.lan.ports, ports)
      config.vteps = { u: { local: locals[0], netns: a.host, probe: false, ...vtep } }
      return checkConfigObject(config)
    }
    const pings = lab.ping(a.inside, '10.9.0.2', 60)
    expect(await a.fabric.apply(next({ remotes: [locals[1], locals[2]] }, {}))).toEqual([
      'port lan.t: changed',
    ])
    expect(await a.fabric.apply(next({ aging: 600 }, { ttl: 9, tos: 8 }))).toEqual([
      'port lan.t: changed',
      'VTEP u: changed',
    ])
    const more = { t2: { vxlan: { vtep: 'u', vni: 8, group: '239.1.1.8', device: 'u0' }, isolated: true } }
    expect(await a.fabric.apply(next({}, {}, more))).toEqual([
      'port lan.t: changed',
      'VTEP u: changed',
      'port lan.t2: added',
    ])
    expect(await a.fabric.apply(next({}, {}))).toEqual(['port lan.t2: removed'])
    expect(await pings).toBe(60)
    expect(a.behind(macOf(2))).toBe(locals[1])
    // What its sockets are made of: closed and opened, and everything on it.
    expect(await a.fabric.apply(next({}, { df: 'set' }))).toEqual([
      'port lan.t: removed',
      'VTEP u: removed',
      'VTEP u: added',
      'port lan.t: added',
    ])
    expect(await lab.ping(a.inside, '10.9.0.2', 3)).toBe(3)
  })

  it('flush forgets what was learned, of one remote or of all', async () => {
    const [a] = await mesh()
    for (const n of [2, 3]) expect(await lab.ping(a.inside, `10.9.0.${n}`, 1)).toBe(1)
    expect(await a.fabric.flushTunnels({ remote: locals[1] })).toBe(1)
    expect([a.behind(macOf(2)), a.behind(macOf(3))]).toEqual([undefined, undefined])
    expect([a.tunnel(locals[1]).addresses, a.tunnel(locals[2]).addresses]).toEqual([0, 1])
    expect(await lab.ping(a.inside, '10.9.0.2', 1)).toBe(1)
    expect(await a.fabric.flushTunnels({ vtep: 'u' })).toBe(2)
    expect(a.fabric.tunnelRows().map((r) => r.addresses)).toEqual([0, 0])
    expect(await lab.ping(a.inside, '10.9.0.3', 1)).toBe(1)
  })

  it('a worker that dies loses no station, and a socket that is taken leaves nothing half-done', async () => {
    const hosts = lab.hosts(2)
    const a = await lab.open(lab.site(hosts[0], 1, locals[0], { vxlan: { remotes: [locals[1]] } }))
    const b = lab.site(hosts[1], 2, locals[1], { vxlan: { remotes: [locals[0]] } })
    lab.ip(b.host, `link add vx9 type vxlan id 9 dstport 4789 local ${locals[1]} dev u0`)
    lab.ip(b.host, 'link set vx9 up')
    await expect(lab.open(b)).rejects.toThrow(
      `VTEP u: UDP port 4789 of ${locals[1]} in namespace ${b.host} is taken`,
    )
    expect(lab.ip(b.inside, 'link')).not.toContain('eth0')
    lab.ip(b.host, 'link del vx9')
    await lab.open(b)
    expect(await lab.ping(a.inside, '10.9.0.2', 2)).toBe(2)
    const again = new Promise((resolve) => a.fabric.once('worker-restarted', resolve))
    a.fabric.killWorker()
    await again
    expect(a.behind(macOf(2))).toBe(locals[1])
    expect(await lab.ping(a.inside, '10.9.0.2', 3)).toBe(3)
    // A change that fails in the middle is undone: what was there goes on.
    const { checkConfigObject } = await import('../../src/index.ts')
    const config = structuredClone(a.config) as { vteps: Record<string, object> }
    config.vteps.second = { local: locals[3], netns: a.host }
    await expect(a.fabric.apply(checkConfigObject(config))).rejects.toThrow(
      `VTEP second: nothing in namespace ${a.host} has the address ${locals[3]}`,
    )
    expect(a.fabric.status().vteps.map((v) => v.name)).toEqual(['u'])
    expect(await lab.ping(a.inside, '10.9.0.2', 3)).toBe(3)
  })
})
