import { grouped } from '../../format.ts';
import { element } from '../../web/page/element.ts';
import type { About } from '../format.ts';
import { percent } from '../percent.ts';
import { factsOf } from './latent.ts';

/** What the folder is about: shown until a latent is opened. */
export function overview(about: About): HTMLElement[] {
  const { n_latents, d_sae, n_dead, n_tokens, dataset_path, text } = about;
  const some = n_latents === d_sae ? 'all of the SAE' : `of ${grouped(d_sae)}`;
  const facts = factsOf([
    ['latents', grouped(n_latents), some],
    ['never active', grouped(n_dead), n_dead === 0 ? '' : percent(n_dead / n_latents)],
    ['tokens read', grouped(n_tokens), `in ${grouped(about.n_sequences)} sequences of ${about.context_size}`],
  ]);
  const rows: readonly (readonly [string, string])[] = [
    ['language model', about.model_name],
    ['hook', about.hook_head_index === null ? about.hook_name : `${about.hook_name}, head ${about.hook_head_index}`],
    ['SAE', `${about.architecture ?? 'unknown'} · ${grouped(about.d_in)} → ${grouped(d_sae)} latents`],
    ['text', `${dataset_path}${text === 'training' ? ' (what the SAE was trained on)' : ''}`],
    ['special tokens', `${grouped(about.n_excluded_tokens)} read and not counted`],
    ['active together', `over ${grouped(about.n_co_activation_tokens)} tokens`],
    ['made', `${about.created.slice(0, 19)} by sae-lens-ts ${about.version}, seed ${about.seed}`],
    ...(about.command === null ? [] : [['command', about.command] as const]),
  ];
  return [
    element('h2', {}, about.name),
    facts,
    element(
      'table',
      {},
      element(
        'tbody',
        {},
        ...rows.map(([name, value]) =>
          element('tr', {}, element('th', { scope: 'row' }, name), element('td', {}, value)),
        ),
      ),
    ),
    element('p', { class: 'quiet' }, 'Choose a latent in the list; j and k go on from there.'),
  ];
}
