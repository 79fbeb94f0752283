/** Port events in the log, with a clock turned by hand. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { PortLog } from '../../src/control/log.ts'

describe('a flapping port', () => {
  let lines: string[]
  let log: PortLog

  beforeEach(() => {
    vi.useFakeTimers()
    lines = []
    log = new PortLog((port, { state }, leftOut) => lines.push(`${port} ${state} ${leftOut}`))
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  const note = (port: string, state: 'up' | 'down') =>
    log.note(port, { state }, vi.getMockedSystemTime()!.getTime())

  it('writes the first event at once and the last one after a second', () => {
    note('a', 'down')
    note('a', 'up')
    note('a', 'down')
    note('a', 'up')
    expect(lines).toEqual(['a down 0'])
    vi.advanceTimersByTime(999)
    expect(lines.length).toBe(1)
    vi.advanceTimersByTime(1)
    expect(lines).toEqual(['a down 0', 'a up 2'])
  })

  it('writes at most one line a second', () => {
    for (let ms = 0; ms < 10_000; ms += 10) {
      note('a', ms % 20 === 0 ? 'down' : 'up')
      vi.advanceTimersByTime(10)
    }
    expect(lines.length).toBeLessThanOrEqual(11)
    expect(lines.length).toBeGreaterThanOrEqual(10)
  })

  it('keeps ports apart', () => {
    note('a', 'down')
    note('b', 'down')
    expect(lines).toEqual(['a down 0', 'b down 0'])
  })

  it('is quiet again after a quiet second', () => {
    note('a', 'down')
    vi.advanceTimersByTime(1000)
    note('a', 'up')
    expect(lines).toEqual(['a down 0', 'a up 0'])
  })

  it('loses nothing at the end', () => {
    note('a', 'down')
    note('a', 'up')
    log.close()
    expect(lines).toEqual(['a down 0', 'a up 0'])
    vi.advanceTimersByTime(5000)
    expect(lines.length).toBe(2)
  })
})
