/** The part of the control API that is about routers; server.ts has the rest and the picture of all of it. */
import type { FastifyInstance } from 'fastify'
import { type ConntrackQuery, QUERY_KEYS } from '../../filter/conntrack/query.ts'
import type { ConnectionRow, InterfaceRow, LeaseRow, NeighborRow, RouteRow, SetRow } from '../show/model.ts'
import { NAME, object } from './api-schemas.ts'
import { sendRows } from './json-rows.ts'

/** What the server needs of a fabric's routers. */
export interface ServedRouters {
  interfaces(router?: string): InterfaceRow[]
  routes(router?: string): RouteRow[]
  neighbors(router?: string): NeighborRow[]
  rules(router?: string): string[]
  sets(router?: string): SetRow[]
  leases(router?: string): LeaseRow[]
  conntrack(query?: ConnectionQuery): ConnectionRow[]
  deleteConntrack(query: ConnectionQuery): Promise<number>
  flushConntrack(router?: string): Promise<number>
}

export type ConnectionQuery = ConntrackQuery & { router?: string }

const ROUTER = { router: NAME }
const FLAG = { type: 'boolean' }
const CONNECTIONS = object({
  ...ROUTER,
  ...Object.fromEntries(QUERY_KEYS.map((key) => [key, key.endsWith('Nat') ? FLAG : NAME])),
})

type InQuery = { Querystring: { router?: string } }

export function routerRoutes(app: FastifyInstance, fabric: () => ServedRouters): void {
  const schema = { querystring: object(ROUTER) }
  app.get<InQuery>('/v1/interfaces', { schema }, (req) => fabric().interfaces(req.query.router))
  app.get<InQuery>('/v1/routes', { schema }, (req, reply) => {
    const rows = fabric().routes(req.query.router)
    return sendRows(reply, rows)
  })
  app.get<InQuery>('/v1/neighbors', { schema }, (req) => fabric().neighbors(req.query.router))
  app.get<InQuery>('/v1/rules', { schema }, (req) => fabric().rules(req.query.router))
  app.get<InQuery>('/v1/leases', { schema }, (req) => fabric().leases(req.query.router))
  app.get<InQuery>('/v1/sets', { schema }, (req) => fabric().sets(req.query.router))
  app.get<{ Querystring: ConnectionQuery }>(
    '/v1/conntrack',
    { schema: { querystring: CONNECTIONS } },
    (req, reply) => {
      const rows = fabric().conntrack(req.query)
      return sendRows(reply, rows)
    },
  )
  app.post<{ Body: ConnectionQuery }>(
    '/v1/conntrack/delete',
    { schema: { body: CONNECTIONS } },
    async (req) => ({ deleted: await fabric().deleteConntrack(req.body) }),
  )
  app.post<{ Body: { router?: string } }>(
    '/v1/conntrack/flush',
    { schema: { body: object(ROUTER) } },
    async (req) => ({ deleted: await fabric().flushConntrack(req.body.router) }),
  )
}
