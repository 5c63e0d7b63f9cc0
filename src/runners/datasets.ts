import { z } from 'zod';
import { resolveBundled } from '../worker/bundled.ts';
import { requireEnvironment } from '../worker/environment.ts';
import { Worker } from '../worker/worker.ts';

const Lengths = z.object({
  kind: z.enum(['text', 'tokens', 'chat']),
  unit: z.enum(['tokens', 'characters']),
  n_sampled: z.int(),
  mean: z.number(),
  min: z.int(),
  max: z.int(),
  estimated_total: z.int().nullable(),
});
const DatasetLook = z.object({
  columns: z.array(z.object({ name: z.string(), type: z.string() })),
  n_rows: z.int().nullable(),
  rows: z.array(z.record(z.string(), z.string())),
  column: z.string().nullable(),
  decoded: z.array(z.string()).nullable(),
  lengths: Lengths.nullable(),
});
/** What {@link peekDataset} sees: columns, rows as short texts, and how long the rows of the column to train on are. */
export type DatasetLook = z.output<typeof DatasetLook>;

/** What to look at, and with which tokenizer. */
export interface PeekOptions {
  /** A file, a folder, a hub name, or bundled:NAME. */
  path: string;
  /** Configuration of a hub dataset. */
  name?: string;
  split?: string;
  /** Whose lengths are told; default: the one training would take. */
  column?: string;
  /** How many rows are shown. */
  rows?: number;
  /** Counts tokens of text, and shows token ids as text. */
  tokenizer?: string;
}

/**
 * A look at a dataset: columns, first rows, and how many tokens it has, judged by its first rows.
 *
 * @throws SaeLensError ENVIRONMENT_MISSING, DATASET_NOT_FOUND, DATASET_INVALID, MODEL_NOT_FOUND, HUB
 */
export async function peekDataset(options: PeekOptions): Promise<DatasetLook> {
  const { path, name = null, split = 'train', column = null, rows = 5, tokenizer = null } = options;
  const { python } = await requireEnvironment();
  const located = await resolveBundled({ model_name: tokenizer ?? '', dataset_path: path }, { python });
  const worker = await Worker.start({ python });
  try {
    const { value } = await worker.call(
      'peek_dataset',
      {
        path: located.dataset_path,
        name,
        split,
        column,
        rows,
        tokenizer: tokenizer === null ? null : located.model_name,
      },
      [],
    );
    return DatasetLook.parse(value);
  } finally {
    await worker.shutdown();
  }
}
