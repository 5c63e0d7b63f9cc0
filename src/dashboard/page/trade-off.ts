import { byId } from '../../web/page/element.ts';
import { type ParetoPoint, paretoFigures } from '../pareto.ts';
import type { ListedRun } from '../shown.ts';

let drawn = '';

/** SAEs by L0 against explained variance and CE score, of the last evaluation of each run in the list. */
export function showTradeOff(runs: readonly ListedRun[]): void {
  const points = runs.flatMap(({ name, evaluated }) =>
    evaluated.map(
      ({ sae, l0, explained_variance, ce_loss_score }): ParetoPoint => ({
        name: sae === '' ? name : `${name} · ${sae}`,
        l0,
        explainedVariance: explained_variance ?? undefined,
        ceLossScore: ce_loss_score ?? undefined,
      }),
    ),
  );
  const figures = paretoFigures(points);
  byId('trade-off').hidden = figures.length === 0;
  if (figures.join('') === drawn) return;
  drawn = figures.join('');
  // Of our own making, their words escaped; as XML nothing in them could be run anyway.
  const pictures = figures.map((one) => new DOMParser().parseFromString(one, 'image/svg+xml').documentElement);
  byId('pareto').replaceChildren(...pictures.map((one) => document.importNode(one, true)));
}
