/** The options of conntrack(8), as text. */
import { expect, test } from 'vitest'
import { Status } from '../../../src/filter/conntrack/layout.ts'
import { asksForAll, type ConntrackQuery, filterOf } from '../../../src/filter/conntrack/query.ts'

const given = (query: ConntrackQuery): object =>
  Object.fromEntries(Object.entries(filterOf(query)).filter(([, v]) => v !== undefined && v !== 0))

test.each<[ConntrackQuery, object]>([
  [{}, {}],
  [
    { family: 'ipv6', proto: 'ipv6-icmp' },
    { family: 6, protocol: 58 },
  ],
  [
    { family: 'inet', proto: '47' },
    { family: 4, protocol: 47 },
  ],
  [
    { src: '10.1.0.0/16', dst: 'fd00::1' },
    { src: { address: [0x0a010000], prefix: 16 }, dst: { address: [0xfd000000, 0, 0, 1] } },
  ],
  [
    { replySrc: '10.0.0.1', replyDst: '10.0.0.2/0' },
    { replySrc: { address: [0x0a000001] }, replyDst: { address: [0x0a000002], prefix: 0 } },
  ],
  [
    { sport: 1, dport: '65535', replySport: '2', replyDport: '3' },
    { sport: 1, dport: 65535, replySport: 2, replyDport: 3 },
  ],
  [{ state: 'time_wait' }, { state: 'TIME_WAIT' }],
  [
    { mark: '0x10/0xff', zone: '9' },
    { mark: { value: 16, mask: 255 }, zone: 9 },
  ],
  [{ status: 'ASSURED,SEEN_REPLY' }, { status: Status.Assured | Status.SeenReply }],
  [
    { status: 'unset', srcNat: true, dstNat: false },
    { status: Status.SrcNat, statusNot: Status.Assured | Status.SeenReply },
  ],
])('%j', (query, filter) => {
  expect(given(query)).toEqual(filter)
})

test.each<[ConntrackQuery, string]>([
  [{ family: 'ipv5' }, "unknown family 'ipv5'"],
  [{ proto: 'tpc' }, "unknown protocol 'tpc'"],
  [{ src: 'host.example' }, "'host.example' is not an address or a network"],
  [{ src: '10.0.0.1/33' }, "'33' is not a prefix length from 0 to 32"],
  [{ src: 'fd00::/129' }, "'129' is not a prefix length from 0 to 128"],
  [{ dst: '10.0.0.0/8/8' }, "'10.0.0.0/8/8' is not an address or a network"],
  [{ dport: '65536' }, "'65536' is not a port from 0 to 65535"],
  [{ state: 'OPEN' }, "unknown state 'OPEN'"],
  [{ status: 'CONFIRMED' }, "unknown status 'CONFIRMED'"],
  [{ mark: '1/2/3' }, "'1/2/3' is not value[/mask]"],
  [{ zone: 'x' }, "'x' is not a zone from 0 to 65535"],
])('%j is refused', (query, says) => {
  expect(() => filterOf(query)).toThrow(says)
})

test('what asks for all', () => {
  expect([asksForAll({}), asksForAll({ srcNat: false }), asksForAll({ zone: 0 })]).toEqual([
    true,
    true,
    false,
  ])
})
