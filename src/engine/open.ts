/**
 * From a port's description to the port: the one place that knows every kind, and what is wrapped
 * around what.
 *
 *     pipeline -> [capture] -> [fault] -> device | patch | pcap | memory | vxlan
 */
import type { Io } from '../native.ts'
import { MAX_FRAME } from '../packet/layout.ts'
import { CapturePort } from '../port/capture.ts'
import { ChannelPort } from '../port/channel.ts'
import { DevicePort } from '../port/device.ts'
import { FaultPort, type FaultSpec } from '../port/fault.ts'
import { PatchPort } from '../port/patch.ts'
import { PcapPort } from '../port/pcap.ts'
import type { Port } from '../port/port.ts'
import type { PortSpec } from './command.ts'
import type { Engine } from './engine.ts'
import { openVxlan } from './tunnels.ts'

/** @throws Error with a sentence when the port cannot be; nothing was opened then */
export function openPort(engine: Engine, io: Io, spec: PortSpec, fault?: FaultSpec): Port {
  const port = openKind(engine, io, spec)
  return fault ? new FaultPort(engine, port, fault) : port
}

function openKind(engine: Engine, io: Io, spec: PortSpec): Port {
  switch (spec.type) {
    case 'device':
      return new DevicePort(engine, io, spec)
    case 'patch': {
      const port = new PatchPort(engine, spec.index, spec.name, spec.mtu)
      const peer = engine.pipeline.portOf[spec.peer] ?? null
      // The end that comes first waits, down, for the other.
      if (peer !== null) {
        const end = innermost(peer)
        if (!(end instanceof PatchPort))
          throw new Error(`port ${peer.name}, the peer of ${spec.name}, is no patch`)
        port.join(end)
      }
      return port
    }
    case 'pcap':
      return new PcapPort(engine, spec.index, spec.name, spec.mtu, spec.frames, spec.loop, spec.speed)
    case 'memory':
      return new ChannelPort(engine, spec)
    case 'vxlan':
      return openVxlan(engine, spec)
  }
}

function innermost(port: Port): Port {
  let at = port
  while (at instanceof CapturePort || at instanceof FaultPort) at = at.inner
  return at
}

/**
 * Starts a capture of a port into a ring, or ends it (null). A new one replaces the one before.
 * @param snapLen most bytes kept of a frame, 0 = all
 * @throws Error when a capture shall start and there is no such port; ending one that is gone is fine
 */
export function setCapture(
  engine: Engine,
  index: number,
  ring: SharedArrayBuffer | null,
  snapLen: number,
): void {
  const port = engine.pipeline.portOf[index] ?? null
  if (port === null) {
    if (ring === null) return
    throw new Error(`no port ${index} to capture`)
  }
  let inner = port
  if (port instanceof CapturePort) {
    port.end()
    inner = port.inner
  }
  const keep = snapLen > 0 ? snapLen : MAX_FRAME
  engine.replacePort(ring === null ? inner : new CapturePort(engine, inner, ring, keep))
}
