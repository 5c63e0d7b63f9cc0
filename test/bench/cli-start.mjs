// How long `sae-lens-ts` takes to answer, as processes: node test/bench/cli-start.mjs [runs]. Build first.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const cli = fileURLToPath(new URL('../../bin/sae-lens-ts.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'cli-start-'));
const bad = join(folder, 'bad.yaml');
writeFileSync(bad, 'dataset_path: text\nlr: "3e-4"\nsae:\n  architecture: topk\n  d_sae: 64\n');
const cases = {
  'node -e 0': ['-e', '0'],
  '--help': [cli, '--help'],
  'train --help': [cli, 'train', '--help'],
  'config error': [cli, 'train', bad],
  'train --dry-run': [cli, 'train', '--preset', 'demo', '--dry-run'],
};
const runs = Number(process.argv[2] ?? 15);
for (const [name, words] of Object.entries(cases)) {
  const times = Array.from({ length: runs }, () => {
    const start = performance.now();
    spawnSync(process.execPath, words);
    return performance.now() - start;
  }).sort((a, b) => a - b);
  console.log(`${name.padEnd(16)} median ${times[runs >> 1].toFixed(0)} ms, fastest ${times[0].toFixed(0)} ms`);
}
rmSync(folder, { recursive: true });
