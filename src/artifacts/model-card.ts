import { isMap, isSeq, parseDocument } from 'yaml';

/** The card of a repository; its front matter tells the hub what it is. */
export const CARD_NAME = 'README.md';
const FRONT_MATTER = /^---\r?\n([\s\S]*?)\r?\n---(?:\r?\n|$)/;
const BEGIN = '<!-- sae-lens-ts: begin; what stands between is written anew at each upload -->';
const END = '<!-- sae-lens-ts: end -->';
const SECTION = /<!-- sae-lens-ts: begin;[^>]*-->[\s\S]*<!-- sae-lens-ts: end -->/;
const BLOCK = /<!-- sae-lens-ts: sae (\S+) -->[\s\S]*?<!-- sae-lens-ts: end of sae -->/g;

/** What the card tells of an SAE. */
export interface CardSae {
  /** Folder in the repository. */
  readonly id: string;
  /** cfg.json. */
  readonly cfg: Record<string, unknown>;
  /** runner_cfg.json, where there is one. */
  readonly runner: Record<string, unknown> | null;
  /** Last values of the run's metrics under SAELens' names, where there was a run. */
  readonly metrics: Readonly<Record<string, number>>;
}

/** Where the SAEs will be found. */
export interface CardPlace {
  readonly repo: string;
  readonly revision: string;
}

/**
 * The card with these SAEs in it. What somebody wrote stays word for word: only the section between our two marks is
 * replaced, and in it the SAEs that are not among these ones stay; front matter gets what it lacks.
 */
export function modelCard(existing: string | null, saes: readonly CardSae[], place: CardPlace): string {
  const text = existing ?? '';
  const blocks = new Map([...text.matchAll(BLOCK)].map(([block, id]) => [id as string, block]));
  for (const sae of saes) blocks.set(sae.id, blockOf(sae));
  const ids = [...blocks.keys()].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  const parts = [BEGIN, ...usage(ids, place), ...ids.map((id) => blocks.get(id) as string), END];
  const section = parts.join('\n\n');
  if (SECTION.test(text)) return withFrontMatter(text.replace(SECTION, () => section));
  const before = existing === null ? `# ${place.repo.split('/')[1]}` : text.trimEnd();
  return withFrontMatter(`${before}\n\n${section}\n`);
}

/** Why the hub can read nothing from the first lines of a card; null where it can. They are their writer's to mend. */
export function frontMatterProblem(text: string): string | null {
  const yaml = FRONT_MATTER.exec(text)?.[1];
  if (yaml === undefined) return /^---\s*\n/.test(text) ? 'it begins with --- and no other --- ends that' : null;
  const document = parseDocument(yaml);
  const [error] = document.errors;
  if (error !== undefined) return error.message.split('\n', 1)[0] as string;
  return document.contents === null || isMap(document.contents) ? null : 'its first lines are not keys with values';
}

/** Adds `library_name` and the tag, by which the hub finds SAEs, where they are not there. */
function withFrontMatter(text: string): string {
  if (frontMatterProblem(text) !== null) return text;
  const [whole = '', yaml] = FRONT_MATTER.exec(text) ?? [];
  const document = parseDocument(yaml ?? '');
  if (!document.has('library_name')) document.set('library_name', 'saelens');
  const tags = document.get('tags');
  if (tags === undefined || tags === null) document.set('tags', ['saelens']);
  else if (isSeq(tags) && !(tags.toJSON() as unknown[]).includes('saelens')) tags.add('saelens');
  const gap = yaml === undefined ? '\n' : '';
  return `---\n${document.toString({ lineWidth: 0 }).trimEnd()}\n---\n${gap}${text.slice(whole.length)}`;
}

function usage(ids: readonly string[], { repo, revision }: CardPlace): string[] {
  const [first] = ids as [string];
  const at = revision === 'main' ? '' : `, { revision: '${revision}' }`;
  return [
    `## Sparse autoencoders\n\n${ids.map((id) => `- \`${id}\``).join('\n')}`,
    `In Python, with SAELens:\n\n\`\`\`python\nfrom sae_lens import SAE\n\nsae = SAE.from_pretrained("${repo}", "${first}")\n\`\`\``,
    `In TypeScript, with sae-lens-ts:\n\n\`\`\`ts\nimport { SAE } from 'sae-lens-ts';\n\nconst [sae, cfg, sparsity] = await SAE.fromPretrained('${repo}', '${first}'${at});\n\`\`\``,
  ];
}

/** Of cfg.json and of its `metadata`. */
const SAE_KEYS = ['architecture', 'd_in', 'd_sae', 'k', 'dtype', 'normalize_activations'];
const METADATA_KEYS = ['model_name', 'hook_name', 'hook_head_index', 'dataset_path', 'context_size', 'prepend_bos'];
/** Of runner_cfg.json. */
const RUNNER_KEYS = [
  'training_tokens',
  'train_batch_size_tokens',
  'lr',
  'lr_scheduler_name',
  'lr_warm_up_steps',
  'seed',
];
const TRAINING_KEYS = ['l1_coefficient', 'l0_coefficient', 'aux_loss_coefficient'];
/** What one wants to know of a finished SAE. */
const METRICS: readonly [name: string, title: string][] = [
  ['metrics/l0', 'L0'],
  ['metrics/explained_variance', 'explained variance'],
  ['losses/mse_loss', 'MSE loss'],
  ['sparsity/dead_features', 'dead latents'],
  ['model_performance_preservation/ce_loss_score', 'cross-entropy loss score'],
  ['model_performance_preservation/ce_loss_with_sae', 'cross-entropy loss with SAE'],
  ['model_performance_preservation/ce_loss_without_sae', 'cross-entropy loss without SAE'],
];

function blockOf({ id, cfg, runner, metrics }: CardSae): string {
  const metadata = objectIn(cfg, 'metadata');
  const rows = [
    ...pick(cfg, SAE_KEYS),
    ...pick(metadata, METADATA_KEYS),
    ...(runner === null ? [] : [...pick(runner, RUNNER_KEYS), ...pick(objectIn(runner, 'sae'), TRAINING_KEYS)]),
  ];
  const measured: [string, unknown][] = METRICS.flatMap(([name, title]) =>
    metrics[name] === undefined ? [] : [[title, Number(metrics[name].toPrecision(4))]],
  );
  if (measured.length === 0) measured.push(...pick(metadata, ['l0', 'num_dead_features']));
  return [
    `<!-- sae-lens-ts: sae ${id} -->\n### \`${id}\``,
    table('option', rows),
    ...(measured.length === 0 ? [] : [table('at the end of training', measured)]),
    '<!-- sae-lens-ts: end of sae -->',
  ].join('\n\n');
}

function table(title: string, rows: readonly (readonly [string, unknown])[]): string {
  return [`| ${title} | value |`, '| --- | --- |', ...rows.map(([key, value]) => `| ${key} | ${cell(value)} |`)].join(
    '\n',
  );
}

/** As code that neither ends the cell nor becomes markup: names of models and datasets are anybody's words. */
function cell(value: unknown): string {
  const text = (typeof value === 'string' ? value : JSON.stringify(value)).replace(/[`|\r\n\\<>]/g, ' ');
  return `\`${text}\``;
}

const pick = (from: Record<string, unknown>, keys: readonly string[]): [string, unknown][] =>
  keys.flatMap((key): [string, unknown][] => (from[key] === undefined || from[key] === null ? [] : [[key, from[key]]]));

function objectIn(from: Record<string, unknown>, key: string): Record<string, unknown> {
  const value = from[key];
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
