/**
 * What the schema is made of: mappings, lists and the leaves that several keys share. A schema here says
 * what it expects in words; problems.ts makes sentences of them.
 */
import { z } from 'zod'
import { readMac } from './address.ts'
import * as value from './value.ts'
import { leaf, type WrongParams } from './value.ts'

/** An issue's message is the text of what was expected; see problems.ts. */
export const kind = (expected: string) => ({
  error: (issue: { code?: string }) => (issue.code === 'invalid_type' ? expected : undefined),
})

export const mapping = <S extends z.ZodRawShape>(shape: S, expected = 'a mapping') =>
  z.strictObject(shape, kind(expected))
export const list = <S extends z.ZodType>(item: S, expected = 'a list') => z.array(item, kind(expected))
export const named = <S extends z.ZodType>(
  item: S,
  expected: string,
  { pattern, error } = { pattern: value.NAME, error: value.NAME_EXPECTED },
) => z.record(z.string().regex(pattern, { error }), item, kind(expected))

/** Tells what is wrong at `path`, counted from the mapping that is checked. */
export type Refuse = (path: (string | number)[], params: WrongParams) => void

/** Checks that need several keys; also run when one of them is wrong, unless a key is unknown. */
export function fits<S extends z.ZodObject>(
  schema: S,
  check: (found: z.output<S>, refuse: Refuse) => void,
): S {
  return schema.superRefine(
    (found, ctx) => {
      const refuse: Refuse = (path, params) =>
        ctx.issues.push({
          code: 'custom',
          path,
          params: { ...params },
          message: params.expected,
          input: found,
        })
      check(found as z.output<S>, refuse)
    },
    {
      when: (payload) =>
        !payload.issues.some((i) => i.code === 'unrecognized_keys' || i.code === 'invalid_type'),
    },
  )
}

export const flag = leaf(value.flag, { type: 'boolean' })
export const vid = leaf(value.vid, { type: 'integer', minimum: 1, maximum: 4094 })
export const mac = leaf(readMac, { type: 'string' })

/** @param min an IPv4 host takes 68, RFC 791 */
export function mtu(max: number, hint: string, min = 68) {
  const below = min === 68 ? 'an IPv4 host takes 68, RFC 791' : undefined
  return leaf(
    (found): number => {
      if (typeof found === 'number' && Number.isInteger(found) && found >= min && found <= max) return found
      const why = typeof found !== 'number' ? undefined : found < min ? below : hint
      throw new value.Wrong(`an MTU from ${min} to ${max} bytes`, why)
    },
    { type: 'integer', minimum: min, maximum: max },
  )
}
export const anyMtu = mtu(65535, 'the longest IP packet')
