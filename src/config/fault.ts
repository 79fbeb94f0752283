/** The key `fault`, of a port and of a router's interface: a bad line, for tests. */
import { mapping } from './shape.ts'
import * as value from './value.ts'
import { integer, leaf } from './value.ts'

const share = leaf(value.share, { type: ['number', 'string'] }).default(0)
const delay = leaf(value.delay, { type: ['number', 'string'] }).default(0)
const rates = mapping({
  loss: share.describe('Share of packets lost: 0.005 or 0.5%'),
  duplicate: share.describe('Share sent twice'),
  reorder: share.describe('Share that overtakes'),
  truncate: share.describe('Share cut short'),
  delay: delay.describe('Time every packet is held: 10ms'),
  jitter: delay.describe('Random time on top'),
}).transform(({ delay: delayMs, jitter: jitterMs, ...shares }) => ({ ...shares, delayMs, jitterMs }))

export const fault = mapping({
  seed: integer(0, 0xffffffff, 'a number').default(1).describe('The same seed makes the same faults'),
  rx: rates.optional().describe('To packets that come in by this port'),
  tx: rates.optional().describe('To packets that leave by it'),
}).describe('A bad line, for tests')
