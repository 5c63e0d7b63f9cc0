import { byId } from '../../web/page/element.ts';
import { type ParetoPoint, paretoFigure } from '../pareto.ts';
import type { ListedRun } from '../shown.ts';

let drawn: string | null = null;

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
  const figure = paretoFigure(points);
  byId('trade-off').hidden = figure === null;
  if (figure === drawn || figure === null) return;
  drawn = figure;
  // Of our own making, its words escaped; as XML nothing in it could be run anyway.
  const { documentElement } = new DOMParser().parseFromString(figure, 'image/svg+xml');
  byId('pareto').replaceChildren(document.importNode(documentElement, true));
}
