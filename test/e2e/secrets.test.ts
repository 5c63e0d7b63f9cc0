import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Command, commandLineForTests, type Ended } from '../command-line.ts';
import { marked } from '../orphans.ts';
import { tinyModel, tinyRun } from '../tiny-run.ts';

const { folder, marker, shell, start } = commandLineForTests();

/** Where secrets come from: variables of ours and of others, one of which is the name of a folder too, and addresses. */
const SECRETS = {
  HF_TOKEN: 'hf_planted0123456789abcdef',
  WANDB_API_KEY: 'planted0123456789abcdef0123456789abcdef01',
  DATABASE_PASSWORD: 'planted-database-password',
};
const IN_ADDRESS = 'planted-in-address';
const ADDRESS = `https://user:${IN_ADDRESS}@127.0.0.1:1/text.jsonl`;
const MODEL_BATCH = ['--model_batch_size', '4'];
const ALL = [...Object.values(SECRETS), IN_ADDRESS];

const data = join(folder, 'data', SECRETS.DATABASE_PASSWORD);
mkdirSync(data, { recursive: true });
cpSync(join(tinyModel(), 'text.jsonl'), join(data, 'text.jsonl'));
const DATASET = ['--dataset_path', join(data, 'text.jsonl')];

const commandLine = (pid: number): string =>
  existsSync(`/proc/${pid}/cmdline`) ? readFileSync(`/proc/${pid}/cmdline`, 'utf8') : '';

/** Arguments of the processes that a command started; its own a person typed, and a child has them until it is another. */
function otherCommandLines(own: number): string {
  const typed = commandLine(own);
  const lines = marked(marker).map(commandLine);
  return lines.filter((line) => line !== typed).join('\n');
}

/** What a command printed, and the arguments of the processes that it started, while it ran. */
async function watched(words: readonly string[], env = {}): Promise<Ended & { seen: string }> {
  const command: Command = start(words, { env: { ...SECRETS, ...env } });
  let seen = '';
  const watch = setInterval(() => {
    seen += otherCommandLines(command.pid);
  }, 500);
  const ended = await command.ended;
  clearInterval(watch);
  return { ...ended, seen };
}

async function expectNoSecret({ stdout, stderr, seen }: { stdout: string; stderr: string; seen: string }) {
  for (const secret of ALL) {
    for (const [where, text] of Object.entries({ stdout, stderr, 'a list of processes': seen })) {
      const line = text.split('\n').find((one) => one.includes(secret));
      expect(line, where).toBeUndefined();
    }
    // The data's own folder is named so.
    expect(await shell(`grep -rl ${secret} . --exclude-dir=data`)).toMatchObject({ stdout: '' });
  }
}

describe('secrets are in no output, file, log or list of processes (P8, X7)', () => {
  it('of a run with every kind of file, W&B and several levels of words', async () => {
    const words = ['--json', '--name', 'a-run', '--n_checkpoints', '1', '--eval_every_n_wandb_logs', '2'];
    words.push('--feature_sampling_window', '5', '--wandb_log_frequency', '1');
    const wandb = ['--log_to_wandb', 'true', '--run_name', SECRETS.DATABASE_PASSWORD];
    const ended = await watched(tinyRun(...words, ...DATASET, ...wandb), { WANDB_MODE: 'offline' });
    expect(ended.stderr).toContain('Done: 10 steps');
    expect(ended.code).toBe(0);
    const made = readdirSync(folder, { recursive: true, encoding: 'utf8' });
    const kinds = ['histograms.jsonl', 'metrics.jsonl', 'log.jsonl', 'run.json', 'config.yaml', 'manifest.json'];
    for (const kind of [...kinds, '.wandb']) expect(made.filter((path) => path.endsWith(kind))).not.toEqual([]);
    await expectNoSecret(ended);
  });

  it('of what is shown of that run: its report and every answer of the dashboard', async () => {
    const report = await watched(['report', 'runs/a-run']);
    expect(report.code, report.stderr).toBe(0);
    await expectNoSecret(report);
    const dashboard = start(['dashboard', 'runs', '--port', '0'], { env: SECRETS });
    await dashboard.saw('token=');
    const url = new URL(/http:\S+/.exec(dashboard.stdout)?.[0] as string);
    const begun = await fetch(url, { redirect: 'manual' });
    const headers = {
      cookie: begun.headers
        .getSetCookie()
        .map((one) => one.split(';')[0])
        .join('; '),
    };
    for (const path of ['/', '/api/runs', '/api/run?id=a-run', '/api/series?id=a-run', '/api/run?id=none']) {
      const answer = await fetch(new URL(path, url.origin), { headers });
      expect(answer.status, path).toBe(path.endsWith('none') ? 400 : 200);
      const text = await answer.text();
      for (const secret of ALL) expect(text, path).not.toContain(secret);
      if (path.includes('run?id=a-run')) expect(text).toContain('feature_density');
    }
    dashboard.child.kill('SIGINT');
    await expectNoSecret({ ...(await dashboard.ended), seen: '' });
  });

  it.each([
    ['train', ['--dataset_path', ADDRESS, '--json']],
    ['train', ['--model_name', ADDRESS]],
    ['train', ['--dataset_path', ADDRESS, '--dry-run']],
    ['train', ['--model_from_pretrained_kwargs', `{"token": "${SECRETS.HF_TOKEN}"}`]],
    ['train', ['--lr', SECRETS.DATABASE_PASSWORD]],
  ])('of a command that fails or only plans: %s %j', async (_, words) => {
    const ended = await watched(tinyRun(...words));
    expect(ended.stdout + ended.stderr).not.toBe('');
    await expectNoSecret(ended);
  });

  it('of prepared data', async () => {
    const tokenizer = ['--tokenizer_name', join(tinyModel(), 'model'), '--save_path', 'tokenized'];
    const shapes = ['--context_size', '32', '--begin_batch_token', 'bos'];
    const tokens = await watched(['pretokenize', ...DATASET, ...tokenizer, ...shapes]);
    expect(tokens.stderr).toMatch(/tokenized|sequences/);
    expect(tokens.code).toBe(0);
    await expectNoSecret(tokens);
    const model = ['--model_name', join(tinyModel(), 'model'), '--model_class_name', 'AutoModelForCausalLM'];
    const place = ['--hook_name', 'model.layers.0', '--new_cached_activations_path', 'cached', '--device', 'cpu'];
    const cache = ['cache-activations', ...DATASET, ...model, ...place, '--training_tokens', '640'];
    const cached = await watched([...cache, '--context_size', '32', '--streaming', 'false', ...MODEL_BATCH]);
    expect(cached.code, cached.stderr).toBe(0);
    await expectNoSecret(cached);
    // What was made is known again, although its records hold less than was asked.
    const again = await watched([...cache, '--context_size', '32', '--streaming', 'false', ...MODEL_BATCH]);
    expect(again.code, again.stderr).toBe(0);
  });
});
