/**
 * How long an entry is remembered, by protocol and state: two profiles, and what an operator overrides.
 *
 *     seconds           linux    rfc                                       why, in the rfc profile
 *     tcpSynSent          120    240    transitory                         RFC 5382 REQ-5: 4 min or more
 *     tcpSynRecv           60    240    transitory, partially open         RFC 7857 2.1
 *     tcpEstablished   432000   7440    idle                               RFC 5382 REQ-5: 2 h 4 min or more
 *     tcpFinWait          120    240    transitory, closing                RFC 7857 2.1
 *     tcpCloseWait         60    240
 *     tcpLastAck           30    240
 *     tcpTimeWait         120    240
 *     tcpClose             10    240    after a RST                        RFC 7857 2.2
 *     tcpSynSent2         120    240    simultaneous open
 *     tcpRetrans          300    300    3 retransmissions without answer, or a window of 0
 *     tcpUnacked          300    300    data that nobody acknowledges
 *     udp                  30    300    one direction only                 RFC 4787 REQ-5: 300 recommended
 *     udpStream           120    300    both, after 2 s
 *     icmp                 30     60                                       RFC 5508 REQ-2
 *     generic             600    600    all other protocols
 *     gre                  30    600    one direction only
 *     greStream           180    600    answered
 *
 * linux: net/netfilter of Linux 6.x (nf_conntrack_*_timeout). States are the kernel's numbers, so that a
 * state is an index here.
 */
export const enum Timeout {
  /** Never used as a timeout. */
  TcpNone = 0,
  TcpSynSent = 1,
  TcpSynRecv = 2,
  TcpEstablished = 3,
  TcpFinWait = 4,
  TcpCloseWait = 5,
  TcpLastAck = 6,
  TcpTimeWait = 7,
  TcpClose = 8,
  TcpSynSent2 = 9,
  TcpRetrans = 10,
  TcpUnacked = 11,
  Udp = 12,
  UdpStream = 13,
  Icmp = 14,
  Generic = 15,
  Gre = 16,
  GreStream = 17,
  Count = 18,
}

export const TIMEOUT_NAMES = [
  'tcpNone',
  'tcpSynSent',
  'tcpSynRecv',
  'tcpEstablished',
  'tcpFinWait',
  'tcpCloseWait',
  'tcpLastAck',
  'tcpTimeWait',
  'tcpClose',
  'tcpSynSent2',
  'tcpRetrans',
  'tcpUnacked',
  'udp',
  'udpStream',
  'icmp',
  'generic',
  'gre',
  'greStream',
] as const

export type TimeoutName = Exclude<(typeof TIMEOUT_NAMES)[number], 'tcpNone'>
export type Profile = 'linux' | 'rfc'
/** Seconds. */
export type Timeouts = Record<TimeoutName, number>

export const PROFILES: Readonly<Record<Profile, Readonly<Timeouts>>> = {
  linux: {
    tcpSynSent: 120,
    tcpSynRecv: 60,
    tcpEstablished: 432000,
    tcpFinWait: 120,
    tcpCloseWait: 60,
    tcpLastAck: 30,
    tcpTimeWait: 120,
    tcpClose: 10,
    tcpSynSent2: 120,
    tcpRetrans: 300,
    tcpUnacked: 300,
    udp: 30,
    udpStream: 120,
    icmp: 30,
    generic: 600,
    gre: 30,
    greStream: 180,
  },
  rfc: {
    tcpSynSent: 240,
    tcpSynRecv: 240,
    tcpEstablished: 7440,
    tcpFinWait: 240,
    tcpCloseWait: 240,
    tcpLastAck: 240,
    tcpTimeWait: 240,
    tcpClose: 240,
    tcpSynSent2: 240,
    tcpRetrans: 300,
    tcpUnacked: 300,
    udp: 300,
    udpStream: 300,
    icmp: 60,
    generic: 600,
    gre: 600,
    greStream: 600,
  },
}

/** Times wrap after 2^32 ms and are compared by their difference, so none may reach half of that. */
export const MAX_TIMEOUT_S = 1_000_000

/** Milliseconds, indexed by Timeout. Throws a RangeError for an override that is not 1 to MAX_TIMEOUT_S. */
export function timeoutsOf(profile: Profile, overrides: Partial<Timeouts> = {}): Int32Array {
  const all: Timeouts = { ...PROFILES[profile], ...overrides }
  const ms = new Int32Array(Timeout.Count)
  TIMEOUT_NAMES.forEach((name, i) => {
    if (name === 'tcpNone') return
    const seconds = all[name]
    if (!(seconds >= 1 && seconds <= MAX_TIMEOUT_S))
      throw new RangeError(`timeout ${name} is 1 to ${MAX_TIMEOUT_S} seconds, not ${seconds}`)
    ms[i] = Math.round(seconds * 1000)
  })
  return ms
}
