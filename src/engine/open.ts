/**
 * From a port's description to the port: the one place that knows every kind.
 */
import type { Io } from '../native.ts'
import { DevicePort } from '../port/device.ts'
import type { FaultSpec } from '../port/fault.ts'
import type { Port, PortHost } from '../port/port.ts'
import type { PortSpec } from './command.ts'

export function openPort(host: PortHost, io: Io, spec: PortSpec, _fault?: FaultSpec): Port {
  switch (spec.type) {
    case 'device':
      return new DevicePort(host, io, spec)
    default:
      throw new Error('later')
  }
}
export function setCapture(_h: PortHost, _i: number, _r: SharedArrayBuffer | null, _s: number): void {}
