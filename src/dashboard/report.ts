import { SECTION_STYLE } from '../features/section.ts';
import { significant } from '../format.ts';
import { html, Markup } from '../web/markup.ts';
import { BELOW, drawCurve, HEIGHT, type Line, WIDTH } from './curve.ts';
import type { Histogram, RunDetails, RunSeries } from './shown.ts';

/** Curves of a report: the same as of the page, without what only matters while a run goes on. */
const CURVES: readonly (readonly [key: string, title: string])[] = [
  ['losses/overall_loss', 'Loss'],
  ['metrics/explained_variance', 'Explained variance'],
  ['metrics/l0', 'L0'],
  ['model_performance_preservation/ce_loss_score', 'CE loss score'],
  ['sparsity/dead_features', 'Dead latents'],
  ['details/current_learning_rate', 'Learning rate'],
];
const NONE_YET = html`<p>none yet</p>`;

/** Groups of metrics that an evaluation measures. */
const EVALUATED =
  /^(model_behavior_preservation|model_performance_preservation|reconstruction_quality|shrinkage|sparsity\/l[01]$|token_stats)/;

const STYLE = `
:root { color-scheme: light dark; --quiet: light-dark(#565b64, #a4abb6); --line: light-dark(#d5d8de, #383d46); --stroke: light-dark(#0072b2, #56b4e9); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 960px; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h2 { margin-top: 2rem; } table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top; font-weight: 400; padding: .1rem 1rem .1rem 0; }
th { color: var(--quiet); width: 1%; white-space: nowrap; padding-right: 2rem; } .curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 380px), 1fr)); gap: 1.5rem; }
figure { margin: 0; } figcaption { font-weight: 600; } svg { width: 100%; height: auto; } svg text { font-size: 11px; fill: var(--quiet); }
code { font-size: 13px; } small { color: var(--quiet); font-weight: 400; }
@media (max-width: 700px) { tr, th, td { display: block; } th { width: auto; white-space: normal; } td { padding-bottom: .4rem; } }
`;

/**
 * One page that holds all there is to tell of a run, and loads nothing: to keep, or to send.
 *
 * @param features of each SAE of which there are any, as markup
 */
export function reportPage(
  { facts, advice, checkpoints, histograms }: RunDetails,
  series: RunSeries,
  features: readonly Markup[] = [],
): string {
  const saes = Object.entries(series.saes);
  const evaluations = saes.map(([sae, own]) => {
    const rows = Object.entries(own).filter(([key, { values }]) => EVALUATED.test(key) && values.length > 0);
    const last = rows.map(([key, { values }]) => [key, significant(values.at(-1) as number)] as const);
    return html`${sae === '' ? '' : html`<h3>${sae}</h3>`}${last.length === 0 ? NONE_YET : table(last)}`;
  });
  const curves = CURVES.flatMap(([key, title]) => {
    const lines = saes.flatMap(([sae, own]) => (own[key] === undefined ? [] : [{ sae, points: own[key] }]));
    return lines.length === 0 ? [] : [curve(title, lines)];
  });
  const said = advice.map(
    (one) => html`<li><strong>${one.level}</strong> ${one.sae} ${one.seen}. Try: ${one.try}</li>`,
  );
  const provenance = { command: facts.command.join(' '), seed: facts.seed ?? '', ...facts.versions, ...facts.machine };
  const kept = checkpoints.map((one) => [`${one.n_training_samples} samples`, one.path] as const);
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${facts.name}</title>
<style>${new Markup(STYLE + SECTION_STYLE)}</style>
</head>
<body>
<h1>${facts.name}</h1>
<p>${facts.state} · ${String(facts.config.model_name ?? '')} · ${String(facts.config.hook_name ?? '')} · ${String(facts.config['sae.architecture'] ?? '')} · ${facts.sizes.d_in ?? '?'} → ${facts.sizes.d_sae ?? '?'} latents · ${utc(facts.created)}</p>
<h2>Evaluation</h2>
${evaluations.length === 0 ? NONE_YET : evaluations}
<h2>Curves</h2>
${curves.length === 0 ? NONE_YET : html`<div class="curves">${curves}</div>`}
${histograms.length === 0 ? '' : html`<h2>Density of the latents</h2><div class="curves">${lastOfEach(histograms).map(bars)}</div>`}
${features.length === 0 ? '' : html`<h2>Features</h2>${features}`}
<h2>Advice</h2>
<ul>${said.length === 0 ? html`<li>nothing stands out</li>` : said}</ul>
<h2>Configuration</h2>
${table(Object.entries(facts.config))}
<h2>Provenance</h2>
${table([...Object.entries(provenance), ...Object.entries(facts.hashes), ...kept])}
</body>
</html>
`.text;
}

/** 2026-11-30 14:10 UTC: whoever reads it may be elsewhere. */
const utc = (iso: string): string => iso.replace(/^(\S{10})T(\S{5})\S*Z$/, '$1 $2 UTC');

const table = (rows: readonly (readonly [string, string | number | boolean | null])[]): Markup =>
  html`<table>${rows.map(([name, value]) => html`<tr><th scope="row">${breakable(name)}</th><td>${String(value)}</td></tr>`)}</table>`;

/** A long name has its lines end where its words do. */
const breakable = (name: string): Markup => new Markup(html`${name}`.text.replace(/[/_.]/g, '$&<wbr>'));

function curve(title: string, lines: readonly Line[]): Markup {
  const { svg, now } = drawCurve(title, lines);
  return html`<figure><figcaption>${title} <small>${now}</small></figcaption>
${svg}</figure>`;
}

const lastOfEach = (histograms: readonly Histogram[]): Histogram[] => [
  ...new Map(histograms.map((one) => [one.sae, one])).values(),
];

function bars({ sae, step, counts, edges }: Histogram): Markup {
  const most = Math.max(...counts, 1);
  const width = (WIDTH - 8) / counts.length;
  const drawn = counts.map((count, i) => {
    const height = (count / most) * (HEIGHT - BELOW - 10);
    const place = html`x="${(4 + i * width).toFixed(1)}" width="${Math.max(0.5, width - 1).toFixed(1)}"`;
    return html`<rect ${place} y="${(HEIGHT - BELOW - height).toFixed(1)}" height="${height.toFixed(1)}" fill="var(--stroke)"/>`;
  });
  const [low, high] = [edges[0] ?? 0, edges.at(-1) ?? 0];
  return html`<figure><figcaption>${sae} log10 of how often a latent is active <small>step ${step}</small></figcaption>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Histogram from ${significant(low)} to ${significant(high)}">${drawn}
<text x="4" y="${HEIGHT - 6}">${significant(low)}</text><text x="${WIDTH - 4}" y="${HEIGHT - 6}" text-anchor="end">${significant(high)}</text>
</svg></figure>`;
}
