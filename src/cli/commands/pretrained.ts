import type { Command } from 'commander';
import type { ReleaseSummary } from '../../runners/pretrained.ts';
import { printJson, printText } from '../output.ts';
import { tableText } from '../table.ts';

export function addPretrained(program: Command): void {
  const command = program
    .command('pretrained')
    .summary('list published SAEs')
    .description('List well-known releases of SAEs, or the SAEs of one.')
    .argument('[filter]', 'a release, or a part of the name of releases, models or repositories')
    .option('--registry <file>', 'releases of your own, beside the well-known ones')
    .option('--json', 'one JSON document on stdout')
    .action(async (filter: string | undefined) => {
      const { registry, json } = command.opts<{ registry?: string; json?: true }>();
      const { pretrainedReleases } = await import('../../runners/pretrained.ts');
      const releases = await pretrainedReleases(filter, { registry });
      if (json) return printJson(releases);
      const [only] = releases;
      if (only === undefined) printText(`No release, model or repository has "${filter}" in its name\n`);
      else printText(releases.length === 1 ? releaseText(only) : listText(releases));
    });
}

function listText(releases: readonly ReleaseSummary[]): string {
  const rows = releases.map(({ release, model, saes, format }) => [
    release,
    model,
    `${numberOf(saes)}${format === null ? ', no reader' : ''}`,
  ]);
  return `${tableText(rows, { indent: '  ' })}\nOne release: sae-lens-ts pretrained RELEASE\n`;
}

function releaseText({ release, repo, model, format, saes }: ReleaseSummary): string {
  const rows = Object.entries(saes).map(([id, path]) => (id === path ? [id] : [id, path]));
  const [id] = Object.keys(saes);
  const use =
    format === null
      ? 'This version has no reader for its format\n'
      : `Load one: await SAE.fromPretrained('${release}', '${id}')\nFetch it: sae-lens-ts download ${release} ${id}\n`;
  return `${release}: ${numberOf(saes)} on ${model}, in ${repo}\n\n${tableText(rows, { indent: '  ' })}\n${use}`;
}

function numberOf(saes: object): string {
  const count = Object.keys(saes).length;
  return count === 1 ? '1 SAE' : `${count} SAEs`;
}
