/** Long lists as JSON. */
import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'

export function sendRows(reply: FastifyReply, rows: object[]): FastifyReply {
  return reply.type('application/json; charset=utf-8').send(Readable.from(jsonRows(rows)))
}

const ROWS_PER_CHUNK = 2000

/** A large table as JSON in pieces, so that a million addresses never are one string. */
function* jsonRows(rows: object[]): Generator<string> {
  yield '['
  for (let from = 0; from < rows.length; from += ROWS_PER_CHUNK) {
    const text = JSON.stringify(rows.slice(from, from + ROWS_PER_CHUNK)).slice(1, -1)
    yield from === 0 ? text : `,${text}`
  }
  yield ']'
}
