/** The captures of a fabric: at most one per port, each ends with its port. */
import type { Command } from '../../engine/command.ts'
import type { WorkerLink } from '../../engine/worker-link.ts'
import type { Inventory } from '../inventory.ts'
import { Capture } from './capture.ts'

const WHOLE_PACKET = 65535

export class Captures {
  private readonly running = new Map<number, Capture>()
  private readonly inventory: Inventory
  private readonly link: WorkerLink

  constructor(inventory: Inventory, link: WorkerLink) {
    this.inventory = inventory
    this.link = link
  }

  async start(name: string, snapLen = WHOLE_PACKET): Promise<Capture> {
    const { inventory, link, running } = this
    const port = inventory.find(name)
    if (port.down) throw new Error(`port ${name} is down: ${port.down}`)
    if (running.has(port.index)) throw new Error(`port ${name} is being captured already`)
    const capture = new Capture(port, snapLen, inventory.memory.counters, async () => {
      running.delete(port.index)
      if (port.down || inventory.portAt(port.index) !== port || !link.running) return
      await link.send({ op: 'capture', index: port.index, ring: null, snapLen: 0 })
    })
    running.set(port.index, capture)
    try {
      await link.send(capture.command)
    } catch (error) {
      running.delete(port.index)
      throw error
    }
    return capture
  }

  /** All of them once more, for a worker that took over. */
  commands(): Command[] {
    return [...this.running.values()].map((capture) => capture.command)
  }

  /** Ends those whose port is gone. */
  endLost(): void {
    for (const capture of this.running.values()) {
      const port = capture.livePort
      if (port.down || this.inventory.portAt(port.index) !== port) capture.close().catch(() => {})
    }
  }

  async close(): Promise<void> {
    for (const capture of this.running.values()) await capture.close().catch(() => {})
  }
}
