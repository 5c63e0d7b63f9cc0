import { join, relative } from 'node:path';
import type { RunState } from '../dashboard/shown.ts';
import { shellWord } from './shell-word.ts';

/** A command to paste. */
export interface NextStep {
  readonly command: string;
  readonly purpose: string;
}

/** The command that goes on with an interrupted run. */
export const resumeCommand = (folder: string): string => command('resume', folder);

/** What can be done with a run, by how it stands. */
export function commandsForRun(folder: string, state: RunState, code?: string): NextStep[] {
  if (state === 'running') return [{ command: command('dashboard', folder), purpose: 'watch it in a browser' }];
  const resume = { command: resumeCommand(folder), purpose: 'go on as if nothing had happened' };
  const explain = { command: `sae-lens-ts explain ${code}`, purpose: 'what it failed with, and what helps' };
  if (state !== 'done') return [...(code === undefined ? [] : [explain]), resume, report(folder)];
  return finished(folder);
}

function finished(folder: string): NextStep[] {
  return [
    { command: command('eval', folder), purpose: 'evaluate it in the language model' },
    { command: command('features', folder), purpose: 'pages of its latents: when they are active, what they write' },
    report(folder),
    {
      command: `${command('upload', folder)} --repo USER/NAME --dry-run`,
      purpose: 'see what sharing it on the hub would send',
    },
  ];
}

const report = (folder: string): NextStep => ({
  command: command('report', folder),
  purpose: 'all of it in one HTML file',
});

function command(word: string, folder: string): string {
  const shown = relative(process.cwd(), folder);
  return `sae-lens-ts ${word} ${shellWord(shown.startsWith('..') || shown === '' ? folder : shown)}`;
}

/**
 * What can be done with what a run left.
 *
 * @param resume the command that goes on; null where there is no going on
 * @param sae one of several, to show the way with
 */
export function nextSteps(
  run: string,
  { ended, output, checkpoint }: { ended: string; output: string | null; checkpoint: string | null },
  resume: string | null,
  sae = '',
): NextStep[] {
  const place = output ?? checkpoint;
  if (place === null) return [];
  const folder = join(place, sae);
  return [
    ...(ended === 'stopped' && resume !== null
      ? [{ command: resume, purpose: 'go on as if nothing had happened' }]
      : []),
    ...(ended === 'stopped' ? [report(run)] : finished(run)),
    {
      command: `python -c "from sae_lens import SAE; print(SAE.load_from_disk('${folder}'))"`,
      purpose: 'load it in Python, where SAELens is installed',
    },
    {
      command: `import { SAE } from 'sae-lens-ts'; const sae = await SAE.loadFromDisk('${folder}');`,
      purpose: 'load it in TypeScript',
    },
  ];
}
