import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Document, isAlias, isMap, isScalar, LineCounter, type Node, parseDocument, visit } from 'yaml';
import { SaeLensError } from '../errors.ts';
import type { Layer } from './layer.ts';
import { configError, type Problem } from './problem.ts';

/** A configuration is a page or two; more is a mistake or an attack. */
const MAX_BYTES = 1_000_000;
/** Options nest two deep, their values a few more. */
const MAX_DEPTH = 32;
/** A broken file breaks in many places at once; the first ones tell why. */
const MAX_SYNTAX_PROBLEMS = 5;
/** Keys that reach into the objects of JavaScript itself. */
/** What a folder of ours or of SAELens has its configuration in. */
const CONFIG_NAMES = ['config.yaml', 'runner_cfg.json', 'cfg.json'];
const FORBIDDEN_KEYS = new Set(['__proto__', 'constructor', 'prototype']);

/**
 * Read a YAML or JSON file as a layer that knows where each key is written.
 *
 * @throws SaeLensError `CONFIG_INVALID` with the place, for anything but plain keys and values.
 */
export function fileLayer(path: string): Layer {
  const text = readConfigText(path);
  const lines = new LineCounter();
  const place = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${path}:${line}:${col}`;
  };
  const comment = jsonComment(text);
  if (comment !== undefined) {
    lines.lineStarts = lineStarts(text);
    const hint = 'remove it, or write the file as YAML, where a comment begins with #';
    throw configError([{ path: '', message: 'JSON has no comments', hint, where: place(comment) }], path);
  }
  const tooDeep = deepNesting(text);
  if (tooDeep !== undefined) {
    lines.lineStarts = lineStarts(text);
    throw configError([{ path: '', message: `nests deeper than ${MAX_DEPTH}`, where: place(tooDeep) }], path);
  }
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true, version: '1.2' });
  const problems = syntaxProblems(document, place);
  if (problems.length === 0) problems.push(...refusals(document, place));
  if (problems.length > 0) throw configError(problems, path);
  return {
    kind: 'file',
    source: path,
    value: document.toJS() ?? {},
    at: (keys) => {
      const offset = offsetOf(document, keys);
      return offset === undefined ? undefined : place(offset);
    },
  };
}

function readConfigText(path: string): string {
  let bytes: Buffer;
  try {
    const facts = statSync(path);
    const { size } = facts;
    if (facts.isDirectory()) throw isFolder(path);
    if (!facts.isFile() && !facts.isFIFO()) throw refused(path, 'is a device; a configuration is text');
    if (size > MAX_BYTES) throw refused(path, `has ${size} bytes; a configuration has at most ${MAX_BYTES}`);
    bytes = readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    if (error instanceof SaeLensError) throw error;
    throw refused(path, code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`);
  }
  if (bytes.includes(0)) {
    throw refused(path, 'is not text', 'give a configuration, YAML or JSON; a saved SAE has its own in cfg.json');
  }
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    if (text.trim() === '') throw refused(path, 'is empty', 'was it written to the end?');
    return text;
  } catch (error) {
    if (error instanceof SaeLensError) throw error;
    const { line, column } = firstBadByte(bytes);
    throw configError([{ path: '', message: 'is not UTF-8 text', where: `${path}:${line}:${column}` }], path);
  }
}

function refused(path: string, message: string, hint?: string): SaeLensError {
  return configError([{ path: '', message: `the file ${message}`, ...(hint ? { hint } : {}), where: path }], path);
}

function isFolder(path: string): SaeLensError {
  const inside = CONFIG_NAMES.map((name) => join(path, name)).find((file) => existsSync(file));
  const hint = inside === undefined ? 'give a file, YAML or JSON' : `did you mean ${inside}?`;
  return configError([{ path: '', message: 'is a folder', hint, where: path }], path);
}

/** Where the first comment of a JSON file begins, outside of its strings. */
function jsonComment(text: string): number | undefined {
  if (!/^\s*[{/]/.test(text)) return undefined;
  const tokens = text.matchAll(/"(?:[^"\\\n]|\\.)*"|(?<=^|[\s,{}[\]"])\/[/*]/g);
  return [...tokens].find(([token]) => token.startsWith('/'))?.index;
}

/** Where the bytes stop being UTF-8: decoding and encoding again changes the first byte that is not. */
function firstBadByte(bytes: Buffer): { line: number; column: number } {
  const again = Buffer.from(bytes.toString('utf8'), 'utf8');
  let offset = 0;
  while (offset < bytes.length && bytes[offset] === again[offset]) offset++;
  const before = bytes.subarray(0, offset).toString('utf8').split('\n');
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
}

/**
 * The place where brackets, or dashes on one line, nest deeper than any option. It is looked for before parsing:
 * the parser recurses once for each level, and a megabyte of brackets exhausts its memory.
 */
function deepNesting(text: string): number | undefined {
  const dashes = text.search(new RegExp(`(?:[-?:] +){${MAX_DEPTH + 1}}`));
  let depth = 0;
  for (let offset = 0; offset < text.length; offset++) {
    const character = text[offset];
    if (character === '[' || character === '{') depth++;
    else if (character === ']' || character === '}') depth = Math.max(0, depth - 1);
    if (depth > MAX_DEPTH) return offset;
  }
  return dashes === -1 ? undefined : dashes;
}

function lineStarts(text: string): number[] {
  return [0, ...[...text.matchAll(/\n/g)].map((match) => match.index + 1)];
}

function syntaxProblems(document: Document, place: (offset: number) => string): Problem[] {
  return [...document.errors, ...document.warnings].slice(0, MAX_SYNTAX_PROBLEMS).map(({ code, message, pos }) => ({
    path: '',
    ...(code === 'MULTIPLE_DOCS'
      ? { message: 'begins a second document', hint: 'a configuration is one: remove the line, or what follows it' }
      : { message: firstLine(message) }),
    where: place(pos[0]),
  }));
}

function refusals(document: Document, place: (offset: number) => string): Problem[] {
  const problems: Problem[] = [];
  const refuse = (node: unknown, message: string, hint?: string) => {
    const offset = (node as Node).range?.[0] ?? 0;
    problems.push({ path: '', message, where: place(offset), ...(hint ? { hint } : {}) });
  };
  visit(document, {
    Node: (_key, node) => {
      if (isAlias(node)) refuse(node, 'aliases are not accepted', 'write the value out');
      else if (node.anchor !== undefined) refuse(node, 'anchors are not accepted', 'write the value out');
      else if (isScalar(node) && typeof node.value === 'number' && !Number.isFinite(node.value)) {
        refuse(node, `${node.source ?? node.value} is not a finite number`);
      }
    },
    Pair: (_key, pair) => {
      if (!isScalar(pair.key) || typeof pair.key.value !== 'string') refuse(pair.key, 'a key must be text');
      else if (FORBIDDEN_KEYS.has(pair.key.value)) refuse(pair.key, `${pair.key.value} cannot be a key`);
    },
  });
  if (document.contents !== null && !isMap(document.contents) && problems.length === 0) {
    refuse(document.contents, 'holds no options: expected keys with values');
  }
  return problems;
}

/** The place of the key at the end of a path, or of its nearest parent. */
function offsetOf(document: Document, keys: readonly string[]): number | undefined {
  let node: unknown = document.contents;
  let offset: number | undefined;
  for (const key of keys) {
    const pair = isMap(node) ? node.items.find((item) => isScalar(item.key) && item.key.value === key) : undefined;
    if (pair === undefined) return offset;
    offset = (pair.key as Node).range?.[0] ?? offset;
    node = pair.value;
  }
  return offset;
}

function firstLine(message: string): string {
  return message.split('\n', 1)[0] as string;
}
