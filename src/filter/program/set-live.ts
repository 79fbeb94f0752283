/**
 * A set's table in shared memory as the control thread reads it: what is left of its elements (`show sets`), and
 * what a new table takes over from the one before it, so that a reload restarts no timeout and no counter of an
 * element that stays as it was.
 */
import { printElement } from '../element.ts'
import type { IpSet, SetElement } from '../ipset.ts'
import { hashWords, keyOf, SetEntry, type SetMemory } from './set-memory.ts'

/** Words of the element's entry; -1 = it is not there. */
function entryOf(memory: SetMemory, words: Int32Array, element: SetElement): number {
  const { entryWords, slots } = memory
  const key = keyOf(memory, element)
  let slot = hashWords(key, key.length) & (slots - 1)
  for (let n = 0; n < slots; n++) {
    const at = slot * entryWords
    if (words[at] === 0) return -1
    if (key.every((word, i) => words[at + SetEntry.Key + i] === (word | 0))) return at
    slot = (slot + 1) & (slots - 1)
  }
  return -1
}

/** The set with live counters, and timeouts that are left; what has timed out is not there. */
export function liveSet(set: IpSet, memory: SetMemory, nowMs: number): IpSet {
  const words = new Int32Array(memory.words)
  const counters = memory.counters && new Float64Array(memory.counters)
  if (set.type === 'list:set' || (!memory.timeouts && !counters)) return set
  const elements = set.elements.flatMap((element) => {
    const at = entryOf(memory, words, element)
    const expiresMs = at < 0 ? 0 : words[at + SetEntry.ExpiresS] * 1000
    if (at < 0 || (expiresMs > 0 && expiresMs <= nowMs)) return []
    const live = { ...element }
    if (memory.timeouts) live.timeoutS = expiresMs === 0 ? 0 : Math.ceil((expiresMs - nowMs) / 1000)
    if (counters) {
      const slot = at / memory.entryWords
      live.packets = BigInt(counters[2 * slot])
      live.bytes = BigInt(counters[2 * slot + 1])
    }
    return [live]
  })
  return { ...set, elements }
}

/** Elements that both sets have in the same words go on as they were. */
export function carrySet(from: IpSet, old: SetMemory, to: IpSet, memory: SetMemory): void {
  if (from.type !== to.type || from.family !== to.family || from.netmask !== to.netmask) return
  const [oldWords, words] = [new Int32Array(old.words), new Int32Array(memory.words)]
  const before = new Map(from.elements.map((element) => [printElement(element.fields, from), element]))
  for (const element of to.elements) {
    const was = before.get(printElement(element.fields, to))
    if (!was) continue
    const [source, target] = [entryOf(old, oldWords, was), entryOf(memory, words, element)]
    if (source < 0 || target < 0) continue
    if (was.timeoutS === element.timeoutS)
      words[target + SetEntry.ExpiresS] = oldWords[source + SetEntry.ExpiresS]
    if (!old.counters || !memory.counters) continue
    if (was.packets !== element.packets || was.bytes !== element.bytes) continue
    const [a, b] = [source / old.entryWords, target / memory.entryWords]
    const counters = new Float64Array(old.counters)
    new Float64Array(memory.counters).set(counters.subarray(2 * a, 2 * a + 2), 2 * b)
  }
}
