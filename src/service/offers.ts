/** Addresses that were offered and not requested yet: nobody else is offered them for a while. */
export class Offers {
  private readonly byAddress = new Map<number, { key: string; untilMs: number }>()
  private readonly byKey = new Map<string, number>()

  /** What the client was offered, or -1. */
  of(key: string, nowMs: number): number {
    const address = this.byKey.get(key) ?? -1
    return (this.byAddress.get(address)?.untilMs ?? 0) > nowMs ? address : -1
  }

  isOthers(address: number, key: string, nowMs: number): boolean {
    const offer = this.byAddress.get(address)
    return offer !== undefined && offer.untilMs > nowMs && offer.key !== key
  }

  put(address: number, key: string, untilMs: number): void {
    this.void(key)
    const before = this.byAddress.get(address)
    if (before) this.byKey.delete(before.key)
    this.byAddress.set(address, { key, untilMs })
    this.byKey.set(key, address)
  }

  void(key: string): void {
    const address = this.byKey.get(key)
    if (address === undefined) return
    this.byKey.delete(key)
    this.byAddress.delete(address)
  }

  prune(nowMs: number): void {
    for (const { key, untilMs } of this.byAddress.values()) if (untilMs <= nowMs) this.void(key)
  }

  clear(): void {
    this.byAddress.clear()
    this.byKey.clear()
  }
}
