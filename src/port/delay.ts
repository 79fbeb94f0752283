// HOT
/**
 * Packets that wait for their time: a binary heap of at most `capacity`, earliest first, and among equal
 * times the one that was put in first.
 */
export class DelayQueue {
  readonly capacity: number
  count = 0
  /** Tag of the packet `pop` returned. */
  tag = 0
  private readonly slots: Int32Array
  private readonly tags: Int32Array
  private readonly dues: Float64Array
  private readonly order: Float64Array
  private pushed = 0

  constructor(capacity: number) {
    this.capacity = capacity
    this.slots = new Int32Array(capacity)
    this.tags = new Int32Array(capacity)
    this.dues = new Float64Array(capacity)
    this.order = new Float64Array(capacity)
  }

  get full(): boolean {
    return this.count === this.capacity
  }

  /** When the first is due; Infinity = nothing waits. */
  dueMs(): number {
    return this.count === 0 ? Number.POSITIVE_INFINITY : this.dues[0]
  }

  /** Needs room. */
  push(slot: number, tag: number, dueMs: number): void {
    let i = this.count++
    this.slots[i] = slot
    this.tags[i] = tag
    this.dues[i] = dueMs
    this.order[i] = this.pushed++
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!this.before(i, parent)) break
      this.swap(i, parent)
      i = parent
    }
  }

  /** The first packet's slot, its tag in `tag`. Needs one. */
  pop(): number {
    const slot = this.slots[0]
    this.tag = this.tags[0]
    this.swap(0, --this.count)
    let i = 0
    for (;;) {
      let least = i
      const left = 2 * i + 1
      if (left < this.count && this.before(left, least)) least = left
      if (left + 1 < this.count && this.before(left + 1, least)) least = left + 1
      if (least === i) return slot
      this.swap(i, least)
      i = least
    }
  }

  private before(a: number, b: number): boolean {
    const dues = this.dues
    return dues[a] < dues[b] || (dues[a] === dues[b] && this.order[a] < this.order[b])
  }

  private swap(a: number, b: number): void {
    const { slots, tags, dues, order } = this
    const slot = slots[a]
    const tag = tags[a]
    const due = dues[a]
    const nth = order[a]
    slots[a] = slots[b]
    tags[a] = tags[b]
    dues[a] = dues[b]
    order[a] = order[b]
    slots[b] = slot
    tags[b] = tag
    dues[b] = due
    order[b] = nth
  }
}
