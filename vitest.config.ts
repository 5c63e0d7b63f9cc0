import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

// `forks`, never `threads`: the worker asks the kernel to die with the thread that spawned it, and a
// leaked socket in a worker thread keeps vitest from ending.
export default defineConfig({
  test: {
    pool: 'forks',
    // Half of most files is waiting for a process to start: one file a core, not one core left over.
    maxWorkers: availableParallelism(),
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/orphan-check.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
