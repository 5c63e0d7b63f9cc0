import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, type Ended } from './command-line.ts';

/** Python with nbclient and Deno; `npm test` makes it. */
export const JUPYTER = process.env.SAE_LENS_TS_JUPYTER_PYTHON;
const EXECUTE = fileURLToPath(new URL('execute_notebook.py', import.meta.url));
const TSLAB = 'tslab@1.0.22';
const CELL_DEADLINE_S = 150;

export type Kernel = 'tslab' | 'deno';

/** Text as notebooks hold it. */
type Lines = string | string[];
const joined = (lines: Lines | undefined): string => [lines ?? ''].flat().join('');

interface Output {
  output_type: string;
  text?: Lines;
  data?: Readonly<Record<string, Lines>>;
}

export interface Cell {
  cell_type: 'code' | 'markdown';
  id: string;
  metadata: { tags?: string[] };
  source: Lines;
  execution_count?: number | null;
  outputs?: Output[];
}

export interface Notebook {
  cells: Cell[];
}

export const readNotebook = (path: string): Notebook => JSON.parse(readFileSync(path, 'utf8'));

/** A folder with both TypeScript kernels, installed as users install them; made once for all runs of the tests. */
export function kernels(): string {
  const python = JUPYTER as string;
  const key = createHash('sha256').update(`${TSLAB} ${python}`).digest('hex').slice(0, 12);
  const folder = resolve('node_modules/.cache', `kernels-${key}`);
  const whole = join(folder, 'whole');
  if (existsSync(whole)) return folder;
  // Kernels name their programs by full paths, so the folder is made in its place.
  rmSync(folder, { recursive: true, force: true });
  execFileSync('npm', ['install', '--prefix', folder, '--no-audit', '--no-fund', TSLAB], { stdio: 'pipe' });
  const tslab = join(folder, 'node_modules', '.bin', 'tslab');
  execFileSync(tslab, ['install', '--python', python, '--binary', tslab, '--prefix', folder], { stdio: 'pipe' });
  const env = { ...process.env, XDG_DATA_HOME: join(folder, 'share') };
  execFileSync(join(dirname(python), 'deno'), ['jupyter', '--install', '--force'], { stdio: 'pipe', env });
  writeFileSync(`${whole}.tmp`, '');
  renameSync(`${whole}.tmp`, whole);
  return folder;
}

/** What executing made of a notebook; of one that failed there are no outputs. */
export interface Executed extends Ended {
  /** What a cell printed. */
  text: (cell: string) => string;
  /** The pictures it shows. */
  pictures: (cell: string) => string[];
}

/**
 * Executes a notebook in a folder. `parameters` go into a cell of their own after the one tagged `parameters`, as
 * papermill does it.
 */
export async function executeNotebook(
  notebook: Notebook,
  { folder, kernel, parameters, env }: { folder: string; kernel: Kernel; parameters: string; env: NodeJS.ProcessEnv },
): Promise<Executed> {
  const path = join(folder, `${kernel}.ipynb`);
  const injected: Cell = {
    cell_type: 'code',
    id: 'injected-parameters',
    metadata: {},
    source: parameters,
    execution_count: null,
    outputs: [],
  };
  const cells = notebook.cells.flatMap((cell) => (hasParameters(cell) ? [cell, injected] : [cell]));
  writeFileSync(path, JSON.stringify({ ...notebook, cells }));
  const share = join(kernels(), 'share');
  const own = {
    JUPYTER_DATA_DIR: join(share, 'jupyter'),
    JUPYTER_CONFIG_DIR: join(folder, 'jupyter'),
    JUPYTER_RUNTIME_DIR: join(folder, 'jupyter'),
    DENO_DIR: join(share, 'deno'),
    DENO_NO_UPDATE_CHECK: '1',
  };
  const words = [EXECUTE, path, kernel, String(CELL_DEADLINE_S)];
  const spawning = { cwd: folder, env: { ...process.env, ...own, ...env } };
  const ended = await new Command(JUPYTER as string, words, spawning).ended;
  const executed = readNotebook(path);
  const outputs = (id: string): Output[] => executed.cells.find((cell) => cell.id === id)?.outputs ?? [];
  return {
    ...ended,
    text: (cell) =>
      outputs(cell)
        .map(({ text }) => joined(text))
        .join(''),
    pictures: (cell) =>
      outputs(cell).flatMap(({ data }) => (data?.['image/svg+xml'] ? [joined(data['image/svg+xml'])] : [])),
  };
}

const hasParameters = ({ metadata }: Cell): boolean => metadata.tags?.includes('parameters') ?? false;
