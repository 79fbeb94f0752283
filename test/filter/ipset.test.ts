/** Sets: the text of `ipset save`, ranges written out, inline sets, and what is refused. */
import { describe, expect, it } from 'vitest'
import { RuleError } from '../../src/filter/error.ts'
import { makeSets, parseSets, printSets } from '../../src/filter/ipset.ts'
import { fixture } from './support.ts'

/** The elements of one set as printed. */
function elements(type: string, ...added: string[]): string[] {
  const text = [`create s ${type}`, ...added.map((element) => `add s ${element}`)].join('\n')
  return printSets(parseSets(text))
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => line.slice('add s '.length))
}

function problem(text: string): string {
  try {
    parseSets(text)
  } catch (error) {
    if (error instanceof RuleError)
      return error.problems.map(({ line, message }) => `${line}: ${message}`).join('; ')
    throw error
  }
  return 'no problem'
}

describe('ipset save', () => {
  it('comes out as it went in', () => {
    const text = fixture('sets.ipset')
    expect(printSets(parseSets(text))).toBe(text)
  })

  it('fills in what ipset would', () => {
    const [set] = parseSets('create s hash:ip').values()
    expect(set).toMatchObject({
      family: 4,
      hashSize: 1024,
      maxElements: 65536,
      timeoutS: null,
      counters: false,
      elements: [],
    })
  })

  it.each([
    ['hash:ip', ['10.0.0.1'], ['10.0.0.1']],
    ['hash:ip', ['10.0.0.4-10.0.0.6'], ['10.0.0.4', '10.0.0.5', '10.0.0.6']],
    ['hash:ip', ['10.0.1.2/30'], ['10.0.1.0', '10.0.1.1', '10.0.1.2', '10.0.1.3']],
    ['hash:ip netmask 24', ['10.0.0.5'], ['10.0.0.0']],
    ['hash:ip netmask 24', ['10.0.0.0/23'], ['10.0.0.0', '10.0.1.0']],
    ['hash:ip family inet6', ['FD00::1'], ['fd00::1']],
    ['hash:net', ['10.0.0.5/24', '10.0.0.7 nomatch'], ['10.0.0.0/24', '10.0.0.7 nomatch']],
    ['hash:net', ['10.1.0.0-10.1.0.255'], ['10.1.0.0/24']],
    ['hash:net', ['10.0.0.1-10.0.0.6'], ['10.0.0.1', '10.0.0.2/31', '10.0.0.4/31', '10.0.0.6']],
    ['hash:net', ['255.255.255.254-255.255.255.255'], ['255.255.255.254/31']],
    ['hash:net family inet6', ['fd00::5/64'], ['fd00::/64']],
    ['hash:ip,port', ['10.0.0.1,80'], ['10.0.0.1,tcp:80']],
    ['hash:ip,port', ['10.0.0.1,tcp:80-82'], ['10.0.0.1,tcp:80', '10.0.0.1,tcp:81', '10.0.0.1,tcp:82']],
    [
      'hash:ip,port',
      ['10.0.0.1,icmp:3/4', '10.0.0.1,47:0', '10.0.0.1,sctp:5'],
      ['10.0.0.1,icmp:fragmentation-needed', '10.0.0.1,gre:0', '10.0.0.1,sctp:5'],
    ],
    ['hash:net,port', ['10.0.0.0/8,udp:53'], ['10.0.0.0/8,udp:53']],
    ['hash:ip,port,ip', ['10.0.0.1,80,10.0.0.2'], ['10.0.0.1,tcp:80,10.0.0.2']],
    ['hash:ip,port,net', ['10.0.0.1,80,10.0.0.9/8'], ['10.0.0.1,tcp:80,10.0.0.0/8']],
    ['hash:mac', ['02:00:00:00:00:aa'], ['02:00:00:00:00:AA']],
    ['bitmap:port range 0-1023', ['tcp:22', '100-102', 'https'], ['22', '100', '101', '102', '443']],
    [
      'hash:ip timeout 60 counters comment',
      ['1.2.3.4 timeout 5 packets 1 bytes 2 comment "a b"'],
      ['1.2.3.4 timeout 5 packets 1 bytes 2 comment "a b"'],
    ],
    ['hash:ip timeout 60', ['1.2.3.4'], ['1.2.3.4 timeout 60']],
  ])('%s: %j', (type, added, expected) => expect(elements(type, ...added)).toEqual(expected))

  it.each([
    ['create s hash:net,iface', "1: unknown set type 'hash:net,iface'"],
    ['create s hash:ip\ncreate s hash:ip', "2: set 's' is created twice"],
    ['create s hash:ip skbinfo', "1: unknown option 'skbinfo'"],
    ['create s hash:ip maxelem', "1: option 'maxelem' needs an argument"],
    ['create s bitmap:port', '1: bitmap:port: '],
    ['add s 10.0.0.1', "1: there is no set 's' before this line"],
    ['create s hash:ip\nadd s fd00::1', '2: '],
    ['create s hash:ip\nadd s 10.0.0.1 timeout 5', "2: unknown option 'timeout'"],
    ['create s hash:ip\nadd s 10.0.0.1\nadd s 10.0.0.1', "3: 10.0.0.1 is already in set 's'"],
    ['create s hash:ip maxelem 2\nadd s 10.0.0.1-10.0.0.3', "2: set 's' is full"],
    ['create s hash:ip\nadd s 10.0.0.0/8', '2: '],
    ['create s hash:net\nadd s 0.0.0.0/0', "2: '0' is not a prefix length"],
    ['create s hash:ip,port,ip\nadd s 10.0.0.0/20,1-60000,10.0.0.0/20', '2: '],
    ['create s hash:ip,port\nadd s 10.0.0.1', "2: '10.0.0.1' is not ip,port"],
    ['create s hash:ip,port\nadd s 10.0.0.1,gre:5', '2: gre has no ports'],
    ['create s bitmap:port range 0-100\nadd s 101', "2: port 101 is not in the set's range"],
    ['create l list:set\nadd l s', "2: there is no set 's'"],
    ['create l list:set\ncreate m list:set\nadd l m', "3: 'm' is a list:set"],
    ['destroy s', "1: unexpected 'destroy'"],
  ])('refuses %j', (text, expected) => expect(problem(text)).toContain(expected))

  it('takes inline sets of a configuration', () => {
    const sets = makeSets({
      blocked: { type: 'hash:net', elements: ['198.51.100.0/24', '198.51.100.7 nomatch'] },
      six: { type: 'hash:ip', family: 6, elements: ['fd00::1'] },
    })
    expect(printSets(sets)).toBe(
      'create blocked hash:net family inet hashsize 1024 maxelem 65536\nadd blocked 198.51.100.0/24\nadd blocked 198.51.100.7 nomatch\n' +
        'create six hash:ip family inet6 hashsize 1024 maxelem 65536\nadd six fd00::1\n',
    )
    expect(() => makeSets({ s: { type: 'hash:ip', elements: ['10.0.0.1', 'x'] } })).toThrow(
      /rules:2: 'x' is not an IPv4 address/,
    )
  })
})
