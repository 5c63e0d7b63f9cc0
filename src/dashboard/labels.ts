/** A point of a picture and the words that belong to it. */
export interface Labelled {
  readonly x: number;
  readonly y: number;
  /** Null for a point that only takes room. */
  readonly words: string | null;
}

/** Where words begin or end, beside their point or some lines above or below it. */
export interface Label {
  readonly x: number;
  readonly y: number;
  readonly anchor: 'start' | 'end';
  /** Further from its point than words can be told to belong to it without a line. */
  readonly isFar: boolean;
}

interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** Of a letter of 12 pixels, rather more than less. */
const LETTER = 6.6;
const [ABOVE, BELOW] = [9, 4];
const LINE = 14;
const RADIUS = 6;
const ASIDE = 9;
/** Lines above and below a point that are tried, the nearest first. */
const LINES = [0, -1, 1, -2, 2, -3, 3, -4, 4, -5, 5];

/**
 * Finds a place for the words of each point, in their order, where they cover neither points nor other words; null for those
 * that have none left, whose words must be said elsewhere.
 */
export function placeLabels(points: readonly Labelled[], bounds: Box): (Label | null)[] {
  const taken: Box[] = points.map(({ x, y }) => ({
    left: x - RADIUS,
    right: x + RADIUS,
    top: y - RADIUS,
    bottom: y + RADIUS,
  }));
  return points.map(({ x, y, words }) => {
    if (words === null) return null;
    const sides = x > (bounds.left + bounds.right) / 2 ? (['end', 'start'] as const) : (['start', 'end'] as const);
    for (const line of LINES) {
      for (const anchor of sides) {
        const label: Label = {
          x: x + (anchor === 'start' ? ASIDE : -ASIDE),
          y: y + BELOW + line * LINE,
          anchor,
          isFar: Math.abs(line) > 1,
        };
        const box = boxOf(label, words.length * LETTER);
        if (!within(box, bounds) || taken.some((one) => overlap(box, one))) continue;
        taken.push(box);
        return label;
      }
    }
    return null;
  });
}

function boxOf({ x, y, anchor }: Label, width: number): Box {
  const left = anchor === 'start' ? x : x - width;
  return { left, right: left + width, top: y - ABOVE, bottom: y + BELOW };
}

const within = (box: Box, { left, right, top, bottom }: Box): boolean =>
  box.left >= left && box.right <= right && box.top >= top && box.bottom <= bottom;

const overlap = (a: Box, b: Box): boolean =>
  a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
