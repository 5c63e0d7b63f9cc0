/** What npm tells a process that `npx sae-lens-ts` or the `npm start` of our checkout has started. */
const { npm_lifecycle_event: event, npm_lifecycle_script: script = '', npm_package_name: name } = process.env;
const throughNpx = event === 'npx' && /^"?sae-lens-ts\b/.test(script);
const throughStart = event === 'start' && name === 'sae-lens-ts';

/** What stands before a command of ours that is shown to be pasted: in a checkout or a project the name alone is not found. */
export const PROGRAM = throughNpx || throughStart ? 'npx sae-lens-ts' : 'sae-lens-ts';

/** A text whose commands of ours, at its beginning or in backticks, are as they are called here. */
export const asCalled = (text: string): string => text.replace(/(^|`)sae-lens-ts /g, `$1${PROGRAM} `);
