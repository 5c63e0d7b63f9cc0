import { significant } from '../format.ts';
import { html, Markup } from '../web/markup.ts';
import type { About, Example, LatentDetail, LatentTable } from './format.ts';
import { percent } from './percent.ts';
import { ALONE, type TextView, visible } from './token.ts';

/** Latents in a report. */
const MOST_LATENTS = 20;
const MOST_EXAMPLES = 3;
const MOST_TOKENS = 5;
const FLOWING: TextView = { marks: false, breaks: false };

/** Style of the section, for a page that says what `--quiet` and `--line` are. */
export const SECTION_STYLE = `
:root { --heat: light-dark(#ffab2e, #8f4a00); --underline: light-dark(#9a4d00, #ffb95c); }
.latent { margin: 1rem 0; border-top: 1px solid var(--line); padding-top: .5rem; } .latent h3 { margin: 0; } .latent p { margin: .2rem 0; white-space: pre-wrap; }
.token { unicode-bidi: isolate; } .active { background: color-mix(in srgb, var(--heat) calc(15% + var(--share) * 85%), transparent); box-shadow: inset 0 calc(-1px - var(--share) * 3px) var(--underline); }
`;

/**
 * Rows of the latents that stand for all: active ones, at even steps of their order by density.
 *
 * @returns the densest first
 */
export function representativeRows({ density }: LatentTable): number[] {
  const active = density.flatMap((one, row) => (one > 0 ? [row] : []));
  active.sort((a, b) => (density[b] as number) - (density[a] as number) || a - b);
  const n = Math.min(MOST_LATENTS, active.length);
  return Array.from({ length: n }, (_, i) => active[Math.floor(((i + 0.5) * active.length) / n)] as number);
}

/** Some latents with their examples and logits, as markup that needs no script. */
export function featuresSection(
  about: About,
  table: LatentTable,
  latents: readonly (readonly [row: number, detail: LatentDetail])[],
): Markup {
  const { name, n_latents, n_dead, n_tokens, dataset_path } = about;
  const how = `${latents.length} of the ${n_latents - n_dead} latents that are active, at even steps of their order by density`;
  return html`<p>${name}: ${how}, on ${n_tokens} tokens of ${dataset_path}. Colour and underline tell how active a latent is on a token, beside its maximum.</p>
${latents.map(([row, detail]) => latentOf(table, row, detail))}`;
}

function latentOf(table: LatentTable, row: number, detail: LatentDetail): Markup {
  const maximum = table.max_activation[row] as number;
  const { index, groups, positive_logits, negative_logits } = detail;
  const examples = (groups[0]?.examples ?? []).slice(0, MOST_EXAMPLES);
  const logits = (title: string, all: LatentDetail['positive_logits']): Markup =>
    all.length === 0
      ? NOTHING
      : html` <small>${title}</small> ${all.slice(0, MOST_TOKENS).map(([token]) => word(token))}`;
  const facts = `${percent(table.density[row] as number)} of tokens · maximum ${significant(maximum)}`;
  return html`<section class="latent"><h3>Latent ${index} <small>${facts}</small></h3>
${examples.map((one) => exampleOf(one, maximum))}<p>${logits('raises', positive_logits)}${logits('lowers', negative_logits)}</p></section>`;
}

const NOTHING = new Markup('');

const word = (token: string): Markup => html`<code><bdi>${visible(token, ALONE)}</bdi></code> `;

function exampleOf({ tokens, values }: Example, maximum: number): Markup {
  const made = tokens.map((text, i) => {
    const value = values[i] as number;
    const said = visible(text, FLOWING);
    if (value <= 0) return html`<span class="token">${said}</span>`;
    const share = Math.min(1, value / maximum).toFixed(3);
    return html`<span class="token active" style="--share:${share}" title="${significant(value)}">${said}</span>`;
  });
  return html`<p dir="auto">${made}</p>`;
}
