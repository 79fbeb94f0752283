/** Commands about VTEPs and their VXLAN ports, and how the parts of tunnel/ are put together. */
import type { UdpAttachment } from '../native.ts'
import { BATCH, Clock } from '../packet/layout.ts'
import { UdpPort } from '../port/udp.ts'
import { VxlanPort } from '../port/vxlan.ts'
import { addSegment, setSegment } from '../tunnel/segment-settings.ts'
import { REMOTE_SHIFT, Remote, RemoteFlag, type VtepSockets } from '../tunnel/tables.ts'
import { Vtep } from '../tunnel/vtep.ts'
import type { PortSpec, TunnelCommand } from './command.ts'
import type { Engine } from './engine.ts'
import { EngineTunnelHost } from './tunnel-host.ts'

/** Bytes of VXLAN header. */
const HEADER = 8

export function applyTunnel(engine: Engine, command: TunnelCommand): void {
  switch (command.op) {
    case 'vtep-add':
      addVtep(engine, command)
      break
    case 'vtep-set': {
      const vtep = needVtep(engine, command.id)
      const port = underlayOf(engine, vtep)
      port.draining = true
      const nowMs = Math.floor(engine.memory.clock[Clock.MonotonicMs])
      while (engine.pipeline.run(engine.batch, port, nowMs) === BATCH) {}
      port.draining = false
      port.set(attachmentOf(vtep, command.sockets))
      vtep.set(command.settings, command.sockets)
      break
    }
    case 'vtep-remove': {
      const vtep = needVtep(engine, command.id)
      if (vtep.segments.vnis.size > 0) throw new Error(`VTEP ${vtep.name} has VXLAN ports`)
      engine.pipeline.tunnels = engine.pipeline.tunnels.filter((tunnel) => tunnel !== vtep)
      engine.removePort(vtep.members[0])
      engine.stages[command.id] = null
      break
    }
    case 'vxlan-set':
      setSegment(vtepOf(engine, command.index), command.index, command.settings, seconds(engine))
      break
    case 'remote-state': {
      const vtep = needVtep(engine, command.id)
      const row = vtep.remotes.find(command.remote)
      if (row < 0) break
      const at = (row << REMOTE_SHIFT) + Remote.Flags
      const flags = vtep.remotes.words[at]
      vtep.remotes.words[at] = command.dead ? flags | RemoteFlag.Dead : flags & ~RemoteFlag.Dead
      if (command.dead) vtep.remotes.forget(row)
      break
    }
    case 'vxlan-flush': {
      const vtep = needVtep(engine, command.id)
      const row = command.remote === null ? -1 : vtep.remotes.find(command.remote)
      if (command.remote === null || row >= 0) vtep.stations.flush(command.index, row, false)
      break
    }
  }
}

const seconds = (engine: Engine): number => (engine.memory.clock[Clock.MonotonicMs] / 1000) | 0

function addVtep(engine: Engine, command: Extract<TunnelCommand, { op: 'vtep-add' }>): void {
  const { id, index, memory, name, settings, sockets } = command
  if (engine.stages[id]) throw new Error(`stage ${id} exists`)
  const seed = (Math.random() * 0x100000000) | 0
  const vtep = new Vtep(new EngineTunnelHost(engine), name, index, memory, seed)
  const port = new UdpPort(engine, engine.io, index, name, settings.mtu, attachmentOf(vtep, sockets))
  engine.stages[id] = vtep
  try {
    engine.addPort(port, id)
  } catch (error) {
    engine.stages[id] = null
    port.close()
    throw error
  }
  vtep.outbox.transmit = (count) => port.transmit(count)
  vtep.set(settings, sockets)
  engine.pipeline.tunnels.push(vtep)
}

function attachmentOf(vtep: Vtep, { fds, receivers, underlay = -1 }: VtepSockets): UdpAttachment {
  const { sends, paths } = vtep.outbox
  return { fds, receivers, sends, paths, info: vtep.info, header: HEADER, udp: true, underlay }
}

/** @throws Error with a sentence when the port cannot be; nothing was changed then */
export function openVxlan(engine: Engine, spec: Extract<PortSpec, { type: 'vxlan' }>): VxlanPort {
  const vtep = needVtep(engine, spec.vtep)
  addSegment(vtep, spec.index, spec.vni, spec.settings, seconds(engine))
  return new VxlanPort(engine, vtep, vtep.segments.inboxes, spec.index, spec.name, spec.mtu)
}

function needVtep(engine: Engine, id: number): Vtep {
  const stage = engine.stages[id]
  if (!(stage instanceof Vtep)) throw new Error(`${id} is not a VTEP`)
  return stage
}

function vtepOf(engine: Engine, index: number): Vtep {
  for (const stage of engine.stages) {
    if (stage instanceof Vtep && stage.segments.present[index] !== 0) return stage
  }
  throw new Error(`port ${index} is not a VXLAN port`)
}

function underlayOf(engine: Engine, vtep: Vtep): UdpPort {
  const port = engine.pipeline.portOf[vtep.members[0]]
  if (!(port instanceof UdpPort)) throw new Error(`VTEP ${vtep.name} has lost its sockets`)
  return port
}
