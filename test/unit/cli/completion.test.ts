import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'completion-'));
const bin = join(folder, 'bin');
const env = { PATH: `${bin}${delimiter}${process.env.PATH}`, HOME: folder };
afterAll(() => rmSync(folder, { recursive: true }));

beforeAll(() => {
  mkdirSync(bin);
  const program = `#!/bin/sh\nexec '${process.execPath}' '${resolve('bin/sae-lens-ts.js')}' "$@"\n`;
  writeFileSync(join(bin, 'sae-lens-ts'), program, { mode: 0o755 });
  for (const name of ['brave-fox', 'calm-owl']) {
    mkdirSync(join(folder, 'runs', name), { recursive: true });
    writeFileSync(join(folder, 'runs', name, 'run.json'), '{}');
    writeFileSync(join(folder, 'runs', name, 'config.yaml'), `hook_name: ${name}.hook # flags\n`);
  }
});

/** What bash offers for a line when Tab is pressed at its end. */
function tab(line: string): string[] {
  const script = `eval "$(sae-lens-ts completion bash)"
    COMP_LINE=$1 COMP_POINT=\${#1} COMP_TYPE=9
    read -ra COMP_WORDS <<<"$(sed 's/[:=]/ & /g' <<<"$1")"
    [[ $1 == *' ' ]] && COMP_WORDS+=('')
    COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
    _sae_lens_ts
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  const out = execFileSync('bash', ['-c', script, 'bash', line], { cwd: folder, env, encoding: 'utf8' });
  return out.split('\n').filter((one) => one !== '');
}

const offered = (...words: string[]): string[] => {
  const { stdout } = spawnSync('sae-lens-ts', ['complete', '--', ...words], { cwd: folder, env, encoding: 'utf8' });
  return stdout.split('\n').flatMap((one) => (one === '' ? [] : [one.split('\t')[0] as string]));
};

test.each<[string, string[]]>([
  ['sae-lens-ts tr', ['train']],
  ['sae-lens-ts config p', ['print']],
  ['sae-lens-ts train --archi', ['--architecture']],
  ['sae-lens-ts train --n-batches-f', ['--n_batches_for_norm_estimate']],
  ['sae-lens-ts train --architecture to', ['topk']],
  ['sae-lens-ts train --architecture=to', ['topk']],
  ['sae-lens-ts train --preset gpt2-', ['gpt2-topk', 'gpt2-batchtopk', 'gpt2-jumprelu']],
  ['sae-lens-ts init --template gem', ['gemma-2-2b']],
  ['sae-lens-ts resume ', ['brave-fox', 'calm-owl']],
  ['sae-lens-ts compare brave-fox ca', ['calm-owl']],
  ['sae-lens-ts train --hook_name bra', ['brave-fox.hook']],
  ['sae-lens-ts train --model_name bundled:', ['smollm2-135m']],
  ['sae-lens-ts explain HOOK_NOT', ['HOOK_NOT_FOUND']],
  ['sae-lens-ts train --streaming f', ['false']],
])('bash offers for "%s" %j', (line, expected) => {
  expect(tab(line)).toEqual(expected);
});

test('what was typed is never run by the shell', () => {
  expect(tab('sae-lens-ts resume $(touch owned); touch owned; ')).toEqual([]);
  expect(spawnSync('ls', ['owned'], { cwd: folder }).status).not.toBe(0);
});

test('what lies on the disk is offered only where a shell takes it as a word', () => {
  for (const name of ['brave-$(touch owned)', 'brave fox', 'brave\nfox', '-brave']) {
    mkdirSync(join(folder, 'runs', name));
    writeFileSync(join(folder, 'runs', name, 'run.json'), '{}');
    writeFileSync(join(folder, 'runs', name, 'config.yaml'), 'hook_name: brave;touch\n');
  }
  expect(offered('show', '')).toEqual(['brave-fox', 'calm-owl']);
  expect(offered('train', '--hook_name', 'brave')).toEqual(['brave-fox.hook']);
});

test('the protocol for every shell: a line for each word that may come, behind a tab what it means', () => {
  expect(offered('')).toEqual(expect.arrayContaining(['init', 'train', 'completion']));
  expect(offered('')).not.toContain('complete');
  expect(offered('completion', '')).toEqual(['bash', 'zsh', 'fish']);
  expect(offered('train', '')).toEqual([]);
});

const has = (shell: string): boolean => spawnSync(shell, ['--version']).status === 0;

/** What fish offers for a line when Tab is pressed at its end, files too. */
function tabInFish(line: string): string[] {
  const script = 'source (sae-lens-ts completion fish | psub); complete -C "$argv[1]"';
  const out = execFileSync('fish', ['--no-config', '-c', script, line], { cwd: folder, env, encoding: 'utf8' });
  return out.split('\n').flatMap((one) => (one === '' ? [] : [one.split('\t')[0] as string]));
}

test.skipIf(!has('fish')).each<[string, string[]]>([
  ['sae-lens-ts tr', ['train']],
  ['sae-lens-ts train --architecture=to', ['--architecture=topk']],
  ['sae-lens-ts train --preset gpt2-', ['gpt2-batchtopk', 'gpt2-jumprelu', 'gpt2-topk']],
  ['sae-lens-ts resume ', ['brave-fox', 'calm-owl']],
  ['sae-lens-ts compare brave-fox ca', ['calm-owl']],
  ['sae-lens-ts train --model_name bundled:', ['bundled:smollm2-135m']],
  ['sae-lens-ts upload ru', ['runs/']],
])('fish offers for "%s" %j', (line, expected) => {
  expect(tabInFish(line)).toEqual(expected);
});

/** A zsh in a terminal of its own, in which Tab is pressed behind a line; what is on its line then, and all it has said. */
function tabInZsh(line: string): { line: string; said: string } {
  const inner = `PROMPT= COLUMNS=120; autoload -Uz compinit; compinit -u -D; eval "$(sae-lens-ts completion zsh)"
    press() { zle complete-word; print -r -- "[[$BUFFER]]"; exit }; zle -N press; bindkey '^I' press; print RE''ADY`;
  const outer = `zmodload zsh/zpty; zpty z zsh -f -i; zpty -w z "$1"
    while zpty -r z said && [[ $said != *READY* ]]; do :; done
    zpty -n -w z "$2"$'\\t'
    while zpty -r z said; do print -rn -- "$said"; done`;
  const words = ['-f', '-c', outer, 'zsh', inner.replaceAll('\n', ';'), line];
  const options = { cwd: folder, env: { ...env, TERM: 'dumb' }, timeout: 20_000 } as const;
  const said = execFileSync('zsh', words, { ...options, encoding: 'utf8' });
  return { line: /\[\[(.*)\]\]/.exec(said)?.[1] ?? '', said };
}

test.skipIf(!has('zsh')).each([
  ['sae-lens-ts tr', 'sae-lens-ts train '],
  ['sae-lens-ts train --architecture=to', 'sae-lens-ts train --architecture=topk '],
  ['sae-lens-ts compare brave-fox ca', 'sae-lens-ts compare brave-fox calm-owl '],
  ['sae-lens-ts train --model_name bundled:', 'sae-lens-ts train --model_name bundled:smollm2-135m '],
  ['sae-lens-ts upload ru', 'sae-lens-ts upload runs/'],
])('zsh makes of "%s" "%s"', (line, expected) => {
  expect(tabInZsh(line).line).toBe(expected);
});

test.skipIf(!has('zsh'))('zsh lists what several words may come, with what they mean', () => {
  const { said } = tabInZsh('sae-lens-ts train --preset gpt2-');
  for (const word of ['gpt2-topk', 'gpt2-batchtopk', 'gpt2-jumprelu', '-- gpt2-small, layer 8'])
    expect(said).toContain(word);
});
