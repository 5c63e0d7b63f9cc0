/** The managed Python that tests use: SAE_LENS_TS_PYTHON, set by `npm test`. */
export function pythonForTests(): string {
  return process.env.SAE_LENS_TS_PYTHON ?? 'python3';
}
