import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/setup.ts'],
    // The longest take 5 s on an idle machine; it may be busy with other things.
    testTimeout: 60_000,
    hookTimeout: 30_000,
    // Two cores, and namespace tests that measure nothing but do move packets.
    maxWorkers: 2,
  },
})
