import { join, relative } from 'node:path';
import { shellWord } from './shell-word.ts';

/** The command that goes on with an interrupted run. */
export function resumeCommand(folder: string): string {
  const shown = relative(process.cwd(), folder);
  return `sae-lens-ts resume ${shellWord(shown.startsWith('..') ? folder : shown)}`;
}

/**
 * What can be done with what a run left.
 *
 * @param resume the command that goes on; null where there is no going on
 * @param sae one of several, to show the way with
 */
export function nextSteps(
  { ended, output, checkpoint }: { ended: string; output: string | null; checkpoint: string | null },
  resume: string | null,
  sae = '',
): { command: string; purpose: string }[] {
  const place = output ?? checkpoint;
  if (place === null) return [];
  const folder = join(place, sae);
  return [
    ...(ended === 'stopped' && resume !== null
      ? [{ command: resume, purpose: 'go on as if nothing had happened' }]
      : []),
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
