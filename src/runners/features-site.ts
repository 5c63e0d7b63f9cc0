import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SaeLensError } from '../errors.ts';
import { readDataFile } from '../features/data-file.ts';
import { serveFeatures } from '../features/site.ts';
import type { Logger } from '../log.ts';
import type { LocalSite, SiteFile } from '../web/local-site.ts';
import { packageRoot } from '../worker/package-root.ts';
import type { EvalSubject } from './eval-subjects.ts';
import { PromptReader } from './prompt-reader.ts';

const DEFAULT_PORT = 6271;
const TYPES: Readonly<Record<string, string>> = {
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
};

/** Where the page of features lies: a folder of features has a copy of it beside its data. */
export const featuresPage = (): string => join(packageRoot(), 'dist', 'features-page');

export interface FeaturesSiteOptions {
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly strictPort?: boolean | undefined;
  /** Where the language model and the SAE are to read prompts. */
  readonly device: string;
  readonly log: Logger;
}

/**
 * Serves a folder of features, with a worker that reads prompts, until `close`.
 *
 * @param subject the SAE the folder is about
 * @throws SaeLensError STORAGE when it is no folder of features, USAGE when the port is taken
 */
export async function startFeaturesSite(
  folder: string,
  subject: EvalSubject,
  { port = DEFAULT_PORT, device, log, ...listen }: FeaturesSiteOptions,
): Promise<LocalSite> {
  const { d_sae } = await readDataFile(join(folder, 'data', 'about.js'), 'about');
  const reader = new PromptReader(subject, device, log);
  const read = (text: string, latent: number | null) => {
    if (latent !== null && latent >= d_sae) {
      throw new SaeLensError('USAGE', `There is no latent ${latent}: the SAE has ${d_sae}`, {
        hint: `choose one of 0 to ${d_sae - 1}`,
      });
    }
    return reader.read(text, latent);
  };
  const page = await readFile(join(featuresPage(), 'index.html'), 'utf8');
  const site = await serveFeatures({ folder, page, files: await pageFiles(), read, port, ...listen });
  // Loaded while somebody looks at the page; what fails now fails again, and is told, with the first prompt.
  void read('.', null).catch(() => {});
  return {
    url: site.url,
    close: async () => {
      await site.close();
      await reader.close();
    },
  };
}

async function pageFiles(): Promise<Map<string, SiteFile>> {
  const files = new Map<string, SiteFile>();
  for (const name of await readdir(featuresPage())) {
    const type = TYPES[name.split('.').at(-1) ?? ''];
    if (type === undefined) continue;
    files.set(`/${name}`, { type, bytes: new Uint8Array(await readFile(join(featuresPage(), name))) });
  }
  return files;
}
