/**
 * What becomes of a fabric's addresses, as the operator hears it: a log line and an event when somebody else
 * has one of them, and when it is free again.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { AddressNews } from '../../engine/command.ts'
import { formatMac } from '../devices.ts'
import type { Fabric } from '../fabric.ts'
import type { AddressEvent } from '../fabric-options.ts'
import { addressText } from './addressing.ts'

/** The longest that detection takes (RFC 5227), and some. */
const LONGEST_MS = 8000
const LOOK_MS = 20

export function hear(fabric: Fabric, news: AddressNews): void {
  const heard = fabric.inventory.routing.hear(news)
  if (!heard) return
  const { router, interface: name, was } = heard
  const address = addressText(news.address)
  const mac = news.fate === 'unique' ? null : formatMac(news.mac)
  const event: AddressEvent = { router, interface: name, address, state: heard.own.state, mac }
  const log = fabric.options.log
  const fields = { ...event, mac: mac ?? undefined }
  const where = `${address} of interface ${router}.${name}`
  if (news.fate === 'duplicate')
    log?.warn(fields, `address ${where} is a duplicate: ${mac} has it too; we do not use it`)
  else if (news.fate === 'conflict')
    log?.warn(fields, `address ${where} is used by ${mac}, too; we go on using it`)
  else if (was === 'duplicate') log?.info(fields, `address ${where} is free now; we use it`)
  fabric.emit('address', event)
}

/** Waits until no address is held back because it might be somebody else's. @throws the signal's reason */
export async function settled(fabric: Fabric): Promise<void> {
  const { signal } = fabric.options
  const until = performance.now() + LONGEST_MS
  while (fabric.inventory.routing.holdsBack && performance.now() < until) {
    signal?.throwIfAborted()
    await sleep(LOOK_MS)
  }
}
