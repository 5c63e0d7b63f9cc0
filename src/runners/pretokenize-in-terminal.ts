import type { RunnerOptions } from '../config/index.ts';
import { bytes, compact, duration, grouped } from '../format.ts';
import { plainText } from '../plain-text.ts';
import { PROGRAM } from '../program-name.ts';
import type { LiveLine } from '../sinks/live-line.ts';
import { PretokenizeProgress } from '../sinks/pretokenize-progress.ts';
import { type InTerminalOptions, inTerminal } from './in-terminal.ts';
import { type PretokenizeResult, startPretokenizing } from './pretokenize.ts';
import type { PretokenizeEvent } from './pretokenize-events.ts';
import { shellWord } from './shell-word.ts';
import type { StopWords } from './stop-on-signal.ts';

const STOP_WORDS: StopWords = {
  what: 'Pretokenizing',
  stopping: 'putting down what is done (Ctrl-C again to stop now)',
  hint: 'run the same command again: it goes on from what was put down',
};

/**
 * Pretokenizes with a terminal in front: live line, Ctrl-C once to put down what is done and twice for an end at once.
 *
 * @throws SaeLensError what the work failed with; INTERRUPTED or TERMINATED when it was killed
 */
export function pretokenizeInTerminal(config: RunnerOptions['pretokenize'], options: InTerminalOptions): Promise<void> {
  return inTerminal(STOP_WORDS, options, async ({ line, log, sink, signals }) => {
    const show = shower(line);
    for (const [name, value] of headerOf(config)) line.print(line.field(name, value));
    const starting = startPretokenizing(config, {
      log,
      onEvent: (event) => {
        sink?.consume(event);
        show(event);
      },
    });
    const run = await Promise.race([starting, signals.beforeStart]);
    signals.watch(run);
    const result = await run.done;
    line.end();
    for (const text of summary(config, result)) line.print(plainText(text));
    sink?.consume(finished(result));
    if (result.ended === 'stopped') process.exitCode = signals.exitCode;
  });
}

/** The result under the names that everything else has on the border and in files. */
function finished(made: PretokenizeResult) {
  const fields = Object.entries(made).map(([key, value]) => [
    key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    value,
  ]);
  return { kind: 'finished', ...Object.fromEntries(fields) };
}

/** What is known before anything starts. */
export function headerOf(config: RunnerOptions['pretokenize']): [string, string][] {
  const { save_path, hf_repo_id, context_size, seed } = config;
  return [
    ['data', `${config.dataset_path} · column ${config.column_name} · split ${config.split}`],
    ['tokenizer', config.tokenizer_name],
    ['sequences', `${grouped(context_size)} tokens: ${layoutOf(config)}`],
    ['order', config.shuffle ? `shuffled${seed === null ? '' : `, seed ${seed}`}` : 'as in the dataset'],
    ...(save_path === null ? [] : [['files', save_path] as [string, string]]),
    ...(hf_repo_id === null ? [] : [['hub', `${hf_repo_id} at ${config.hf_revision}`] as [string, string]]),
  ];
}

/** `BOS document BOS document …`, the special tokens where they stand. */
function layoutOf(config: RunnerOptions['pretokenize']): string {
  const token = (value: number | string | null): string[] => {
    if (value === null) return [];
    return [typeof value === 'number' ? `#${value}` : value.toUpperCase()];
  };
  const document = [...token(config.begin_sequence_token), 'document'];
  if (config.disable_concat_sequences) {
    const first = config.begin_sequence_token === null ? token(config.begin_batch_token) : [];
    return `${[...first, ...document].join(' ')}, one each, shorter ones left out`;
  }
  const between = token(config.sequence_separator_token);
  return [...token(config.begin_batch_token), ...document, ...between, ...document, '…'].join(' ');
}

function shower(line: LiveLine): (event: PretokenizeEvent) => void {
  const progress = new PretokenizeProgress();
  let stage = '';
  return (event) => {
    if (event.kind === 'progress') {
      progress.consume(event, performance.now() / 1000);
      line.draw(progress.parts());
    } else if (event.kind === 'continued') {
      const total = event.total === null ? '' : ` of ${grouped(event.total)}`;
      line.print(`continuing after ${grouped(event.documents)}${total} documents, ${compact(event.tokens)} tokens`);
    } else if (event.kind === 'upload') {
      line.draw([`sending ${event.path}`, `${bytes(event.sent_bytes)}/${bytes(event.total_bytes)}`]);
    } else if (event.kind === 'stage' && event.stage !== 'tokenize') {
      if (event.stage !== stage) line.print(plainText(event.message));
      stage = event.stage;
      if (event.total !== null) line.draw([`${event.message} ${grouped(event.done ?? 0)}/${grouped(event.total)}`]);
    }
  };
}

function summary(config: RunnerOptions['pretokenize'], made: PretokenizeResult): string[] {
  const counts = `${grouped(made.nDocuments)} documents, ${compact(made.nTokens)} tokens`;
  if (made.ended === 'stopped') {
    return [
      `Stopped: ${counts} are in ${made.partial}`,
      'Run the same command again to go on from there; remove that folder to begin anew',
    ];
  }
  const path = config.save_path ?? made.path;
  const size = `${grouped(made.nSequences)} sequences of ${grouped(made.contextSize)} tokens`;
  const lines = [
    made.ended === 'present' ? `It is there already: ${size}` : `Done: ${size} in ${duration(made.elapsedS)}`,
    `  from ${counts}; ${grouped(made.nTokensLeftOver)} tokens at the end are less than a sequence`,
  ];
  if (config.disable_concat_sequences) {
    lines[1] = `  from ${counts}; ${grouped(made.nShortDocuments)} documents were too short`;
  }
  if (made.url !== null) lines.push(`  hub      ${made.url}`);
  if (config.save_path !== null) {
    lines.push(`  dataset  ${path} · ${made.nShards} file${made.nShards === 1 ? '' : 's'} · ${bytes(made.nBytes)}`);
  }
  const place = config.save_path === null ? (config.hf_repo_id ?? path) : path;
  lines.push(
    'Next:',
    `  ${PROGRAM} train --dataset_path ${shellWord(place)} --context_size ${made.contextSize} --model_name … --hook_name …`,
    '      trains on it; the tokenizer is checked against the model',
  );
  if (config.save_path !== null) {
    lines.push(
      `  ${PROGRAM} datasets peek ${shellWord(path)} --tokenizer ${shellWord(config.tokenizer_name)}`,
      '      shows its first sequences as text',
    );
  }
  return lines;
}
