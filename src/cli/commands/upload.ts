import type { Command } from 'commander';
import { printJson, printText } from '../output.ts';
import { tableText } from '../table.ts';

interface UploadFlags {
  repo: string;
  revision?: string;
  private?: true;
  dryRun?: true;
  force?: true;
  card: boolean;
  json?: true;
}

export function addUpload(program: Command): void {
  const command = program
    .command('upload')
    .summary('share SAEs on the Hugging Face hub')
    .description(
      'Share finished SAEs on the Hugging Face hub, in one commit, so that SAELens and sae-lens-ts load them.',
    )
    .argument('<folder[=sae_id]...>', 'run folders or SAE folders; without =sae_id an SAE is named by its hook')
    .requiredOption('--repo <user/name>', 'model repository; made when it is not there')
    .option('--revision <branch>', 'branch; made when it is not there')
    .option('--private', 'make a private repository, and never send to a public one')
    .option('--no-card', 'leave the model card alone')
    .option('--force', 'replace other SAEs that have these names there')
    .option('--dry-run', 'say what would be sent, and change nothing')
    .option('--json', 'one JSON document on stdout')
    .action(async (folders: string[]) => {
      const flags = command.opts<UploadFlags>();
      const { stoppable } = await import('../../runners/stoppable.ts');
      const { namedSaes, uploadSaesToHuggingface } = await import('../../runners/upload.ts');
      const options = {
        hf_repo_id: flags.repo,
        hf_revision: flags.revision,
        hf_is_private_repo: flags.private,
        add_default_readme: flags.card,
        dry_run: flags.dryRun,
        force: flags.force,
      };
      const result = await stoppable(async (signal) =>
        uploadSaesToHuggingface(await namedSaes(folders), { ...options, signal }),
      );
      if (flags.json) return printJson(result);
      const { url, sent, deleted } = result;
      const rows = sent.map(({ path, bytes }) => [path, `${(bytes / 1e6).toFixed(3)} MB`]);
      printText(tableText([...rows, ...deleted.map((path) => [path, 'goes away'])], { right: [1] }));
      const nothing = sent.length + deleted.length === 0 ? 'Nothing to do: everything is there already. ' : '';
      const end = flags.dryRun ? 'Nothing was sent. Run without --dry-run to send it to' : 'It is at';
      printText(`${nothing}${nothing && flags.dryRun ? 'It is at' : end} ${url}\n`);
    });
}
