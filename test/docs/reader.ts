import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect } from 'vitest';
import { commandLineForTests, type Ended } from '../command-line.ts';
import { MockHub } from '../fixtures/mock-hub.ts';
import { tinyModel } from '../tiny-run.ts';
import { installPackage, runProgram } from '../user-project.ts';

/** What a reader has before a page is opened, as the pages speak of it: a configuration of their own, … */
const configIn = (home: string) => ({
  model_name: join(home, 'model'),
  hook_name: 'blocks.0.hook_resid_pre',
  dataset_path: join(home, 'text.jsonl'),
  streaming: false,
  sae: { architecture: 'topk', d_sae: 256, k: 4 },
  context_size: 32,
  store_batch_size_prompts: 4,
  n_batches_in_buffer: 4,
  train_batch_size_tokens: 128,
  training_tokens: 1280,
  n_eval_batches: 1,
  eval_batch_size_prompts: 2,
  logger: { log_to_wandb: false },
});
/** … runs, SAEs in folders … */
const RUNS = ['my-run', 'k16', 'k32', 'k64'];
const SAES = ['checkpoint', 'a', 'b'];
/** … and what others have on the hub. */
const PUBLISHED = {
  'user/repo': 'folder',
  'me/my-saes': 'folder/of/first',
  'jbloom/GPT2-Small-SAEs-Reformatted': 'blocks.8.hook_resid_pre',
};
/** Pages that make themselves what the others begin with. */
const WITHOUT: Readonly<Record<string, readonly string[]>> = {
  'docs/first-steps.md': ['config.yaml'],
  'docs/typescript-api.md': ['runs'],
};
/** The file that the YAML of a page is, where it does not say so itself in its first line. */
const FILE = /^# (\S+\.yaml)$/m;

/** Somebody who types what the pages say, each in a folder of its own, with a hub of the tests. */
export async function readerForTests() {
  const cli = commandLineForTests();
  const hub = await MockHub.start();
  const bin = join(cli.folder, 'bin');
  const env = {
    CHECKOUT: resolve('.'),
    PATH: `${bin}:${process.env.PATH}`,
    HF_ENDPOINT: hub.url,
    HF_HOME: join(cli.folder, 'hub'),
    HF_TOKEN: 'hf_planted0123456789abcdef',
    HF_HUB_OFFLINE: undefined,
    WANDB_MODE: 'offline',
  };
  const home = join(cli.folder, 'home');
  const run = (line: string, folder: string): Promise<Ended> => cli.shell(`cd '${folder}' && ${line}`, env);
  /** A line that goes on until Ctrl-C. */
  const serve = async (line: string, folder: string): Promise<Ended> => {
    const command = cli.startShell(`cd '${folder}' && exec ${line}`, env);
    await command.saw('token=');
    command.child.kill('SIGINT');
    return command.ended;
  };

  async function prepare(): Promise<void> {
    mkdirSync(bin);
    writeFileSync(
      join(bin, 'sae-lens-ts'),
      `#!/bin/sh\nexec '${process.execPath}' '${resolve('bin/sae-lens-ts.js')}' "$@"\n`,
    );
    chmodSync(join(bin, 'sae-lens-ts'), 0o755);
    mkdirSync(home);
    symlinkSync(join(tinyModel(), 'model'), join(home, 'model'));
    writeFileSync(join(home, 'text.jsonl'), readFileSync(join(tinyModel(), 'text.jsonl'), 'utf8').repeat(20));
    // YAML takes JSON too.
    writeFileSync(join(home, 'config.yaml'), JSON.stringify(configIn(home)));
    const trained = await run('sae-lens-ts train config.yaml --name my-run', home);
    expect(trained.code, trained.stderr).toBe(0);
    for (const name of RUNS.slice(1)) cpSync(join(home, 'runs/my-run'), join(home, 'runs', name), { recursive: true });
    const output = join(home, 'runs/my-run/output');
    for (const name of SAES) cpSync(output, join(home, name), { recursive: true });
    for (const [repo, folder] of Object.entries(PUBLISHED)) hub.commit(repo, filesOf(output, folder));
  }
  /** A run to go on with. */
  async function interrupt(): Promise<void> {
    const flags = '--name interrupted --training_tokens 128000 --n_checkpoints 24';
    const stopped = cli.startShell(`cd '${home}' && exec sae-lens-ts train config.yaml ${flags}`, env);
    await stopped.saw('checkpoints/');
    stopped.child.kill('SIGINT');
    expect((await stopped.ended).code).toBe(130);
  }

  return {
    prepare,
    interrupt,
    close: () => hub.close(),
    run,
    serve,
    /** The folder in which a page is read. */
    open: (page: string): string => {
      const folder = join(cli.folder, page.replaceAll('/', '-').replace('.md', ''));
      cpSync(home, folder, {
        recursive: true,
        filter: (path) => !(WITHOUT[page] ?? []).includes(path.slice(home.length + 1)),
      });
      installPackage(folder);
      mkdirSync(join(folder, 'node_modules/.bin'));
      symlinkSync(join(bin, 'sae-lens-ts'), join(folder, 'node_modules/.bin/sae-lens-ts'));
      return folder;
    },
    write: (yaml: string, folder: string): void => writeFileSync(join(folder, FILE.exec(yaml)?.[1] ?? 'x.yaml'), yaml),
    program: (source: string, folder: string): Promise<Ended> =>
      runProgram(folder, 'program', source, cli.environment(env)),
  };
}

/** The files of a folder, as a repository has them below `at`. */
function filesOf(root: string, at: string): Record<string, Buffer> {
  const paths = readdirSync(root).filter((name) => statSync(join(root, name)).isFile());
  return Object.fromEntries(paths.map((name) => [`${at}/${name}`, readFileSync(join(root, name))]));
}
