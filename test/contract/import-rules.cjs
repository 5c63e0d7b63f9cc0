// Who may import what (design: imports go one way, each outside library has one door).
// `depcruise src --config test/contract/import-rules.cjs` prints the breaches; imports.test.ts runs it.

/** Files that lie beside the folders, for anyone. */
const beside = '^src/(?!index)[^/]+\\.ts$';
const own = (...folders) => `^src/(${folders.join('|')})/`;

/** A folder may import only itself, the folders listed, and what lies beside the folders. */
const may = (folder, ...others) => ({
  name: `${folder} imports only ${['itself', 'what lies beside the folders', ...others].join(', ')}`,
  severity: 'error',
  from: { path: own(folder) },
  to: {
    path: '^src/',
    pathNot: [own(folder, ...others), beside],
  },
});

/** An outside library is imported in one place only. */
const door = (library, place) => ({
  name: `${library} has one door: ${place}`,
  severity: 'error',
  from: { path: '^src/', pathNot: place },
  to: { path: `node_modules/${library}` },
});

module.exports = {
  forbidden: [
    { name: 'no cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'every import resolves', severity: 'error', from: {}, to: { couldNotResolve: true } },
    may('config'),
    may('plan', 'config'),
    may('protocol'),
    may('worker', 'protocol'),
    may('stream', 'protocol'),
    { ...may('sinks', 'stream'), name: 'sinks know stream by its types, and the wandb sink its Python session' },
    may('artifacts'),
    may('web'),
    may('dashboard', 'web', 'artifacts', 'config', 'features'),
    may('features', 'web', 'artifacts'),
    may('sae', 'worker', 'artifacts'),
    may(
      'runners',
      'config',
      'plan',
      'protocol',
      'worker',
      'stream',
      'sinks',
      'artifacts',
      'sae',
      'dashboard',
      'features',
      'web',
    ),
    may('cli', 'runners', 'config', 'plan'),
    {
      name: 'nobody imports cli',
      severity: 'error',
      from: { pathNot: own('cli') },
      to: { path: own('cli') },
    },
    {
      name: 'what lies beside the folders imports nothing of ours but each other',
      severity: 'error',
      from: { path: beside },
      to: { path: '^src/', pathNot: beside },
    },
    door('zeromq', '^src/worker/channel\\.ts$'),
    door('apache-arrow', '^src/(stream/|protocol/frames\\.ts$)'),
    door('@huggingface/hub', '^src/artifacts/hub-[a-z]+\\.ts$'),
    door('pythonia', '^src/worker/pythonia\\.ts$'),
    door('commander', '^src/cli/'),
    door('@clack/', '^src/cli/'),
    door('yaml', '^src/(config|artifacts)/'),
    door('pino', '^src/log\\.ts$'),
    door('(@hono|hono)/', '^src/web/'),
    door('fastest-levenshtein', '^src/nearest\\.ts$'),
    door('log-update', '^src/sinks/live-line\\.ts$'),
    door('listr2', '^src/runners/setup\\.ts$'),
    door('execa', '^src/(worker/|runners/doctor-probe\\.ts$)'),
    door('uplot', '^src/dashboard/page/'),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'types', 'node', 'default'] },
  },
};
