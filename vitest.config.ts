import { defineConfig } from 'vitest/config';

/**
 * Tests that measure real networks: whatever runs beside them takes the CPU that their probes need. Two labs run at once,
 * and a test that the machine was too busy for is done once more; a verdict that is wrong is wrong twice.
 */
const NETWORKS = ['test/e2e/**/*.spec.ts', 'test/lab/faults/**/*.spec.ts', 'test/promises/stopped.spec.ts'];

/** Tests of what is computed, which leave nothing behind in their process: many share one, and load the catalogue once. */
const PURE = ['src/{checks,diagnosis,formatters,model,remedies}/**/*.spec.ts'];

export default defineConfig({
  test: {
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    projects: [
      {
        extends: true,
        test: {
          name: 'parts',
          include: ['src/**/*.spec.ts', 'test/**/*.spec.ts', 'scripts/**/*.spec.ts'],
          exclude: [...NETWORKS, ...PURE],
          // Most of them wait for something most of the time.
          maxWorkers: 4,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: { name: 'pure', include: PURE, isolate: false, maxWorkers: 4, sequence: { groupOrder: 0 } },
      },
      {
        extends: true,
        test: { name: 'networks', include: NETWORKS, maxWorkers: 2, retry: 1, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
