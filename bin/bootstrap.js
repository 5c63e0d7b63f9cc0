#!/usr/bin/env node
/**
 * From a fresh clone to a built checkout: node modules, then dist. Node's own modules only, since nothing else is
 * there yet. Each half is skipped when it is already what package-lock.json and the sources say.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const INSTALL_OPTIONS = ['--no-save', '--ignore-scripts', '--include=dev', '--no-audit', '--no-fund'];
const builtFrom = join(root, 'dist', '.built-from');

/** npm writes node_modules/.package-lock.json last: it says what is really installed. */
function modulesAreInstalled() {
  const installedLock = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(installedLock)) return false;
  const installed = JSON.parse(readFileSync(installedLock, 'utf8')).packages;
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === '') return true;
    const present = installed[path];
    return present === undefined ? entry.optional === true : present.version === entry.version;
  });
}

/** One hash of everything that decides what dist is. */
function sourcesHash() {
  const files = readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  const settings = ['package.json', 'package-lock.json', 'tsconfig.json', 'tsdown.config.ts'];
  const hash = createHash('sha256');
  for (const file of [...files.sort(), ...settings.map((name) => join(root, name))]) {
    const bytes = readFileSync(file);
    hash.update(`${file.slice(root.length)}\0${bytes.length}\0`).update(bytes);
  }
  return hash.digest('hex');
}

/** Runs a command in the checkout with its output passed on, now or when it has failed; its failure is ours. */
function run(what, command, args, show = 'now') {
  process.stderr.write(`${what}: ${command} ${args.join(' ')}\n`);
  // stdout belongs to whatever runs after us, which may print JSON there.
  const { status, error, stdout, stderr } = spawnSync(command, args, {
    cwd: root,
    stdio: show === 'now' ? ['ignore', 2, 2] : 'pipe',
    shell: process.platform === 'win32',
  });
  if (status === 0) return;
  if (show !== 'now') process.stderr.write(`${stdout ?? ''}${stderr ?? ''}`);
  process.stderr.write(`${what} failed${error ? `: ${error.message}` : ` (exit code ${status})`}.\n`);
  process.exit(3);
}

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`Node 20.19 or newer is needed; this is ${process.version}.\n`);
  process.exit(3);
}
if (!modulesAreInstalled()) {
  // Dev dependencies hold the bundler; install scripts are not needed by anything we use. Not `npm ci`: it refuses a
  // lock that lacks optional packages of other platforms, and ours has only those that its registry had.
  run('Installing node modules', 'npm', ['install', ...INSTALL_OPTIONS]);
}
const hash = sourcesHash();
if (!existsSync(builtFrom) || readFileSync(builtFrom, 'utf8') !== hash) {
  // The bundler tells users of Node 20 that it will leave them: news for us, not for them.
  const bundler = join('node_modules', 'tsdown', 'dist', 'run.mjs');
  run('Building', process.execPath, [bundler, '--logLevel', 'error'], 'on failure');
  writeFileSync(builtFrom, hash);
}
