/** Sets as `ipset save` writes them. */
import { printElement } from './element.ts'
import type { IpSet } from './ipset.ts'
import { words } from './option.ts'

/** As `ipset save`. */
export function printSets(sets: ReadonlyMap<string, IpSet>): string {
  return [...sets.values()].map(printSet).join('')
}

/** The line that creates a set. */
export function printCreate(set: IpSet): string {
  const isHash = set.type.startsWith('hash:')
  return words(
    `create ${set.name} ${set.type}`,
    set.range && `range ${set.range.min}-${set.range.max}`,
    set.family && `family ${set.family === 4 ? 'inet' : 'inet6'}`,
    isHash && `hashsize ${set.hashSize} maxelem ${set.maxElements}`,
    set.netmask !== null && `netmask ${set.netmask}`,
    set.type === 'list:set' && `size ${set.maxElements}`,
    set.timeoutS !== null && `timeout ${set.timeoutS}`,
    set.counters && 'counters',
    set.comments && 'comment',
    set.forceAdd && 'forceadd',
    set.bucketSize !== null && `bucketsize ${set.bucketSize}`,
    set.initialValue !== null && `initval 0x${set.initialValue.toString(16).padStart(8, '0')}`,
  )
}

function printSet(set: IpSet): string {
  const lines = [printCreate(set)]
  for (const element of set.elements) {
    lines.push(
      words(
        `add ${set.name} ${printElement(element.fields, set)}`,
        element.timeoutS !== null && `timeout ${element.timeoutS}`,
        element.nomatch && 'nomatch',
        set.counters && `packets ${element.packets} bytes ${element.bytes}`,
        element.comment !== '' && `comment "${element.comment.replaceAll('\\', '\\\\')}"`,
      ),
    )
  }
  return `${lines.join('\n')}\n`
}
