import type { Command } from 'commander';
import { printJson, printNotice, printText } from '../output.ts';

export function addCache(program: Command): void {
  const command = program.command('cache').summary('look at, verify and repair a cache of activations');
  command.description('Look at, verify and repair a cache of activations.');
  command
    .command('info')
    .description('Say what a cache holds.')
    .argument('<path>', 'folder of the cache')
    .option('--json', 'one JSON document on stdout')
    .action(async (path: string, { json }: { json?: true }) => {
      const { cacheInfo, infoText } = await import('../../runners/cache-info.ts');
      const info = await cacheInfo(path);
      if (json) return printJson(info);
      printText(`${infoText(info)}\n`);
    });
  command
    .command('verify')
    .description('Compare every byte of a cache with its manifest; name the shards that are damaged.')
    .argument('<path>', 'folder of the cache')
    .option('--json', 'one JSON document on stdout')
    .action(async (path: string, { json }: { json?: true }) => {
      const { verifyCache } = await import('../../runners/cache.ts');
      const { manifest, unknown } = await verifyCache(path);
      const { shards } = manifest;
      if (json) return printJson({ ok: true, files: shards.map(({ file }) => file), unknown });
      if (unknown.length > 0) printNotice(`not of this cache: ${unknown.join(', ')}`);
      printText(`ok: ${shards.length === 1 ? 'the file is' : `all ${shards.length} files are`} what was written\n`);
    });
  command
    .command('repair')
    .description('Compute the damaged shards of a cache again, and only those.')
    .argument('<path>', 'folder of the cache')
    .option('--json', 'one JSON document on stdout')
    .action(async (path: string, { json }: { json?: true }) => {
      const { repairInTerminal } = await import('../../runners/cache-in-terminal.ts');
      const files = await repairInTerminal(path);
      if (json) return printJson({ repaired: files });
      const text =
        files.length === 0 ? 'nothing to repair: every file is what was written' : `repaired ${files.join(', ')}`;
      printText(`${text}\n`);
    });
}
