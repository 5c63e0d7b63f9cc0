import { join, resolve } from 'node:path';
import { writeFileAtomic } from '../artifacts/atomic.ts';
import { runFolderOf } from '../artifacts/run-folder.ts';
import { reportPage } from '../dashboard/report.ts';
import { RunStore } from '../dashboard/run-store.ts';
import { redact } from '../log.ts';

export interface ReportOptions {
  readonly runsFolder: string;
  /** Default: `report.html` in the run's folder. */
  readonly output?: string | undefined;
}

/**
 * Writes one HTML file of a run, which loads nothing from anywhere.
 *
 * @param run its name, or its folder
 * @returns where it is
 * @throws SaeLensError USAGE when there is no such run, STORAGE when the file cannot be written
 */
export async function writeReport(run: string, { runsFolder, output }: ReportOptions): Promise<string> {
  const folder = runFolderOf(run, runsFolder, 'report on');
  const store = new RunStore(folder);
  const details = await store.completeDetails('.');
  const page = reportPage(details, await store.series('.'));
  const path = resolve(output ?? join(folder, 'report.html'));
  await writeFileAtomic(path, redact(page));
  return path;
}
