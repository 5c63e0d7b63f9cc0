import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { z } from 'zod';
import { SaeLensError } from '../errors.ts';
import { type LocalSite, type SiteFile, serveLocalSite } from '../web/local-site.ts';
import { type DATA_KINDS, dataScript, readDataFile } from './data-file.ts';
import { LONGEST_PROMPT } from './longest-prompt.ts';
import { type PromptAnswer, promptSchema } from './prompt.ts';

/** What a page of features is served with. */
export interface FeaturesSiteOptions {
  /** Of features; only its data is taken. The page is our own. */
  readonly folder: string;
  readonly page: string;
  readonly files: ReadonlyMap<string, SiteFile>;
  /** Which latents are active on the tokens of a text. */
  readonly read: (text: string, latent: number | null) => Promise<PromptAnswer>;
  readonly host?: string | undefined;
  readonly port: number;
  readonly strictPort?: boolean | undefined;
}

/** Serves the page of a folder of features, with a box for prompts. */
export function serveFeatures({ folder, read, ...site }: FeaturesSiteOptions): Promise<LocalSite> {
  return serveLocalSite({
    ...site,
    routes: (app) => {
      app.get('/data/:name', async (c) => {
        const kind = kindOf(c.req.param('name'));
        const path = join(folder, 'data', c.req.param('name'));
        if (kind === undefined || !existsSync(path)) return c.notFound();
        // What is in the folder is data: it is read, never passed on as a script.
        const value = await readDataFile(path, kind);
        return c.body(dataScript(kind, value), 200, { 'Content-Type': 'text/javascript; charset=utf-8' });
      });
      app.post('/api/activations', async (c) => {
        const { text, latent } = await promptOf(c.req);
        return c.json(await read(text, latent));
      });
    },
  });
}

/** What is asked, from whatever the body is: bytes that are no UTF-8 are not silently another text. */
async function promptOf(request: { arrayBuffer(): Promise<ArrayBuffer> }): Promise<z.infer<typeof promptSchema>> {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(await request.arrayBuffer());
    return promptSchema.parse(JSON.parse(text));
  } catch (cause) {
    const message = `The prompt is no text of 1 to ${LONGEST_PROMPT} characters, or its latent no number or null`;
    throw new SaeLensError('USAGE', message, { cause });
  }
}

function kindOf(name: string): keyof typeof DATA_KINDS | undefined {
  if (name === 'about.js') return 'about';
  if (name === 'latents.js') return 'latents';
  return /^chunk-\d{5,}\.js$/.test(name) ? 'chunk' : undefined;
}
