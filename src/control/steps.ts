/**
 * Many steps of one change, quicker than one after the other: what belongs together is done together, in the
 * order of the steps.
 *
 *     namespaces in a row    one `ip`
 *     ports in a row         opened one after the other, and the worker is told of all of them: it may be busy
 *                            for a while, for each device that comes up says so to all others
 *     addresses              at the end, one `ip` per namespace (device-addresses.ts)
 */
import type { Change } from '../config/diff.ts'
import type { Inventory } from './inventory.ts'
import { takeStep } from './step.ts'

/** Steps taken together: a signal is heard between. */
const AT_ONCE = 64

/**
 * Takes all steps; a line for each.
 * @throws what the first one that fails throws, or the signal's reason; none is under way then
 */
export async function takeSteps(
  inventory: Inventory,
  changes: Change[],
  signal?: AbortSignal,
): Promise<string[]> {
  const done: string[] = []
  for (let i = 0; i < changes.length; ) {
    signal?.throwIfAborted()
    const { op } = changes[i]
    const together = op === 'add-namespace' || op === 'add-port' ? AT_ONCE : 1
    let end = i + 1
    while (end < changes.length && end - i < together && changes[end].op === op) end++
    done.push(...(await takeTogether(inventory, changes.slice(i, end))))
    i = end
  }
  signal?.throwIfAborted()
  await inventory.addresses.flush()
  return done
}

async function takeTogether(inventory: Inventory, changes: Change[]): Promise<string[]> {
  if (changes[0].op === 'add-namespace')
    return inventory.namespaces.add(changes.flatMap((c) => (c.op === 'add-namespace' ? [c.name] : [])))
  const done: string[] = []
  let failure: unknown
  const take = async (change: Change): Promise<void> => {
    try {
      done.push(await takeStep(inventory, change))
    } catch (error) {
      failure ??= error
    }
  }
  const under: Promise<void>[] = []
  // A step that fails before it waits keeps the rest from beginning.
  for (const change of changes) if (failure === undefined) under.push(take(change))
  await Promise.all(under)
  if (failure !== undefined) throw failure
  return done
}
