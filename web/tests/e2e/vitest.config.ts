import { defineConfig } from 'vitest/config';

// The flows in a real browser against the real server. One after the other: they share two cores.
export default defineConfig({
  test: {
    include: ['tests/e2e/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    fileParallelism: false,
  },
});
