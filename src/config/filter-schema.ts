/**
 * The keys of a router that are about its rules' surroundings: sets that rules look into, where NFLOG goes, how
 * connections are tracked. Sizes and times of conntrack have the names of the kernel's sysctls.
 *
 *     sets          sets written out here        setFiles   files as `ipset save` writes them
 *     nflog         a pcapng file per group      conntrack  limits and timeouts
 */
import { z } from 'zod'
import { MAX_CAPACITY } from '../filter/conntrack/layout.ts'
import { MAX_TIMEOUT_S, type TimeoutName } from '../filter/conntrack/timeouts.ts'
import { SET_TYPES } from '../filter/ipset.ts'
import { flag, list, mapping, named } from './shape.ts'
import { durationMs, integer, leaf, oneOf, text, Wrong } from './value.ts'

const SET_NAME = {
  pattern: /^[^\s",]{1,31}$/,
  error: 'a name of 1 to 31 characters without blanks, quotes and commas (rules name it)',
}

function readElement(found: unknown): string {
  if (typeof found === 'string' && found !== '') return found
  if (typeof found === 'number') return String(found)
  throw new Wrong('an element such as 10.0.0.0/8')
}
const elements = list(leaf(readElement, { type: ['string', 'number'] }), 'a list of elements')

const inlineSet = z
  .preprocess(
    (found) => (Array.isArray(found) ? { elements: found } : found),
    mapping(
      {
        type: oneOf(...SET_TYPES)
          .default('hash:net')
          .describe('As ipset has them'),
        family: oneOf('inet', 'inet6').optional().describe('inet6: IPv6; default: that of the first element'),
        timeout: integer(0, 2_147_483, 'seconds')
          .optional()
          .describe('Elements are there for so long; 0 = for ever, unless they say otherwise'),
        counters: flag.default(false).describe('Count packets and bytes for each element'),
        elements: elements.describe("As `ipset add` takes them: '10.0.0.1 timeout 60'"),
      },
      'a list of elements, or a mapping of type, elements, ...',
    ),
  )
  .meta({ type: ['array', 'object'] })
export const sets = named(inlineSet, 'a mapping of sets', SET_NAME)
  .default({})
  .describe('For -m set, by name: a list of networks, or more about it')

const GROUP = {
  pattern: /^(?:0|[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$/,
  error: 'a group from 0 to 65535 (--nflog-group)',
}
export const nflog = named(
  mapping({
    file: text('the name of a file').describe('A pcapng file that is begun, or gone on with'),
    maxBytes: integer(4096, Number.MAX_SAFE_INTEGER, 'bytes')
      .default(2 ** 30)
      .describe('It grows no further'),
  }),
  'a mapping of NFLOG groups',
  GROUP,
)
  .default({})
  .describe('Where packets of -j NFLOG go; a group that is not here makes lines of the log')

/** A time in seconds, which may be written '5d'. */
function readTimeout(found: unknown): number {
  const seconds = durationMs(found, 1000) / 1000
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= MAX_TIMEOUT_S) return seconds
  throw new Wrong(`a time from 1s to ${MAX_TIMEOUT_S}s, such as 300 or 5m`)
}
const timeout = leaf(readTimeout, { type: ['integer', 'string'] }).optional()

/** Names of sysctls, without `net.netfilter.`. */
export const SYSCTL_TIMEOUTS: Readonly<Record<string, TimeoutName>> = {
  nf_conntrack_tcp_timeout_syn_sent: 'tcpSynSent',
  nf_conntrack_tcp_timeout_syn_recv: 'tcpSynRecv',
  nf_conntrack_tcp_timeout_established: 'tcpEstablished',
  nf_conntrack_tcp_timeout_fin_wait: 'tcpFinWait',
  nf_conntrack_tcp_timeout_close_wait: 'tcpCloseWait',
  nf_conntrack_tcp_timeout_last_ack: 'tcpLastAck',
  nf_conntrack_tcp_timeout_time_wait: 'tcpTimeWait',
  nf_conntrack_tcp_timeout_close: 'tcpClose',
  nf_conntrack_tcp_timeout_max_retrans: 'tcpRetrans',
  nf_conntrack_tcp_timeout_unacknowledged: 'tcpUnacked',
  nf_conntrack_udp_timeout: 'udp',
  nf_conntrack_udp_timeout_stream: 'udpStream',
  nf_conntrack_icmp_timeout: 'icmp',
  nf_conntrack_generic_timeout: 'generic',
  nf_conntrack_gre_timeout: 'gre',
  nf_conntrack_gre_timeout_stream: 'greStream',
}

export const conntrack = mapping({
  max: integer(1, MAX_CAPACITY, 'connections')
    .default(1048576)
    .describe('Connections in all; above the default it can grow only by a restart'),
  perSource: integer(0, MAX_CAPACITY, 'connections')
    .default(0)
    .describe('Connections that one source may begin (an IPv4 address, an IPv6 /64); 0 = only max'),
  timeouts: mapping(Object.fromEntries(Object.keys(SYSCTL_TIMEOUTS).map((name) => [name, timeout])))
    .default({})
    .describe("Seconds, or '5d', instead of the profile's; names are those of sysctl net.netfilter"),
  loose: flag.default(true).describe('Take up TCP connections whose beginning was not seen'),
  liberal: flag.default(false).describe('Of TCP, only resets must be in the window'),
  maxRetrans: integer(1, 15, 'retransmissions')
    .default(3)
    .describe('Without an answer; then nf_conntrack_tcp_timeout_max_retrans counts'),
  filtering: oneOf('endpoint-independent', 'address-dependent', 'address-and-port-dependent')
    .default('endpoint-independent')
    .describe('In profile rfc: who may speak to a port that NAT maps (RFC 4787 section 5)'),
  inboundRefresh: flag
    .optional()
    .describe(
      'Packets from outside, too, keep a UDP mapping alive (RFC 4787 REQ-6); default: in profile linux true, in rfc false',
    ),
})
  .prefault({})
  .describe('How connections are tracked')
