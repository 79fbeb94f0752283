/**
 * The control thread's end of a worker: starts it, sends commands and waits for their answers, starts
 * a new one over the same memory when it dies. A command is answered when it is in force.
 */
import { EventEmitter } from 'node:events'
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'
import { native } from '../native.ts'
import type { PlaneMemory } from '../packet/memory.ts'
import type { Command, Reply } from './command.ts'
import type { WorkerData } from './worker.ts'

interface Pending {
  resolve: (value: number) => void
  reject: (error: Error) => void
}

/** Events: 'port-down' and 'port-doubt' (index, errno); 'address' (AddressNews); 'frames' (index); 'punt' (id); 'died' (Error). */
export class WorkerLink extends EventEmitter {
  private readonly memory: PlaneMemory
  private readonly wakeFd = native.eventfd()
  private readonly pending = new Map<number, Pending>()
  private worker: Worker | null = null
  private port: MessagePort | null = null
  private seq = 0
  private stopping = false
  private exited: Promise<void> = Promise.resolve()

  constructor(memory: PlaneMemory) {
    super()
    this.memory = memory
  }

  get running(): boolean {
    return this.worker !== null
  }

  start(): void {
    const { port1, port2 } = new MessageChannel()
    const workerData: WorkerData = { memory: this.memory, wakeFd: this.wakeFd, port: port2 }
    const worker = new Worker(workerFile(), { workerData, transferList: [port2], name: 'taploom-plane' })
    this.worker = worker
    this.port = port1
    port1.on('message', (reply: Reply) => this.receive(reply))
    this.exited = new Promise((resolve) => {
      let failure: Error | null = null
      worker.on('error', (error) => {
        failure = error instanceof Error ? error : new Error(String(error))
      })
      worker.on('exit', (code) => {
        this.worker = null
        port1.close()
        const error = failure ?? new Error(`the worker ended with code ${code}`)
        for (const { reject } of this.pending.values()) reject(error)
        this.pending.clear()
        resolve()
        if (!this.stopping) this.emit('died', error)
      })
    })
  }

  private receive(reply: Reply): void {
    switch (reply.type) {
      case 'done': {
        const waiting = this.pending.get(reply.seq)
        this.pending.delete(reply.seq)
        if (reply.error === undefined) waiting?.resolve(reply.value ?? 0)
        else waiting?.reject(new Error(reply.error))
        break
      }
      case 'port-down':
      case 'port-doubt':
        this.emit(reply.type, reply.index, reply.errno)
        break
      case 'frames':
        this.emit('frames', reply.index)
        break
      case 'address':
        this.emit('address', reply.news)
        break
      case 'punt':
        this.emit('punt', reply.id)
        break
      case 'stopped':
        break
    }
  }

  async send(command: Command): Promise<void> {
    await this.ask(command)
  }

  /** A command that is answered with a number. */
  ask(command: Command): Promise<number> {
    return new Promise((resolve, reject) => {
      if (!this.port || !this.worker) return reject(new Error('the worker is not running'))
      const seq = ++this.seq
      this.pending.set(seq, { resolve, reject })
      this.port.postMessage({ seq, command })
      this.wake()
    })
  }

  /** Ends a wait: there is something to read in shared memory. */
  wake(): void {
    native.wake(this.wakeFd)
  }

  /** Ends the worker in the middle of whatever it does. */
  kill(): void {
    void this.worker?.terminate()
    this.wake()
  }

  async stop(): Promise<void> {
    this.stopping = true
    if (this.worker) {
      this.send({ op: 'stop' }).catch(() => {})
      await this.exited
    }
    native.close(this.wakeFd)
  }
}

/** The bundle: beside this module in dist/, one level up from src/. */
function workerFile(): URL {
  const bundled = import.meta.url.includes('/dist/')
  return new URL(bundled ? './worker.js' : '../../dist/worker.js', import.meta.url)
}
