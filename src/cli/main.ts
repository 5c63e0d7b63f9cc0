import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { ExitCode } from '../errors.ts';
import { nearest } from '../nearest.ts';
import { addCache } from './commands/cache.ts';
import { addCacheActivations } from './commands/cache-activations.ts';
import { addCompare } from './commands/compare.ts';
import { addCompletion } from './commands/completion.ts';
import { addConfig } from './commands/config.ts';
import { addDashboard } from './commands/dashboard.ts';
import { addDatasets } from './commands/datasets.ts';
import { addDoctor } from './commands/doctor.ts';
import { addDownload } from './commands/download.ts';
import { addEval } from './commands/eval.ts';
import { addExplain } from './commands/explain.ts';
import { addFeatures } from './commands/features.ts';
import { addHooks } from './commands/hooks.ts';
import { addInit } from './commands/init.ts';
import { addLs } from './commands/ls.ts';
import { addPretokenize } from './commands/pretokenize.ts';
import { addPretrained } from './commands/pretrained.ts';
import { addPrune } from './commands/prune.ts';
import { addReport } from './commands/report.ts';
import { addResume } from './commands/resume.ts';
import { addRm } from './commands/rm.ts';
import { addSetup } from './commands/setup.ts';
import { addShow } from './commands/show.ts';
import { addTrain } from './commands/train.ts';
import { addUpload } from './commands/upload.ts';
import { printError, printText, toBug, toSaeLensError } from './output.ts';
import { spellFlags } from './spelling.ts';

const words = process.argv.slice(2);
/** A command that has ended is gone so much later, whatever library still holds the process. */
const LEAVE_MS = 1_000;
// A reader that goes away (`| head`, a closed terminal) is no failure of ours (faults L9).
for (const out of [process.stdout, process.stderr]) out.on('error', () => {});

function version(): string {
  // The bundle is dist/cli/main.mjs, the source src/cli/main.ts: both two folders below package.json.
  return JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version;
}

const program = new Command('sae-lens-ts')
  .description('Train sparse autoencoders on the activations of language models.')
  .version(version(), '-V, --version')
  .addHelpText('after', '\nStart with: sae-lens-ts setup, then sae-lens-ts train --preset demo, or sae-lens-ts init');

for (const add of [
  addInit,
  addTrain,
  addResume,
  addDashboard,
  addReport,
  addLs,
  addShow,
  addRm,
  addPrune,
  addEval,
  addFeatures,
  addCompare,
  addCacheActivations,
  addCache,
  addSetup,
  addDoctor,
  addConfig,
  addExplain,
  addHooks,
  addUpload,
  addDownload,
  addPretrained,
  addPretokenize,
  addDatasets,
  addCompletion,
])
  add(program);
forEachCommand(program, (command) => {
  command.exitOverride().configureOutput({ writeErr: () => {} });
});

// What nobody caught is our fault; nothing that we know of the run can be trusted then (faults L7). Leaving ends the
// workers: they are killed as this process exits.
for (const event of ['uncaughtException', 'unhandledRejection']) {
  process.on(event, (error: unknown) => {
    printError(toBug(error), words.includes('--json'));
    process.exit(ExitCode.bug);
  });
}

try {
  await program.parseAsync(spellFlags(words), { from: 'user' });
} catch (error) {
  finish(error);
} finally {
  // Once, on a busy machine, a thread of ZeroMQ kept a process whose sockets were all closed. Nothing is left to wait for.
  setTimeout(() => process.exit(), LEAVE_MS).unref();
}

function finish(error: unknown): void {
  if (error instanceof CommanderError && error.exitCode === 0) return;
  if (error instanceof CommanderError && error.code === 'commander.help') {
    printText(commandOf(words).helpInformation(), process.stderr);
    process.exitCode = 2;
    return;
  }
  const known = toSaeLensError(withAdvice(error));
  printError(known, words.includes('--json'));
  process.exitCode = known.exitCode;
}

/** What commander says of the words it was given, with what to do about it. */
function withAdvice(error: unknown): unknown {
  if (!(error instanceof CommanderError)) return error;
  const command = commandOf(words);
  const help = `\`sae-lens-ts ${command === program ? '' : `${pathOf(command)} `}--help\``;
  if (error.code !== 'commander.unknownOption') {
    if (error.message.includes('\n')) return error;
    return new CommanderError(2, error.code, `${error.message}\n(see ${help})`);
  }
  // Commander compares names letter by letter; ours come with dashes and underscores, which mean the same.
  const unknown = /'(--?[^'=]+)/.exec(error.message)?.[1] ?? '';
  if (command.options.some(({ long }) => long === unknown)) {
    return new CommanderError(2, error.code, `${unknown} takes no value\n(write ${unknown} alone, or leave it out)`);
  }
  const flags = command.options.flatMap(({ long }) => (long ? [long.slice(2)] : []));
  const close = nearest(unknown.replace(/^-+/, ''), flags);
  const advice = close ? `did you mean --${close}?` : `list the flags with ${help}`;
  return new CommanderError(2, error.code, `There is no flag ${unknown}\n(${advice})`);
}

/** `cache info`. */
function pathOf(command: Command): string {
  return command.parent && command.parent !== program ? `${pathOf(command.parent)} ${command.name()}` : command.name();
}

/** The command that the first words name. */
function commandOf([first, second]: readonly string[]): Command {
  const command = program.commands.find((one) => one.name() === first) ?? program;
  return command.commands.find((one) => one.name() === second) ?? command;
}

function forEachCommand(command: Command, change: (command: Command) => void): void {
  change(command);
  for (const child of command.commands) forEachCommand(child, change);
}
