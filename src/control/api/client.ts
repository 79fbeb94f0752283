/**
 * Talks to a daemon: HTTP over its unix socket, JSON both ways. Every failure becomes a ControlError
 * with a sentence for people: nobody there, no permission, no answer in time, or what the daemon said.
 */
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { json, text } from 'node:stream/consumers'

const TIMEOUT_MS = 10_000

export class ControlError extends Error {
  override name = 'ControlError'
  /** no-daemon, permission, timeout, connection, or the code in the daemon's answer. */
  readonly code: string
  /** HTTP status; 0 when there was no answer. */
  readonly status: number
  readonly details: unknown

  constructor(code: string, message: string, status = 0, details: unknown = null) {
    super(message)
    this.code = code
    this.status = status
    this.details = details
  }
}

export type Query = Record<string, string | number | boolean | undefined>

export class ControlClient {
  readonly socket: string
  private readonly timeoutMs: number

  constructor(socket: string, timeoutMs = TIMEOUT_MS) {
    this.socket = socket
    this.timeoutMs = timeoutMs
  }

  async get<T>(path: string, query: Query = {}): Promise<T> {
    return (await json(await this.send('GET', path + queryString(query)))) as T
  }

  async text(path: string): Promise<string> {
    return text(await this.send('GET', path))
  }

  async post<T>(path: string, body: object = {}): Promise<T> {
    return (await json(await this.send('POST', path, body))) as T
  }

  async delete<T>(path: string): Promise<T> {
    return (await json(await this.send('DELETE', path))) as T
  }

  /** A response to be read as it comes; it may last for ever. */
  stream(path: string, query: Query = {}): Promise<IncomingMessage> {
    return this.send('GET', path + queryString(query))
  }

  /** Resolves with the head of a good answer, rejects with a ControlError. */
  private send(method: string, path: string, body?: object): Promise<IncomingMessage> {
    const payload = body === undefined ? undefined : JSON.stringify(body)
    const headers = payload === undefined ? {} : { 'content-type': 'application/json' }
    return new Promise((resolve, reject) => {
      const req: ClientRequest = request({ socketPath: this.socket, method, path, headers })
      const timer = setTimeout(() => {
        const seconds = this.timeoutMs / 1000
        reject(new ControlError('timeout', `the daemon on ${this.socket} did not answer within ${seconds} s`))
        req.destroy()
      }, this.timeoutMs)
      req.on('error', (error: NodeJS.ErrnoException) => {
        clearTimeout(timer)
        reject(this.connectionError(error))
      })
      req.on('response', (res) => {
        clearTimeout(timer)
        if ((res.statusCode ?? 500) < 400) resolve(res)
        else answerError(res).then(reject, reject)
      })
      req.end(payload)
    })
  }

  private connectionError(error: NodeJS.ErrnoException): ControlError {
    if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') {
      const hint = `start one with "taploom up FILE"`
      return new ControlError('no-daemon', `no taploom daemon answers on ${this.socket}: ${hint}`)
    }
    if (error.code === 'EACCES' || error.code === 'EPERM') {
      const hint = 'run this as the user who started it, as a member of the group of the socket, or with sudo'
      return new ControlError('permission', `permission denied on ${this.socket}: ${hint}`)
    }
    return new ControlError(
      'connection',
      `the connection to the daemon on ${this.socket} failed: ${error.message}`,
    )
  }
}

async function answerError(res: IncomingMessage): Promise<ControlError> {
  const status = res.statusCode ?? 500
  const body = await text(res)
  try {
    const { code, message, details } = JSON.parse(body).error
    return new ControlError(code, message, status, details)
  } catch {
    return new ControlError(
      'not-taploom',
      `something that is not taploom answered (HTTP ${status}): ${body.slice(0, 200)}`,
      status,
    )
  }
}

function queryString(query: Query): string {
  const params = new URLSearchParams()
  for (const [key, value] of Object.entries(query)) if (value !== undefined) params.set(key, String(value))
  const made = params.toString()
  return made === '' ? '' : `?${made}`
}
