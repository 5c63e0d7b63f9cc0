import { type Command, InvalidArgumentError } from 'commander';
import { SaeLensError } from '../errors.ts';
import { printNotice } from './output.ts';

export interface ListenFlags {
  host?: string;
  port?: number;
  strict_port?: true;
}

/** Where a server of pages listens. */
export function addListenFlags(command: Command, defaultPort: number): Command {
  return command
    .option('--port <port>', `port to listen on; taken, the next free one (default: ${defaultPort})`, portOf)
    .option('--strict_port', 'refuse a port that is taken')
    .option('--host <address>', 'address to listen on, for other machines (default: 127.0.0.1)');
}

/** What was chosen; says what it means to be reached from other machines. */
export function listenOptions({ host, port, strict_port }: ListenFlags, whatTheyCan: string) {
  if (host !== undefined) printNotice(`${host}: whoever has the address below can ${whatTheyCan}`);
  return { host, port, strictPort: strict_port };
}

/** @throws SaeLensError USAGE when one was given where nothing is served */
export function requireNoListenFlags(flags: ListenFlags): void {
  const [given] = (['port', 'strict_port', 'host'] as const).filter((name) => flags[name] !== undefined);
  if (given === undefined) return;
  throw new SaeLensError('USAGE', `--${given} has no effect without --serve`, { hint: 'add --serve' });
}

function portOf(word: string): number {
  const port = Number(word);
  if (!/^\d+$/.test(word) || port > 65_535) throw new InvalidArgumentError('a port is a number from 0 to 65535');
  return port;
}
