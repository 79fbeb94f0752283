/**
 * A router as the file has it, read section by section: a section, or an item of a list, with a mistake
 * of its own takes no part in what must fit together, so that one mistake is told once.
 */
import type { z } from 'zod'
import type { Path } from './error.ts'
import type { Problems } from './problems.ts'
import {
  type InterfaceKeys,
  type NatKeys,
  natSchema,
  type PolicyKeys,
  policySchema,
  type RouteKeys,
  routerSchema,
  routeSchema,
} from './router-schema.ts'
import { valueAt } from './source.ts'
import { fieldsOf } from './value.ts'

export interface Item<K> {
  path: Path
  keys: K
}

export interface RouterCandidate {
  name: string
  path: Path
  /** null: something is wrong with one of them. */
  interfaces: Record<string, InterfaceKeys> | null
  /** Those that are right. */
  routes: Item<RouteKeys>[]
  /** All of them are. */
  allRoutes: boolean
  policies: Item<PolicyKeys>[]
  nat: Item<NatKeys>[]
}

/** @param raw the whole file's value */
export function routersIn(raw: unknown): RouterCandidate[] {
  return fieldsOf(valueAt(raw, ['routers']).value).map(([name, body]) => candidate(name, body))
}

function candidate(name: string, body: unknown): RouterCandidate {
  const path = ['routers', name]
  const issues = routerSchema.safeParse(body).error?.issues ?? []
  const right = (section: string) =>
    !issues.some((i) => i.path[0] === section || (i.path.length === 0 && i.code === 'unrecognized_keys'))
  const given = new Map(fieldsOf(body))
  const items = <S extends z.ZodType>(section: string, schema: S): Item<z.output<S>>[] => {
    const list = given.get(section)
    if (!Array.isArray(list)) return []
    return list.flatMap((one, i) => {
      const { data } = schema.safeParse(one)
      return data === undefined ? [] : [{ path: [...path, section, i], keys: data }]
    })
  }
  const interfaces = right('interfaces')
    ? (routerSchema.shape.interfaces.safeParse(given.get('interfaces')).data ?? null)
    : null
  return {
    name,
    path,
    interfaces,
    routes: items('routes', routeSchema),
    allRoutes: right('routes'),
    policies: items('policies', policySchema),
    nat: items('nat', natSchema),
  }
}

/** The interface `named` at `path`; tells when there is none. */
export function interfaceAt(
  interfaces: Record<string, InterfaceKeys>,
  named: string,
  path: Path,
  problems: Problems,
): InterfaceKeys | undefined {
  if (Object.hasOwn(interfaces, named)) return interfaces[named]
  problems.addUnknownName(path, named, 'an interface of this router', Object.keys(interfaces))
  return undefined
}
