import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runDoctor } from '../../../src/runners/doctor.ts';
import type { Finding } from '../../../src/runners/doctor-findings.ts';
import { pythonForTests } from '../../python-for-tests.ts';

async function diagnose(
  options: Parameters<typeof runDoctor>[0],
): Promise<{ code: number; findings: Finding[]; text: string }> {
  let text = '';
  const code = await runDoctor({ ...options, json: true, write: (part) => (text += part) });
  return { code, findings: JSON.parse(text).findings, text };
}

/** A python that is the real one, but for one module that fails when imported. */
function withBrokenModule(name: string, raises: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'doctor-'));
  writeFileSync(join(folder, `${name}.py`), `raise ${raises}\n`);
  const python = join(folder, 'python');
  writeFileSync(python, `#!/bin/sh\nPYTHONPATH=${folder} exec ${pythonForTests()} "$@"\n`, { mode: 0o755 });
  return python;
}

describe('runDoctor', () => {
  it('finds a working environment well, says where secrets are and never what they are', async () => {
    process.env.HF_TOKEN = 'hf_plantedplantedplanted';
    try {
      const { code, findings, text } = await diagnose({ python: pythonForTests() });
      expect(findings.filter(({ state }) => state === 'fail')).toEqual([]);
      expect(code).toBe(0);
      expect(findings.map(({ name }) => name)).toEqual(
        expect.arrayContaining([
          'node',
          'zeromq curve',
          'python',
          'torch',
          'msgspec',
          'cpu',
          'disk',
          'memory',
          'hub token',
        ]),
      );
      expect(text).toContain('present (HF_TOKEN)');
      expect(text).not.toContain('hf_planted');
    } finally {
      delete process.env.HF_TOKEN;
    }
  });

  it('finds a torch that cannot be imported, with the command that repairs it', async () => {
    const python = withBrokenModule('torch', 'OSError("libtorch_cpu.so: cannot open shared object file")');
    const { code, findings } = await diagnose({ python });
    expect(code).toBe(3);
    const torch = findings.find(({ name, state }) => name === 'torch' && state === 'fail');
    expect(torch?.message).toContain('libtorch_cpu.so');
    expect(torch?.fix).toBe('sae-lens-ts setup');
  });

  it('finds a Python that dies at once, and shows what it said', async () => {
    const python = join(mkdtempSync(join(tmpdir(), 'doctor-')), 'python');
    writeFileSync(python, '#!/bin/sh\necho "error while loading shared libraries: libpython" >&2\nexit 127\n', {
      mode: 0o755,
    });
    const { code, findings } = await diagnose({ python });
    expect(code).toBe(3);
    expect(findings.find(({ name }) => name === 'python')?.message).toContain('libpython');
  });

  it('finds that there is no Python, as a table with the fix on its own line', async () => {
    let text = '';
    const code = await runDoctor({ python: '/no/such/python', write: (part) => (text += part) });
    expect(code).toBe(3);
    expect(text).toMatch(/FAIL {2}python .*\/no\/such\/python/);
    expect(text).toMatch(/\n +fix: sae-lens-ts setup\n/);
    expect(text).toContain('1 to fix');
  });
});
