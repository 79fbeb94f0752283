/** Hosts that configure themselves: real DHCP clients, and the kernel's SLAAC, on a router's interfaces. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { checkConfigObject, type Fabric, openFabric } from '../../src/index.ts'
import { has, Lab, lacking, type Result } from '../support/lab.ts'

const lab = new Lab()
const fabrics: Fabric[] = []
const scratch = mkdtempSync(join(tmpdir(), 'tl-dhcp-'))
afterAll(async () => {
  for (const fabric of fabrics) await fabric.close()
  lab.close()
  rmSync(scratch, { recursive: true, force: true })
})

/** What the clients are told, as variables; they do as they are told. */
const said = join(scratch, 'said')
const script = join(scratch, 'udhcpc.sh')
writeFileSync(
  script,
  `#!/bin/sh
env > ${said}.$interface.$1
case "$1" in
deconfig) ip addr flush dev $interface; ip link set $interface up ;;
bound|renew)
  ip addr replace $ip/$mask dev $interface
  [ -z "$mtu" ] || ip link set $interface mtu $mtu
  if [ -n "$staticroutes" ]; then
    set -- $staticroutes
    while [ $# -ge 2 ]; do ip route replace $1 via $2 dev $interface; shift 2; done
  elif [ -n "$router" ]; then ip route replace default via $router dev $interface; fi ;;
esac
`,
)
chmodSync(script, 0o755)

async function open(config: object): Promise<Fabric> {
  const fabric = await openFabric(config)
  fabrics.push(fabric)
  return fabric
}

async function close(fabric: Fabric): Promise<void> {
  fabrics.splice(fabrics.indexOf(fabric), 1)
  await fabric.close()
}

let files = 0
const leasesFile = () => join(scratch, `leases-${files++}.jsonl`)

/** One round of udhcpc: it ends when it has a lease, or not. */
function udhcpc(netns: string, ...more: string[]): Promise<Result> {
  const args = ['-i', 'eth0', '-s', script, '-n', '-q', '-f', '-t', '4', '-T', '2', ...more]
  return lab.in(netns, 'udhcpc', ...args)
}

const tap = (netns: string, more: object = {}) => ({ tap: { name: 'eth0', netns, ...more } })
const addressOf = (netns: string): string =>
  /inet ([0-9.]+)\//.exec(lab.ip(netns, '-4 addr show dev eth0'))?.[1] ?? ''

const until = async (what: () => boolean, ms = 8000): Promise<boolean> => {
  for (const end = Date.now() + ms; Date.now() < end; ) {
    if (what()) return true
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return what()
}

const lacks = lacking ?? (has('udhcpc') ? null : 'needs udhcpc')

describe.skipIf(lacks)(`a DHCP server${lacks ? ` (skipped: ${lacks})` : ''}`, () => {
  it('on a VLAN of a switch and on a device: address, routes, MTU, names', async () => {
    const [a, b, far] = lab.spaces(3)
    const leases = leasesFile()
    const fabric = await open({
      switches: { lan: { ports: { a: { ...tap(a), vlan: { access: 10 } } } } },
      routers: {
        edge: {
          interfaces: {
            lan: {
              switch: 'lan',
              vlan: 10,
              addresses: ['10.10.0.1/24'],
              mtu: 1400,
              dhcp: {
                pool: '10.10.0.100-10.10.0.110',
                dns: ['10.10.0.1', '192.0.2.53'],
                domain: 'lab.example',
                routes: [{ to: '10.20.0.0/16', via: '10.10.0.1' }],
                leaseTime: '10m',
                leases,
              },
            },
            dev: { ...tap(b), addresses: ['10.11.0.1/24'], dhcp: { leases: leasesFile() } },
            far: {
              ...tap(far, { addresses: ['10.20.0.2/24'], gateway: '10.20.0.1' }),
              addresses: ['10.20.0.1/24'],
            },
          },
        },
      },
    })
    const options = ['-O', 'mtu', '-O', 'staticroutes', '-x', 'hostname:web']
    expect(await udhcpc(a, ...options)).toMatchObject({ code: 0 })
    const address = addressOf(a)
    expect(address).toMatch(/^10\.10\.0\.1(0[0-9]|10)$/)
    expect(lab.ip(a, 'link show dev eth0')).toContain('mtu 1400')
    expect(lab.ip(a, 'route show')).toMatch(/10\.20\.0\.0\/16 via 10\.10\.0\.1/)
    expect(lab.ip(a, 'route show')).toMatch(/default via 10\.10\.0\.1/)
    const env = readFileSync(`${said}.eth0.bound`, 'utf8')
    expect(env).toMatch(/^dns=10\.10\.0\.1 192\.0\.2\.53$/m)
    expect(env).toMatch(/^domain=lab\.example$/m)
    expect(env).toMatch(/^lease=600$/m)
    expect(env).toMatch(/^serverid=10\.10\.0\.1$/m)
    expect(await lab.ping(a, '10.20.0.2', 2)).toBe(2)

    expect(await udhcpc(b)).toMatchObject({ code: 0 })
    expect(addressOf(b)).toMatch(/^10\.11\.0\./)
    expect(lab.ip(b, 'route show')).toMatch(/default via 10\.11\.0\.1/)
    expect(await lab.ping(b, '10.20.0.2', 2)).toBe(2)

    const row = fabric.leases().find((r) => r.address === address)
    expect(row).toMatchObject({ router: 'edge', interface: 'lan', hostName: 'web', state: 'bound' })
    expect(fabric.leases('edge')).toHaveLength(2)
    expect(statSync(leases).mode & 0o777).toBe(0o600)
    expect(readFileSync(leases, 'utf8')).toContain(`"address":"${address}"`)
    const t = fabric.status().totals
    expect(t.in + t.made).toBe(t.out + t.dropped + t.held + t.consumed)
  })

  it('leases outlive the daemon, and an address that somebody has already is not given', async () => {
    const [a, squatter] = lab.spaces(2)
    const config = (pool: string) => ({
      switches: {
        lan: { ports: { a: tap(a), b: tap(squatter, { addresses: ['10.10.0.50/24'] }) } },
      },
      routers: {
        edge: {
          interfaces: {
            lan: { switch: 'lan', addresses: ['10.10.0.1/24'], dhcp: { pool, leases: file } },
          },
        },
      },
    })
    const file = leasesFile()
    const first = await open(config('10.10.0.50-10.10.0.52'))
    // Two clients of three addresses, one of which somebody uses without asking.
    expect(await udhcpc(a, '-x', '61:0101020304')).toMatchObject({ code: 0 })
    expect(await udhcpc(a, '-r', '10.10.0.50')).toMatchObject({ code: 0 })
    expect(addressOf(a)).not.toBe('10.10.0.50')
    const before = first.leases().filter((r) => r.state === 'bound')
    expect(first.leases().find((r) => r.address === '10.10.0.50')?.state).toBe('declined')
    await close(first)
    expect(existsSync(`${file}.lock`)).toBe(false)
    const second = await open(config('10.10.0.50-10.10.0.60'))
    expect(second.leases().filter((r) => r.state === 'bound')).toMatchObject(
      before.map(({ address, mac }) => ({ address, mac })),
    )
  })

  it('a reload changes what is given, and forwarding goes on', async () => {
    const [a] = lab.spaces(1)
    const leases = leasesFile()
    const mac = '02:00:00:00:00:0a'
    const config = (dhcp: object | undefined) => ({
      switches: { lan: { ports: { a: tap(a, { mac }) } } },
      routers: { edge: { interfaces: { lan: { switch: 'lan', addresses: ['10.10.0.1/24'], dhcp } } } },
    })
    const fabric = await open(config(undefined))
    expect((await udhcpc(a, '-t', '1', '-T', '1')).code).not.toBe(0)
    await fabric.apply(checkConfigObject(config({ leases })))
    expect(await udhcpc(a)).toMatchObject({ code: 0 })
    const reservations = [{ mac, address: '10.10.0.77', hostName: 'ten' }]
    expect(await fabric.apply(checkConfigObject(config({ leases, reservations })))).toEqual([
      'interface edge.lan: changed',
    ])
    expect(await lab.ping(a, '10.10.0.1', 2)).toBe(2)
    expect(await udhcpc(a)).toMatchObject({ code: 0 })
    expect(addressOf(a)).toBe('10.10.0.77')
    expect(readFileSync(`${said}.eth0.bound`, 'utf8')).toMatch(/^hostname=ten$/m)
    expect(fabric.leases()).toMatchObject([{ address: '10.10.0.77', mac }])
    await fabric.apply(checkConfigObject(config(undefined)))
    expect((await udhcpc(a, '-t', '1', '-T', '1')).code).not.toBe(0)
  })

  it('a lease is renewed by unicast, and given back', async () => {
    const [a] = lab.spaces(1)
    const lan = { switch: 'lan', addresses: ['10.12.0.1/24'], dhcp: { leases: leasesFile() } }
    const fabric = await open({
      switches: { lan: { ports: { a: tap(a) } } },
      routers: { edge: { interfaces: { lan } } },
    })
    rmSync(`${said}.eth0.renew`, { force: true })
    const client = lab.start(a, 'udhcpc', '-f', '-i', 'eth0', '-s', script)
    expect(await until(() => fabric.leases().length === 1 && addressOf(a) !== '')).toBe(true)
    const before = fabric.leases()[0]
    await new Promise((resolve) => setTimeout(resolve, 50))
    client.kill('SIGUSR1')
    expect(await until(() => existsSync(`${said}.eth0.renew`))).toBe(true)
    const [after] = fabric.leases()
    expect(after.address).toBe(before.address)
    expect(Date.parse(after.expires)).toBeGreaterThan(Date.parse(before.expires))
    client.kill('SIGUSR2')
    expect(await until(() => fabric.leases().length === 0)).toBe(true)
  })

  it('a worker that dies is replaced, and clients are served', async () => {
    const [a] = lab.spaces(1)
    const lan = { switch: 'lan', addresses: ['10.10.0.1/24'], dhcp: { leases: leasesFile() } }
    const fabric = await open({
      switches: { lan: { ports: { a: tap(a) } } },
      routers: { edge: { interfaces: { lan } } },
    })
    expect(await udhcpc(a)).toMatchObject({ code: 0 })
    const before = addressOf(a)
    const again = new Promise((resolve) => fabric.once('worker-restarted', resolve))
    fabric.killWorker()
    await again
    expect(await udhcpc(a)).toMatchObject({ code: 0 })
    expect(addressOf(a)).toBe(before)
  })

  it('rules of INPUT hold for it', async () => {
    const [a] = lab.spaces(1)
    const rules = join(scratch, 'input.rules')
    writeFileSync(
      rules,
      '*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -i lan -p udp -m udp --dport 67 -j DROP\nCOMMIT\n',
    )
    const lan = { switch: 'lan', addresses: ['10.10.0.1/24'], dhcp: { leases: leasesFile() } }
    const fabric = await open({
      switches: { lan: { ports: { a: tap(a) } } },
      routers: { edge: { interfaces: { lan }, rules } },
    })
    expect((await udhcpc(a, '-t', '1', '-T', '1')).code).not.toBe(0)
    expect(fabric.rules().find((line) => line.includes('--dport 67'))).toMatch(/^\[[1-9]/)
  })

  it.skipIf(!has('dhclient'))('dhclient: classless routes, release', async () => {
    const [a] = lab.spaces(1)
    const fabric = await open({
      switches: { lan: { ports: { a: tap(a) } } },
      routers: {
        edge: {
          interfaces: {
            lan: {
              switch: 'lan',
              addresses: ['10.10.0.1/24'],
              dhcp: {
                pool: ['10.10.0.100', '10.10.0.110-10.10.0.120'],
                routes: [{ to: '192.0.2.0/25', via: '10.10.0.9' }],
                leases: leasesFile(),
              },
            },
          },
        },
      },
    })
    const conf = join(scratch, 'dhclient.conf')
    writeFileSync(
      conf,
      'option classless code 121 = array of unsigned integer 8;\nrequest subnet-mask, routers, classless, interface-mtu;\ntimeout 15;\n',
    )
    const told = join(scratch, 'dhclient.sh')
    writeFileSync(
      told,
      `#!/bin/sh\nenv > ${said}.dhclient\n[ -z "$new_ip_address" ] || ip addr replace $new_ip_address/24 dev $interface\n[ "$reason" != PREINIT ] || ip link set $interface up\n`,
    )
    chmodSync(told, 0o755)
    const files = [
      '-cf',
      conf,
      '-sf',
      told,
      '-lf',
      join(scratch, 'dhclient.leases'),
      '-pf',
      join(scratch, 'dhclient.pid'),
    ]
    expect(await lab.in(a, 'dhclient', '-4', '-1', ...files, 'eth0')).toMatchObject({ code: 0 })
    const env = readFileSync(`${said}.dhclient`, 'utf8')
    expect(env).toMatch(/^reason=BOUND$/m)
    expect(env).toMatch(/^new_classless=25 192 0 2 0 10 10 0 9 0 10 10 0 1$/m)
    expect(env).not.toMatch(/^new_routers=/m)
    expect(fabric.leases()).toHaveLength(1)
    expect(await lab.in(a, 'dhclient', '-4', '-r', ...files, 'eth0')).toMatchObject({ code: 0 })
    expect(await until(() => fabric.leases().length === 0)).toBe(true)
  })
})

describe.skipIf(lacking)(`router advertisements${lacking ? ` (skipped: ${lacking})` : ''}`, () => {
  const accepting = (netns: string): void => {
    lab.run(netns, 'sysctl', '-q', '-w', 'net.ipv6.conf.default.accept_ra=1', 'net.ipv6.conf.all.accept_ra=1')
    lab.run(
      netns,
      'sysctl',
      '-q',
      '-w',
      'net.ipv6.conf.default.forwarding=0',
      'net.ipv6.conf.all.forwarding=0',
    )
  }
  const global6 = (netns: string): string =>
    /inet6 (fd[0-9a-f:]+)\/64 .*(?:mngtmpaddr|dynamic)/.exec(
      lab.ip(netns, '-6 addr show dev eth0 -tentative'),
    )?.[1] ?? ''

  it('the kernel makes itself an address and a default route; without the router it is gone', async () => {
    const [a, b] = lab.spaces(2, { ipv6: true })
    accepting(a)
    accepting(b)
    const config = (advertise: object | undefined) => ({
      switches: { lan: { ports: { a: { ...tap(a), vlan: { access: 10 } } } } },
      routers: {
        edge: {
          interfaces: {
            lan: { switch: 'lan', vlan: 10, addresses: ['fd00:10::1/64'], mtu: 1400, advertise },
            dev: { ...tap(b), addresses: ['fd00:11::1/64'], advertise: { managed: true, lifetime: '20m' } },
          },
        },
      },
    })
    const fabric = await open(config({ search: ['lab.example'], dns: ['fd00:10::1'] }))
    expect(await until(() => global6(a) !== '' && global6(b) !== '')).toBe(true)
    expect(global6(a)).toMatch(/^fd00:10::/)
    expect(lab.ip(a, '-6 route show')).toMatch(/default via fe80:\S+ dev eth0 proto ra/)
    expect(lab.ip(a, '-6 route show default')).toMatch(/mtu 1400|hoplimit 64/)
    expect(readFileOf(a, 'net/ipv6/conf/eth0/mtu')).toBe('1400')
    expect(await lab.ping(a, 'fd00:11::1', 2)).toBe(2)
    expect(await lab.ping(a, global6(b), 2)).toBe(2)

    await fabric.apply(checkConfigObject(config(undefined)))
    expect(await until(() => !lab.ip(a, '-6 route show').includes('default'))).toBe(true)
    await close(fabric)
    const t = fabric.status().totals
    expect(t.in + t.made).toBe(t.out + t.dropped + t.held + t.consumed)
  })

  it('a host that comes later asks, and is answered at once', async () => {
    const [a] = lab.spaces(1, { ipv6: true })
    accepting(a)
    const fabric = await open({
      switches: { lan: { ports: { a: tap(a) } } },
      routers: {
        edge: { interfaces: { lan: { switch: 'lan', addresses: ['fd00:10::1/64'], advertise: {} } } },
      },
    })
    expect(await until(() => global6(a) !== '')).toBe(true)
    lab.ip(a, 'link set eth0 down')
    expect(global6(a)).toBe('')
    lab.ip(a, 'link set eth0 up')
    expect(await until(() => global6(a) !== '')).toBe(true)
    await close(fabric)
  })

  it('on a TUN: the default route, without MAC addresses', async () => {
    const [a] = lab.spaces(1, { ipv6: true })
    accepting(a)
    await open({
      routers: {
        edge: {
          interfaces: {
            tun: {
              tun: { name: 'eth0', netns: a },
              addresses: ['fd00:10::1/64'],
              advertise: { maxInterval: 4 },
            },
          },
        },
      },
    })
    expect(await until(() => lab.ip(a, '-6 route show').includes('default via fe80:'))).toBe(true)
  })

  const readFileOf = (netns: string, name: string): string =>
    lab.run(netns, 'cat', `/proc/sys/${name}`).trim()
})
