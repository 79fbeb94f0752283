// HOT
/**
 * Everything but TCP: for how long an entry is remembered after a packet.
 *
 *     UDP, UDP-Lite   one direction: udp. Both, and 2 s have passed since the first: a stream, and assured
 *     ICMP, ICMPv6    a query begins an entry, its answer belongs to it: icmp
 *     GRE             one direction: gre. After an answer: greStream, and assured. Its keys are not looked at
 *     all others      generic; SCTP and DCCP have ports, but their states are not looked at
 *
 * ICMPv6 that belongs to the link (neighbour and router discovery, listener reports) is not tracked.
 */
import * as icmp from '../../wire/icmp.ts'
import * as icmpv6 from '../../wire/icmpv6.ts'
import { Protocol } from '../../wire/ipv4.ts'
import { Ent, EntAlso, Status } from './layout.ts'
import { Timeout } from './timeouts.ts'

/** Traffic in both directions for longer than this is no mere question and answer. */
const STREAM_AFTER_MS = 2000
const GRE = 47
const MLD_FIRST = 130
const NA = 136
const MLD2_REPORT = 143

/** The ICMP type can be the first packet of a flow. */
export function isQuery(proto: number, type: number): boolean {
  if (proto === Protocol.Icmpv6) return type === icmpv6.Icmpv6Type.Echo
  return (
    type === icmp.IcmpType.Echo ||
    type === icmp.IcmpType.Timestamp ||
    type === icmp.IcmpType.InformationRequest ||
    type === icmp.IcmpType.MaskRequest
  )
}

export function ofTheLink(type: number): boolean {
  return (type >= MLD_FIRST && type <= NA) || type === MLD2_REPORT
}

/** Milliseconds that the entry lives on after a packet. */
export function datagram(
  w: Int32Array,
  e: number,
  proto: number,
  timeouts: Int32Array,
  nowMs: number,
): number {
  if (proto === Protocol.Icmp || proto === Protocol.Icmpv6) return timeouts[Timeout.Icmp]
  const status = w[e + Ent.Status]
  if (proto === GRE) {
    if ((status & Status.SeenReply) === 0) return timeouts[Timeout.Gre]
    w[e + Ent.Status] = status | Status.Assured
    return timeouts[Timeout.GreStream]
  }
  if (proto !== Protocol.Udp && proto !== Protocol.UdpLite) return timeouts[Timeout.Generic]
  if ((status & Status.Confirmed) === 0) w[e + EntAlso.StreamMs] = nowMs + STREAM_AFTER_MS
  if ((status & Status.SeenReply) === 0) return timeouts[Timeout.Udp]
  if (((nowMs - w[e + EntAlso.StreamMs]) | 0) <= 0) return timeouts[Timeout.Udp]
  w[e + Ent.Status] = status | Status.Assured
  return timeouts[Timeout.UdpStream]
}
