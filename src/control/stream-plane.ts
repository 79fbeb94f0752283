/**
 * The data plane behind Tap and Tun streams: one worker for all of them, each stream a wire between
 * its device and a channel. Started with the first stream, stopped with the last.
 */
import type { PortSettings } from '../engine/command.ts'
import { WorkerLink } from '../engine/worker-link.ts'
import { DeviceKind, native, type TapDevice } from '../native.ts'
import { MAX_PORTS } from '../packet/layout.ts'
import { planeMemory } from '../packet/memory.ts'
import { Exchange } from './exchange.ts'

/** Packets in flight; frames spend no time here. */
const SLOTS = 128

const SETTINGS: PortSettings = {
  vlan: { mode: 'unaware' },
  mtu: 65535,
  up: true,
  learning: false,
  floodUnknown: true,
  floodMulticast: true,
  floodBroadcast: true,
  isolated: false,
  hairpin: false,
  locked: false,
  limit: 0,
  stormUnknown: Number.POSITIVE_INFINITY,
  stormMulticast: Number.POSITIVE_INFINITY,
  stormBroadcast: Number.POSITIVE_INFINITY,
  statics: [],
  own: null,
}

interface Wire {
  exchange: Exchange
  lost: (error: Error) => void
}

interface Plane {
  link: WorkerLink
  /** By number, until the worker has forgotten it. */
  wires: Map<number, Wire>
}

let plane: Plane | null = null

function startPlane(): Plane {
  const link = new WorkerLink(planeMemory(SLOTS))
  const started: Plane = { link, wires: new Map() }
  link.on('frames', (index: number) => started.wires.get(index >> 1)?.exchange.drain())
  const lose = (id: number, why: string) => started.wires.get(id)?.lost(new Error(why))
  link.on('port-down', (index: number) => lose(index >> 1, 'the device is gone'))
  link.on('died', (error: Error) => {
    plane = null
    for (const wire of started.wires.values()) wire.lost(error)
  })
  link.start()
  return started
}

export interface StreamWire {
  exchange: Exchange
  /** Ends the wire; the descriptor stays open. */
  close(): Promise<void>
}

/** Joins a device to an Exchange. `lost`: called when the device or the worker is gone. */
export function joinStream(tap: TapDevice, tun: boolean, lost: (error: Error) => void): StreamWire {
  plane ??= startPlane()
  const own = plane
  let id = 0
  while (own.wires.has(id)) id++
  if (2 * id + 1 >= MAX_PORTS) throw new Error(`at most ${MAX_PORTS / 2} Tap and Tun streams at a time`)
  const exchange = new Exchange(() => own.link.wake())
  const wire: Wire = { exchange, lost }
  own.wires.set(id, wire)
  const { vnetSize, offloads, name } = tap
  const kind = tun ? DeviceKind.Tun : DeviceKind.Tap
  const fd = tap.fds[0]
  const { toPlane, fromPlane, signal } = exchange
  const mtu = SETTINGS.mtu
  const failed = (error: Error) => lost(error)
  const { link } = own
  link.send({ op: 'wire-add', id }).catch(failed)
  const device = { type: 'device' as const, index: 2 * id, name, kind, fd, vnetSize, offloads, mtu }
  link.send({ op: 'port-add', switch: id, spec: device, settings: SETTINGS }).catch(failed)
  const channel = {
    index: 2 * id + 1,
    name: `${name}-stream`,
    mtu,
    toPlane,
    fromPlane,
    signal,
    noEthernet: tun,
  }
  link
    .send({ op: 'port-add', switch: id, spec: { type: 'memory', ...channel }, settings: SETTINGS })
    .catch(failed)
  const close = async () => {
    wire.lost = () => {}
    try {
      if (link.running) {
        await link.send({ op: 'port-remove', index: 2 * id })
        await link.send({ op: 'port-remove', index: 2 * id + 1 })
        await link.send({ op: 'switch-remove', id })
      }
    } finally {
      own.wires.delete(id)
      if (own.wires.size === 0 && plane === own) {
        plane = null
        await link.stop()
      }
    }
  }
  let closing: Promise<void> | null = null
  return { exchange, close: () => (closing ??= close()) }
}

/** Closes a device's descriptors. */
export function closeTap(tap: TapDevice): void {
  for (const fd of tap.fds) native.close(fd)
}
