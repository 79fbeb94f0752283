/**
 * Sites joined by tunnels, for tests: each has a host (the machine its VTEP is on), and an inside, a namespace
 * with a TAP. Hosts are on one Ethernet, a kernel bridge in a namespace of its own, or on two with a router
 * between.
 */
import { expect } from 'vitest'
import type { TunnelRow } from '../../src/control/show/model.ts'
import { type Fabric, type FabricOptions, openFabric } from '../../src/index.ts'
import { Lab } from './lab.ts'

export interface SiteOptions {
  vxlan?: object
  vtep?: object
  tap?: object
  port?: object
  /** Beside `h` and `t`. */
  ports?: Record<string, object>
  more?: object
}

export class Site {
  readonly host: string
  readonly inside: string
  readonly local: string
  readonly config: object
  fabric!: Fabric

  constructor(host: string, inside: string, local: string, config: object) {
    this.host = host
    this.inside = inside
    this.local = local
    this.config = config
  }

  tunnel(remote: string): TunnelRow {
    const found = this.fabric.tunnelRows().find((row) => row.remote === remote)
    expect(found, `${remote} among ${this.fabric.tunnelRows().map((r) => r.remote)}`).toBeDefined()
    return found!
  }

  /** Which remote an address is behind. */
  behind(mac: string): string | null | undefined {
    return this.fabric.fdb().find((row) => row.mac === mac)?.remote
  }

  sent(port = 'h'): number {
    return this.fabric.counters().find((row) => row.port === port)!.txPackets
  }

  dropped(reason: string): number {
    const drops = this.fabric
      .tunnelRows()
      .map((row) => (row.drops as unknown as Record<string, number>)[reason] ?? 0)
    return drops.reduce((sum, n) => sum + n, 0)
  }
}

export class Sites extends Lab {
  private readonly fabrics: Fabric[] = []
  private wires = 0

  /** Hosts on one Ethernet, with 192.0.2.N and 2001:db8::N on u0. */
  hosts(count: number, mtu = 1500): string[] {
    const wan = this.spaces(1)[0]
    this.ip(wan, `link add br0 mtu ${mtu} type bridge`)
    this.ip(wan, 'link set br0 up')
    return Array.from({ length: count }, (_, i) => {
      const host = this.join(wan, `192.0.2.${i + 1}/24`, `2001:db8::${i + 1}/64`, mtu)
      this.ip(wan, `link set w${this.wires} master br0`)
      return host
    })
  }

  /** A new host with a wire to `wan`, whose end there is `w<n>`. */
  private join(wan: string, v4: string, v6: string, mtu: number): string {
    const [host] = this.spaces(1, { ipv6: true })
    const end = `w${++this.wires}`
    this.ip(wan, `link add ${end} mtu ${mtu} type veth peer name u0 mtu ${mtu} netns ${host}`)
    this.ip(wan, `link set ${end} up`)
    this.ip(host, 'link set u0 up')
    this.ip(host, `addr add ${v4} dev u0`)
    this.ip(host, `addr add ${v6} dev u0 nodad`)
    return host
  }

  /** Two hosts with a router between: 192.0.2.1 and 198.51.100.1. `narrow` changes the second link's MTU. */
  routed(): { hosts: [string, string]; router: string; narrow(mtu: number): void; mute(): void } {
    const [router] = this.spaces(1, { ipv6: true })
    const a = this.join(router, '192.0.2.1/24', '2001:db8:1::1/64', 1500)
    const near = `w${this.wires}`
    const b = this.join(router, '198.51.100.1/24', '2001:db8:2::1/64', 1500)
    const far = `w${this.wires}`
    this.run(router, 'sysctl', '-q', '-w', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
    this.ip(router, `addr add 192.0.2.254/24 dev ${near}`)
    this.ip(router, `addr add 198.51.100.254/24 dev ${far}`)
    this.ip(router, `addr add 2001:db8:1::fe/64 dev ${near} nodad`)
    this.ip(router, `addr add 2001:db8:2::fe/64 dev ${far} nodad`)
    this.ip(a, 'route add default via 192.0.2.254')
    this.ip(b, 'route add default via 198.51.100.254')
    this.ip(a, '-6 route add default via 2001:db8:1::fe')
    this.ip(b, '-6 route add default via 2001:db8:2::fe')
    return {
      hosts: [a, b],
      router,
      narrow: (mtu) => {
        this.ip(router, `link set ${far} mtu ${mtu}`)
      },
      // A router that says nothing: what is too long vanishes.
      mute: () => {
        const rule = ['OUTPUT', '-p', 'icmp', '--icmp-type', 'fragmentation-needed', '-j', 'DROP']
        this.run(router, 'iptables', '-A', ...rule)
      },
    }
  }

  /** Describes the site of a host; `open` starts it. Inside it is 10.9.0.`n` and fd09::`n`. */
  site(host: string, n: number, local: string, options: SiteOptions = {}): Site {
    const [inside] = this.spaces(1, { ipv6: options.tap !== undefined && 'v6' in options.tap })
    const { v6, ...tapKeys } = { v6: false, ...options.tap }
    const addresses = [`10.9.0.${n}/24`, ...(v6 ? [`fd09::${n}/64`] : [])]
    const tap = { name: 'eth0', netns: inside, mac: macOf(n), addresses, ...tapKeys }
    return new Site(host, inside, local, {
      switches: {
        lan: {
          ports: {
            h: { tap, ...options.port },
            t: { vxlan: { vtep: 'u', vni: 7, ...options.vxlan } },
            ...options.ports,
          },
        },
      },
      vteps: { u: { local, netns: host, probe: false, ...options.vtep } },
      ...options.more,
    })
  }

  async open(site: Site, options: FabricOptions = {}): Promise<Site> {
    site.fabric = await openFabric(site.config, options)
    this.fabrics.push(site.fabric)
    return site
  }

  private port = 5400

  /** Bytes that TCP took and moved from one namespace to an address of another. */
  async transfer(
    from: string,
    to: string,
    address: string,
    amount = '8M',
    during?: () => void,
  ): Promise<number> {
    const at = `${++this.port}`
    const server = this.start(to, 'iperf3', '-s', '-1', '--forceflush', '-p', at)
    await new Promise((resolve) => server.stdout?.once('data', resolve))
    const argv = ['iperf3', '-c', address, '-p', at, '-n', amount, '-C', 'cubic', '-J']
    const done = this.in(from, ...(argv as [string, ...string[]]))
    during?.()
    const { stdout } = await done
    return JSON.parse(stdout).end?.sum_sent?.bytes ?? 0
  }

  mtu(namespace: string, device = 'eth0'): number {
    return Number(/ mtu (\d+) /.exec(this.ip(namespace, `link show ${device}`))?.[1])
  }

  /** Ends the fabrics, then the namespaces they are in. */
  async end(): Promise<void> {
    for (const fabric of this.fabrics.splice(0)) await fabric.close()
    this.close()
  }
}

export const macOf = (n: number): string => `02:00:00:00:09:${n.toString(16).padStart(2, '0')}`
