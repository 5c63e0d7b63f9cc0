import { MetricRows } from '../dashboard/metric-rows.ts';
import { curvesPicture } from '../dashboard/picture.ts';

/** A picture on its way to somebody's eyes is drawn no more often. */
const REDRAW_MS = 500;

/** The curves of a run, drawn. */
export class RunPicture {
  /** The picture, which needs nothing around it: to show, or to write into a file. */
  readonly svg: string;
  /** The last step that is in it; -1 before the first. */
  readonly step: number;

  /** @internal Made by `TrainingRun.show`. */
  constructor(rows: MetricRows) {
    this.svg = curvesPicture(rows);
    this.step = rows.step;
  }

  /** The SVG. */
  toString(): string {
    return this.svg;
  }

  /** A kernel prints what a cell ends with: not the whole picture once more. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `curves up to step ${this.step}`;
  }
}

/** @internal Draws the rows there are. */
export async function showRows(rows: Iterable<object>): Promise<RunPicture> {
  const gathered = new MetricRows();
  for (const row of rows) gathered.push(JSON.stringify(row));
  const picture = new RunPicture(gathered);
  await newPlace()(picture.svg);
  return picture;
}

/** @internal Draws rows as they come, in one place, until the last; throws what the run failed with. */
export async function followRows(rows: AsyncIterable<object>): Promise<RunPicture> {
  const gathered = new MetricRows();
  const show = newPlace();
  let drawn = 0;
  try {
    for await (const row of rows) {
      gathered.push(JSON.stringify(row));
      if (Date.now() - drawn < REDRAW_MS) continue;
      await show(new RunPicture(gathered).svg);
      drawn = Date.now();
    }
  } finally {
    await show(new RunPicture(gathered).svg);
  }
  return new RunPicture(gathered);
}

interface Kernels {
  readonly Deno?: { readonly jupyter?: { display(data: object, options: object): Promise<void> } };
  readonly __tslab__?: { require(name: 'tslab'): { newDisplay(): { svg(text: string): void } } };
}

/** A place in the output of the cell that shows one picture after the other; outside a notebook there is none. */
function newPlace(): (svg: string) => Promise<void> {
  const { Deno, __tslab__ } = globalThis as Kernels;
  if (__tslab__ !== undefined) {
    const place = __tslab__.require('tslab').newDisplay();
    return async (svg) => place.svg(svg);
  }
  const jupyter = jupyterOf(Deno);
  const id = crypto.randomUUID();
  let update = false;
  return async (svg) => {
    await jupyter?.display({ 'image/svg+xml': svg }, { raw: true, display_id: id, update });
    update = true;
  };
}

/** Outside its kernel Deno throws when it is asked for it. */
function jupyterOf(deno: Kernels['Deno']): NonNullable<Kernels['Deno']>['jupyter'] {
  try {
    return deno?.jupyter;
  } catch {
    return undefined;
  }
}
