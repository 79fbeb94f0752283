/**
 * The worker thread: an Engine and its loop. It blocks in the addon's `wait`, so it has no event loop:
 * requests are taken from the message port when the control thread's eventfd wakes it.
 */
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import type { PlaneMemory } from '../packet/memory.ts'
import type { Reply, Request } from './command.ts'
import { inlineFurther } from './compiler.ts'
import { Engine } from './engine.ts'

export interface WorkerData {
  memory: PlaneMemory
  wakeFd: number
  port: MessagePort
}

const { memory, wakeFd, port } = workerData as WorkerData
inlineFurther()
const engine = new Engine(memory, wakeFd)
const reply = (message: Reply): void => port.postMessage(message)

engine.onPortDown = (index, errno) => reply({ type: 'port-down', index, errno })
engine.onPortDoubt = (index, errno) => reply({ type: 'port-doubt', index, errno })
engine.notify = (index) => reply({ type: 'frames', index })
engine.onAddress = (news) => reply({ type: 'address', news })
engine.notifyPunt = (id) => reply({ type: 'punt', id })
engine.loop(() => {
  for (let got = receiveMessageOnPort(port); got; got = receiveMessageOnPort(port)) {
    const { seq, command } = got.message as Request
    let error: string | undefined
    let value = 0
    try {
      value = engine.apply(command)
    } catch (e) {
      error = e instanceof Error ? e.message : String(e)
    }
    reply({ type: 'done', seq, error, value })
  }
})
engine.close()
reply({ type: 'stopped' })
port.close()
