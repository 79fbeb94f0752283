/** Lists of slots by port, against arrays. */
import { expect, test } from 'vitest'
import { INBOX, Inboxes } from '../../src/packet/inbox.ts'
import { random } from '../support/frames.ts'

test('every port gets its own packets, oldest first, whatever the others do', () => {
  const slots = 600
  const inboxes = new Inboxes(slots)
  const free = Array.from({ length: slots }, (_, i) => i)
  const lists: number[][] = [[], [], [], [], []]
  const next = random(3)
  for (let i = 0; i < 20_000; i++) {
    const port = next() % lists.length
    if (next() % 2 === 0 && free.length > 0) {
      const slot = free.splice(next() % free.length, 1)[0]
      if (inboxes.put(port, slot)) lists[port].push(slot)
      else {
        expect(lists[port]).toHaveLength(INBOX)
        free.push(slot)
      }
    } else if (lists[port].length > 0) {
      const slot = inboxes.take(port)
      expect(slot).toBe(lists[port].shift())
      free.push(slot)
    }
    expect(inboxes.count[port]).toBe(lists[port].length)
  }
})

test('a full list takes no more', () => {
  const inboxes = new Inboxes(2 * INBOX)
  for (let i = 0; i < INBOX; i++) expect(inboxes.put(1, i)).toBe(true)
  expect(inboxes.put(1, INBOX)).toBe(false)
  expect(inboxes.put(2, INBOX)).toBe(true)
  for (let i = 0; i < INBOX; i++) expect(inboxes.take(1)).toBe(i)
  expect(inboxes.take(2)).toBe(INBOX)
})
