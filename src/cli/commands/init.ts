import type { Command } from 'commander';
import { PRESETS } from '../../config/presets/index.ts';
import { SaeLensError } from '../../errors.ts';
import { asCalled } from '../../program-name.ts';
import type { InitOptions } from '../../runners/init.ts';
import { printJson, printText } from '../output.ts';
import { tableText } from '../table.ts';

interface InitFlags {
  force?: true;
  json?: true;
  template?: string;
  yes?: true;
}

export function addInit(program: Command): void {
  const command = program
    .command('init')
    .summary('write a configuration to begin with')
    .description('Write a commented configuration: asks six questions, or takes a preset as it is.')
    .argument('[file]', 'where to write it', 'config.yaml')
    .option('--preset, --template <name>', 'the preset to begin with; the questions then offer its answers')
    .option('-y, --yes', 'ask nothing')
    .option('--force', 'replace a file that is there')
    .option('--json', 'one JSON document on stdout')
    .addHelpText('after', () => `\nPresets:\n${presetList()}`)
    .action(async (file: string) => {
      const { force = false, json, template: preset, yes } = command.opts<InitFlags>();
      const mayAsk = process.stdin.isTTY && process.stdout.isTTY && !yes && !json;
      const options = mayAsk ? await ask(file, preset, force) : { preset: preset ?? refuse(), force };
      const { initConfig } = await import('../../runners/init.ts');
      const written = await initConfig(file, options);
      if (json) return printJson(written);
      const next = written.next.map(({ command: line, purpose }) => `  ${asCalled(line)}\n      ${purpose}\n`);
      printText(`wrote ${written.path}\nNext:\n${next.join('')}`);
    });
}

const presetList = (): string =>
  tableText(
    Object.entries(PRESETS).map(([name, { description }]) => [name, description]),
    { indent: '  ' },
  );

async function ask(file: string, preset: string | undefined, force: boolean): Promise<InitOptions> {
  const { askInit } = await import('../init-questions.ts');
  return askInit(file, preset, force);
}

function refuse(): never {
  throw new SaeLensError('USAGE', 'Cannot ask what to train: this is no terminal, or questions are not wanted', {
    hint: `name what to begin with: --template ${Object.keys(PRESETS).join(' | ')}`,
  });
}
