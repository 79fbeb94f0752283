/** Targets of table nat: SNAT, DNAT, MASQUERADE, REDIRECT, NETMAP. */
import { Wrong } from '../error.ts'
import { readAddressRange } from '../matches/memory.ts'
import { type Family, HOOK, type Rule } from '../model.ts'
import { type Extension, flag, type OptionSpec, only, option, type Place, words } from '../option.ts'
import { prefixOf, printAddress, printNetwork, printRange, readNetwork, readPort } from '../value.ts'
import type { NatTarget, NetmapTarget } from './model.ts'

type Kind = NatTarget['kind']

const WHERE: Readonly<Record<Kind, readonly [hooks: number, text: string]>> = {
  SNAT: [HOOK.POSTROUTING | HOOK.INPUT, 'POSTROUTING, INPUT'],
  DNAT: [HOOK.PREROUTING | HOOK.OUTPUT, 'PREROUTING, OUTPUT'],
  MASQUERADE: [HOOK.POSTROUTING, 'POSTROUTING'],
  REDIRECT: [HOOK.PREROUTING | HOOK.OUTPUT, 'PREROUTING, OUTPUT'],
}

/** TCP, UDP, DCCP, SCTP, UDP-Lite; the identifier of ICMP and ICMPv6 echo counts as a port. */
const WITH_PORTS = [6, 17, 33, 132, 136, 1, 58]

/** As iptables, which looks at the number only: `! -p tcp` passes too. */
function mayHavePorts(rule: Rule): boolean {
  return rule.protocol !== null && WITH_PORTS.includes(rule.protocol.number)
}

/** 'port' or 'first-last'. */
function readPorts(text: string): NonNullable<NatTarget['ports']> {
  const dash = namedPort(text) ? -1 : text.indexOf('-')
  const min = readPort(dash < 0 ? text : text.slice(0, dash))
  const max = dash < 0 ? min : readPort(text.slice(dash + 1))
  if (min > max) throw new Wrong(`the port range '${text}' ends before it begins`)
  return { min, max }
}

/** Service names have dashes too. */
function namedPort(text: string): boolean {
  return /^[a-z]/i.test(text)
}

interface Destination {
  addresses: NatTarget['addresses']
  ports: NatTarget['ports']
  basePort: number | null
}

/** [address[-address]][:ports[/base]]; an IPv6 address before ports stands in brackets. */
function readDestination(text: string, family: Family, allowBase: boolean): Destination {
  const parts =
    family === 4
      ? /^([^:]*)(?::(.*))?$/.exec(text)
      : (/^\[([^\]]*)\](?::(.*))?$/.exec(text) ?? /^()(?::([^:]+))$/.exec(text) ?? /^([^[\]]+)$/.exec(text))
  if (!parts || text === '') throw new Wrong(`'${text}' is not [address[-address]][:port[-port]]`)
  const [, address, portText] = parts
  const [ports, base, more] = portText === undefined ? [undefined, undefined] : portText.split('/')
  if (more !== undefined || (base !== undefined && !allowBase)) throw new Wrong(`unexpected '/' in '${text}'`)
  const range = ports === undefined ? null : readPorts(ports)
  if (base !== undefined && range!.min === range!.max)
    throw new Wrong(`a base port needs a range of ports before it: '${text}'`)
  return {
    addresses: address === '' ? null : readAddressRange(address, family),
    ports: range,
    basePort: base === undefined ? null : readPort(base),
  }
}

function printDestination({ addresses, ports, basePort }: NatTarget): string {
  let text = ''
  if (addresses) {
    const { first, last } = addresses
    const same = first.every((word, at) => word === last[at])
    text = same ? printAddress(first) : `${printAddress(first)}-${printAddress(last)}`
    if (ports && first.length > 1) text = `[${text}]`
  }
  if (!ports) return text
  return `${text}:${printRange(ports, '-')}${basePort === null ? '' : `/${basePort}`}`
}

function nat(kind: Kind, name: string, flags: readonly OptionSpec[]): Extension<NatTarget> {
  const toAddress = kind === 'SNAT' || kind === 'DNAT'
  return {
    name: kind,
    options: [option('to', name), ...flags],
    build: (options, family) => {
      const to: Destination = toAddress
        ? readDestination(options.need('to', name), family, kind === 'DNAT')
        : { addresses: null, ports: options.maybe('to', readPorts), basePort: null }
      return {
        kind,
        ...to,
        random: options.has('random'),
        randomFully: options.has('fully'),
        persistent: options.has('persistent'),
      }
    },
    print: (target) =>
      words(
        toAddress
          ? `${name} ${printDestination(target)}`
          : target.ports && `${name} ${printRange(target.ports, '-')}`,
        target.random && '--random',
        target.randomFully && '--random-fully',
        target.persistent && '--persistent',
      ),
    check: (target, place: Place) => {
      if (target.ports && !mayHavePorts(place.rule))
        return `${kind} with ports needs a protocol that has ports in the same rule, such as -p tcp`
      return only(place, `target ${kind}`, ['nat'], ...WHERE[kind])
    },
  }
}

const RANDOM = flag('random', '--random')
const FULLY = flag('fully', '--random-fully')
const PERSISTENT = flag('persistent', '--persistent')

export const snat = nat('SNAT', '--to-source', [RANDOM, FULLY, PERSISTENT])
export const dnat = nat('DNAT', '--to-destination', [RANDOM, PERSISTENT])
export const masquerade = nat('MASQUERADE', '--to-ports', [RANDOM, FULLY])
export const redirect = nat('REDIRECT', '--to-ports', [RANDOM])

export const netmap: Extension<NetmapTarget> = {
  name: 'NETMAP',
  options: [option('to', '--to')],
  build: (options, family) => {
    const text = options.need('to', '--to')
    const to = readNetwork(text, family)
    if (prefixOf(to.mask) < 0) throw new Wrong(`the mask in '${text}' is not a prefix`)
    return { kind: 'NETMAP', to }
  },
  print: ({ to }) => `--to ${printNetwork(to)}`,
  check: (_, place) => {
    const hooks = HOOK.PREROUTING | HOOK.INPUT | HOOK.OUTPUT | HOOK.POSTROUTING
    return only(place, 'target NETMAP', ['nat'], hooks, 'PREROUTING, INPUT, OUTPUT, POSTROUTING')
  },
}
