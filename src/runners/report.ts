import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { writeFileAtomic } from '../artifacts/atomic.ts';
import { runFolderOf } from '../artifacts/run-folder.ts';
import { reportPage } from '../dashboard/report.ts';
import { RunStore } from '../dashboard/run-store.ts';
import { holdsFeatures, readLatents, readTable } from '../features/read-folder.ts';
import { featuresSection, representativeRows } from '../features/section.ts';
import { redact } from '../log.ts';
import type { Markup } from '../web/markup.ts';

export interface ReportOptions {
  readonly runsFolder: string;
  /** Default: `report.html` in the run's folder. */
  readonly output?: string | undefined;
}

/**
 * Writes one HTML file of a run, which loads nothing from anywhere; with some features, where they were collected.
 *
 * @param run its name, or its folder
 * @returns where it is
 * @throws SaeLensError USAGE when there is no such run, STORAGE when the file cannot be written
 */
export async function writeReport(run: string, { runsFolder, output }: ReportOptions): Promise<string> {
  const folder = runFolderOf(run, runsFolder, 'report on');
  const store = new RunStore(folder);
  const details = await store.completeDetails('.');
  const page = reportPage(details, await store.series('.'), await featuresOf(folder));
  const path = resolve(output ?? join(folder, 'report.html'));
  await writeFileAtomic(path, redact(page));
  return path;
}

/** Of a run's SAE, or of each of them. */
async function featuresOf(runFolder: string): Promise<Markup[]> {
  const place = join(runFolder, 'features');
  const below = (await readdir(place).catch(() => [])).sort().map((name) => join(place, name));
  const sections: Markup[] = [];
  for (const folder of [place, ...below].filter(holdsFeatures)) {
    const { about, table } = await readTable(folder);
    sections.push(featuresSection(about, table, await readLatents(folder, about, representativeRows(table))));
  }
  return sections;
}
