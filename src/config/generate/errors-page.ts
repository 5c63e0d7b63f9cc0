import { ERROR_TEXTS } from '../../error-texts.ts';
import { ERROR_CODES, type ErrorCode } from '../../errors.ts';

const HEAD = `# Errors

Every failure ends with a code, what was tried, what was seen, a hint what to do next, and an exit code. With \`--json\` the
last line on stdout is \`{"error": {"code", "message", "hint", "exit_code", "details"}}\`. In TypeScript all of them are
\`SaeLensError\` with \`code\`, \`message\`, \`hint\`, \`details\` and \`exitCode\`.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | a fault of sae-lens-ts |
| 2 | usage or configuration |
| 3 | environment: Python, torch, GPU |
| 4 | model, dataset or hub |
| 5 | training: not finite, out of memory |
| 6 | the worker is lost |
| 7 | storage |
| 130 | Ctrl-C |
| 143 | SIGTERM |

Generated from \`src/error-texts.ts\` by \`npm run generate\`; do not edit. \`sae-lens-ts explain CODE\` says the same in a terminal.

| code | exit | meaning | what to do |
| --- | --- | --- | --- |
`;

/** docs/errors.md */
export function errorsPage(): string {
  const rows = Object.entries(ERROR_CODES).map(([code, exit]) => {
    const { meaning, remedy } = ERROR_TEXTS[code as ErrorCode];
    return `| \`${code}\` | ${exit} | ${meaning} | ${remedy} |\n`.replace('|  |', '| |');
  });
  return HEAD + rows.join('');
}
