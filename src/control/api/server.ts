/**
 * The control API: HTTP and JSON on a unix socket, never on TCP. Who may open the socket (mode 0660)
 * may do everything; there is no other authorisation.
 *
 *     GET  /v1/ports /v1/vlans /v1/counters /v1/status
 *     GET  /v1/fdb?switch=&port=&vlan=         GET  /v1/drops?all=true
 *     GET  /v1/interfaces /v1/routes /v1/neighbors /v1/rules /v1/sets /v1/leases ?router=
 *     GET  /v1/conntrack?router=&proto=&src=...           its keys: filter/conntrack/query.ts
 *     POST /v1/conntrack/delete {router?, proto?, ...}    POST /v1/conntrack/flush {router?}
 *     GET  /v1/tunnels?vtep=                   POST /v1/flush/tunnels {vtep?, remote?}
 *     POST /v1/reload {file?}                  POST /v1/flush {switch?, port?, vlan?}
 *     GET  /v1/capture?port=&snaplen=&count=&duration=     pcapng, until DELETE /v1/capture/ID
 *     GET  /metrics                            Prometheus text
 *
 * The documents are those of model.ts. An error is {error: {code, message, details}}: 400 a bad
 * request, 404 no such thing, 409 not now, 422 a configuration that is wrong, 500 anything else.
 * A list reads shared memory in this process: it never asks the worker, however busy that is.
 */
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply } from 'fastify'
import { nearest } from '../../config/error.ts'
import type { Logger } from '../log.ts'
import type { UnknownName } from '../router/live-router.ts'
import type { FdbRow, PortStatus, VlanRow } from '../show/model.ts'
import type { FlushFilter } from '../tunnel/tunnels.ts'
import { BODY_LIMIT, SCHEMAS, WHOLE_PACKET } from './api-schemas.ts'
import { type CaptureFeed, CaptureStream } from './capture-stream.ts'
import { sendRows } from './json-rows.ts'
import { METRICS_TYPE, type Measured, metricsText } from './metrics.ts'
import { routerRoutes, type ServedRouters } from './server-routers.ts'
import { claimSocket, PID_HEADER } from './socket.ts'

export interface PortFilter {
  switch?: string
  port?: string
  vlan?: number
}

/** What the server needs of a fabric. */
export interface Served extends Measured, ServedRouters {
  fdb(filter?: PortFilter): FdbRow[]
  vlans(): VlanRow[]
  flushTunnels(filter: FlushFilter): Promise<number>
  flushFdb(filter: PortFilter): Promise<number>
}

export interface Service {
  fabric: Served
  /** Returns a line per change. */
  reload(file?: string): Promise<string[]>
  /** Starts capturing; `port` is 'switch.port'. */
  capture(port: string, snapLen: number): Promise<CaptureFeed>
}

export class ApiError extends Error {
  readonly status: number
  readonly code: string
  readonly details: unknown

  constructor(status: number, code: string, message: string, details: unknown = null) {
    super(message)
    this.status = status
    this.code = code
    this.details = details
  }
}

interface TunnelQuery {
  vtep?: string
}

interface CaptureQuery {
  port: string
  snaplen: number
  count?: number
  duration?: number
}

export class ControlServer {
  private readonly app: FastifyInstance
  private readonly log: Logger
  private readonly captures = new Map<number, CaptureStream>()
  private nextCapture = 1
  private service: Service | null = null
  private release = () => {}

  constructor(log: Logger) {
    this.log = log
    this.app = fastify({
      bodyLimit: BODY_LIMIT,
      forceCloseConnections: true,
      ajv: { customOptions: { removeAdditional: false, coerceTypes: true } },
    })
    this.routes()
  }

  /** Takes the socket. Until `serve` every request is answered with 503. */
  async listen(socket: string): Promise<void> {
    await this.app.ready()
    this.release = await claimSocket(this.app.server, socket)
  }

  serve(service: Service): void {
    this.service = service
  }

  /** Ends captures and connections, removes the socket. Safe to call twice. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.captures.values()].map((capture) => capture.stop()))
    await this.app.close()
    this.release()
    this.release = () => {}
  }

  private get fabric(): Served {
    return this.need().fabric
  }

  private need(): Service {
    if (this.service === null) throw new ApiError(503, 'starting', 'taploom is still starting')
    return this.service
  }

  private routes(): void {
    const { app } = this
    app.addHook('onRequest', async (_, reply) => {
      reply.header(PID_HEADER, process.pid)
    })
    app.get('/v1/ports', { schema: SCHEMAS.none }, () => this.fabric.ports())
    app.get('/v1/vlans', { schema: SCHEMAS.none }, () => this.fabric.vlans())
    app.get('/v1/counters', { schema: SCHEMAS.none }, () => this.fabric.counters())
    app.get('/v1/status', { schema: SCHEMAS.none }, () => this.fabric.status())
    app.get<{ Querystring: PortFilter }>('/v1/fdb', { schema: SCHEMAS.fdb }, (req, reply) => {
      const rows = this.fabric.fdb(this.filter(req.query))
      return sendRows(reply, rows)
    })
    app.get<{ Querystring: TunnelQuery }>('/v1/tunnels', { schema: SCHEMAS.tunnels }, (req, reply) => {
      return sendRows(reply, this.fabric.tunnelRows(this.ofVtep(req.query)))
    })
    routerRoutes(app, () => this.fabric)
    app.get<{ Querystring: { all: boolean } }>('/v1/drops', { schema: SCHEMAS.drops }, (req) => {
      return this.fabric.drops().filter((row) => req.query.all || row.packets > 0)
    })
    app.post<{ Body: { file?: string } }>('/v1/reload', { schema: SCHEMAS.reload }, async (req) => {
      return { changes: await this.need().reload(req.body.file) }
    })
    app.post<{ Body: PortFilter }>('/v1/flush', { schema: SCHEMAS.flush }, async (req) => {
      return { flushed: await this.fabric.flushFdb(this.filter(req.body)) }
    })
    app.post<{ Body: FlushFilter }>('/v1/flush/tunnels', { schema: SCHEMAS.flushTunnels }, async (req) => {
      return { flushed: await this.fabric.flushTunnels(this.ofVtep(req.body)) }
    })
    app.get<{ Querystring: CaptureQuery }>('/v1/capture', { schema: SCHEMAS.capture }, (req, reply) => {
      return this.capture(req.query, reply)
    })
    app.delete<{ Params: { id: number } }>('/v1/capture/:id', { schema: SCHEMAS.captureId }, async (req) => {
      const capture = this.captures.get(req.params.id)
      if (!capture) throw new ApiError(404, 'unknown-capture', `no capture ${req.params.id} is running`)
      return capture.stop()
    })
    app.get('/metrics', { schema: SCHEMAS.none }, (_, reply) => {
      return metricsText(this.fabric).then((text) => reply.type(METRICS_TYPE).send(text))
    })
    app.setNotFoundHandler((req) => {
      throw new ApiError(404, 'not-found', `there is no ${req.method} ${req.url}`)
    })
    app.setErrorHandler((error: FastifyError, _, reply) => this.answerError(error, reply))
  }

  private async capture(query: CaptureQuery, reply: FastifyReply): Promise<void> {
    const service = this.need()
    const port = this.port(query.port)
    const snapLen = query.snaplen === 0 ? WHOLE_PACKET : query.snaplen
    const feed = await service.capture(`${port.switch}.${port.name}`, snapLen)
    const { count, duration } = query
    const id = this.nextCapture++
    reply.hijack()
    const durationMs = duration === undefined ? undefined : duration * 1000
    const capture = new CaptureStream(id, feed, reply.raw, { count, durationMs })
    this.captures.set(id, capture)
    const { captured, lost } = await capture.done
    this.captures.delete(id)
    this.log.debug({ port: query.port, captured, lost }, 'capture ended')
  }

  /** A filter whose names exist. */
  private filter(wanted: PortFilter): PortFilter {
    const { switch: name, port, vlan } = wanted
    if (name !== undefined) {
      const switches = this.fabric.status().switches.map((s) => s.name)
      if (!switches.includes(name)) throw unknown('switch', name, switches)
    }
    if (port === undefined) return { switch: name, vlan }
    const found = this.port(port, name)
    return { switch: found.switch, port: `${found.switch}.${found.name}`, vlan }
  }

  private ofVtep<T extends TunnelQuery>(query: T): T {
    const known = this.fabric.status().vteps.map((v) => v.name)
    if (query.vtep !== undefined && !known.includes(query.vtep)) throw unknown('VTEP', query.vtep, known)
    return query
  }

  /** `switch.port`, or `port` when only one switch (or the one given) has it. */
  private port(name: string, within?: string): PortStatus {
    const ports = this.fabric.ports()
    const full = (p: PortStatus): string => `${p.switch}.${p.name}`
    const inside = within === undefined ? ports : ports.filter((p) => p.switch === within)
    const exact = inside.find((p) => full(p) === name)
    if (exact) return exact
    const found = inside.filter((p) => p.name === name)
    if (found.length === 1) return found[0]
    if (found.length > 1) {
      const names = found.map(full)
      throw new ApiError(
        400,
        'ambiguous-port',
        `port ${name} is in several switches: say ${names.join(' or ')}`,
        { ports: names },
      )
    }
    throw unknown('port', name, inside.map(full))
  }

  private answerError(error: FastifyError & Partial<ApiError>, reply: FastifyReply): FastifyReply {
    const [status, code, details] = classify(error)
    if (status === 500) {
      this.log.error({ reason: error.message }, 'a control request failed')
      this.log.debug({ err: error }, 'where it failed')
    }
    return reply.code(status).send({ error: { code, message: error.message, details } })
  }
}

function unknown(kind: 'switch' | 'port' | 'VTEP', name: string, known: string[]): ApiError {
  // Somebody who wrote the short name of a port meant a short name.
  const candidates = [...known, ...known.map((full) => full.slice(full.indexOf('.') + 1))]
  const close = nearest(name, candidates)
  const hint = close === undefined ? `there is ${known.join(', ') || 'none'}` : `did you mean ${close}?`
  return new ApiError(404, `unknown-${kind.toLowerCase()}`, `no ${kind} ${name}; ${hint}`, { known })
}

function classify(error: FastifyError | ApiError): [status: number, code: string, details: unknown] {
  if (error instanceof ApiError) return [error.status, error.code, error.details]
  // By name: the loader is no part of what this file needs.
  if (error.name === 'ConfigError') return [422, 'config', Object.fromEntries(Object.entries(error))]
  if (error.name === 'UnknownName') return [404, `unknown-${(error as unknown as UnknownName).kind}`, null]
  // A word of a filter that makes no sense (filter/error.ts).
  if (error.name === 'BadFilter') return [400, 'bad-filter', null]
  if (error.validation) return [400, 'bad-request', error.validation]
  if (error.statusCode !== undefined && error.statusCode < 500) return [error.statusCode, 'bad-request', null]
  return [500, 'failed', null]
}
