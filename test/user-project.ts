import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import ts from 'typescript';
import { Command, type Ended } from './command-line.ts';

const ROOT = resolve('.');
const TSCONFIG = {
  compilerOptions: {
    target: 'ES2022',
    lib: ['ES2023', 'ESNext.Disposable'],
    module: 'NodeNext',
    types: ['node'],
    strict: true,
    noEmit: true,
    skipLibCheck: true,
  },
};

/** Makes a folder a project that has the built package installed. */
export function installPackage(folder: string): void {
  execFileSync(process.execPath, ['bin/bootstrap.js'], { stdio: 'ignore' });
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(ROOT, join(folder, 'node_modules', 'sae-lens-ts'));
  symlinkSync(join(ROOT, 'node_modules', '@types'), join(folder, 'node_modules', '@types'));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(TSCONFIG));
}

/** What the compiler says against the project's programs, with the types that the package brings. */
export async function typeErrors(folder: string): Promise<string> {
  const tsc = join(createRequire(import.meta.url).resolve('typescript/package.json'), '..', 'bin', 'tsc');
  return (await new Command(process.execPath, [tsc], { cwd: folder }).ended).stdout;
}

/** Runs a TypeScript program of the project with a plain node. */
export function runProgram(folder: string, name: string, source: string, env: NodeJS.ProcessEnv): Promise<Ended> {
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  });
  writeFileSync(join(folder, `${name}.js`), outputText);
  return new Command(process.execPath, [`${name}.js`], { cwd: folder, env: { ...process.env, ...env } }).ended;
}
