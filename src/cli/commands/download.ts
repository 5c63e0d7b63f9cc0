import type { Command } from 'commander';
import { SaeLensError } from '../../errors.ts';
import { printJson, printText } from '../output.ts';
import { tableText } from '../table.ts';

interface DownloadFlags {
  revision?: string;
  to?: string;
  registry?: string;
  json?: true;
}

export function addDownload(program: Command): void {
  const command = program
    .command('download')
    .summary('fetch a published SAE, or list those of a repository')
    .description('Fetch a published SAE into the Hugging Face cache, or list the SAEs of a repository.')
    .argument('<repo>', 'user/name on the hub, or the name of a release')
    .argument('[folder]', 'folder of the SAE, "." for the root; without one the SAEs are listed')
    .option('--revision <revision>', 'branch, tag or commit')
    .option('--to <folder>', 'a folder for the SAE, beside the cache')
    .option('--registry <file>', 'releases of your own, beside the well-known ones')
    .option('--json', 'one JSON document on stdout')
    .action(async (repo: string, folder: string | undefined) => {
      const { json, to, registry, ...flags } = command.opts<DownloadFlags>();
      const { createLogger } = await import('../../log.ts');
      const { downloadSaeFromHuggingface, publishedSaes } = await import('../../runners/download.ts');
      const { stoppable } = await import('../../runners/stoppable.ts');
      const options = { ...flags, log: createLogger() };
      if (folder !== undefined) {
        const id = folder === '.' ? '' : folder;
        const path = await stoppable((signal) =>
          downloadSaeFromHuggingface(repo, id, { ...options, to, registry, signal }),
        );
        return json ? printJson({ repo, folder: id, path }) : printText(`${path}\n`);
      }
      if (to !== undefined) {
        throw new SaeLensError('USAGE', `Cannot fetch "${repo}" to "${to}": it names no SAE`, {
          hint: `list its SAEs with \`sae-lens-ts download ${repo}\``,
        });
      }
      const saes = await stoppable((signal) => publishedSaes(repo, { ...options, signal }));
      if (json) return printJson({ repo, saes });
      const rows = saes.map((sae) => [sae.folder || '.', `${(sae.bytes / 1e6).toFixed(1)} MB`]);
      printText(tableText(rows, { right: [1] }));
      if (saes.length === 0) printText(`${repo} holds no SAE of a format that is known here\n`);
    });
}
