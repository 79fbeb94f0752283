/** What requests to the control API may carry, for fastify (JSON Schema). */

export const BODY_LIMIT = 64 * 1024
export const NAME = { type: 'string', minLength: 1, maxLength: 255 }
const VLAN = { type: 'integer', minimum: 0, maximum: 4094 }
const FILTER = object({ switch: NAME, port: NAME, vlan: VLAN })
export const SCHEMAS = {
  fdb: { querystring: FILTER },
  none: { querystring: object({}) },
  drops: { querystring: object({ all: { type: 'boolean', default: false } }) },
  reload: { body: object({ file: { type: 'string', minLength: 1, maxLength: 4096 } }) },
  flush: { body: FILTER },
  tunnels: { querystring: object({ vtep: NAME }) },
  flushTunnels: { body: object({ vtep: NAME, remote: NAME }) },
  capture: {
    querystring: {
      ...object({
        port: NAME,
        // 0 = whole packets; a super-frame has up to 64 KiB and its headers.
        snaplen: { type: 'integer', minimum: 0, maximum: 262144, default: 0 },
        count: { type: 'integer', minimum: 1 },
        // Seconds; a timer takes no more than 2^31 - 1 ms.
        duration: { type: 'number', exclusiveMinimum: 0, maximum: 2_000_000 },
      }),
      required: ['port'],
    },
  },
  captureId: { params: object({ id: { type: 'integer', minimum: 1 } }) },
}
export const WHOLE_PACKET = 65535

export function object(properties: object): object {
  return { type: 'object', properties, additionalProperties: false }
}
