import type { z } from 'zod';
import { cacheActivationsShapes } from '../cache-activations-schema.ts';
import { evalShapes } from '../evals-schema.ts';
import { featuresShapes } from '../features-schema.ts';
import { loggingShape } from '../logging-schema.ts';
import { metaOf } from '../option.ts';
import { pretokenizeShapes } from '../pretokenize-schema.ts';
import { runnerShapes } from '../runner-schema.ts';
import { type Architecture, saeShapes, sharedSaeShape } from '../sae-schema.ts';
import { alternatives, type JsonType, jsonTypeOf } from './json-type.ts';

const HEADER = `"""What crosses the border: the resolved configuration, complete, nothing optional.

Generated from the zod schemas in src/config by \`npm run generate\`; do not edit. CI fails when it is stale.
Defaults live in TypeScript only: every key is always sent, absence is \`\`null\`\`, unknown keys are refused.
"""

from typing import IMPORTS

import msgspec
`;

const CLASS_NAMES: Record<Architecture, string> = {
  standard: 'StandardTrainingSAEConfig',
  gated: 'GatedTrainingSAEConfig',
  jumprelu: 'JumpReLUTrainingSAEConfig',
  topk: 'TopKTrainingSAEConfig',
  batchtopk: 'BatchTopKTrainingSAEConfig',
  matryoshka_batchtopk: 'MatryoshkaBatchTopKTrainingSAEConfig',
};

/** Line width of the Python side (ruff). */
const WIDTH = 110;

/** pyworker/protocol/sae_config.py */
export function saeTwin(): string {
  const aliases = new Map<string, string>();
  return moduleOf(aliases, saeClasses(aliases));
}

/** pyworker/protocol/config.py, which has from the one above what it shares with it. */
export function runnerTwin(): string {
  const aliases = new Map<string, string>();
  const text = 'What is logged, where and how often.';
  const logging = `class LoggingConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):\n    """${text}"""\n\n${fields(loggingShape, aliases)}`;
  const runner = runnerClass('LanguageModelSAERunnerConfig', 'A training run.', runnerShapes, aliases, [
    '    sae: AnyTrainingSAEConfig',
  ]);
  const ofSae = new Map<string, string>();
  saeClasses(ofSae);
  const shared = [...aliases.keys()].filter((name) => ofSae.has(name));
  for (const name of shared) aliases.delete(name);
  const names = ['AnyTrainingSAEConfig', ...shared].sort().join(', ');
  return moduleOf(aliases, [logging, runner], `\nfrom pyworker.protocol.sae_config import ${names}\n`);
}

/** The classes of an SAE's own options, and their union. */
function saeClasses(aliases: Map<string, string>): string[] {
  const architectures = (Object.keys(saeShapes) as Architecture[]).map((architecture) => {
    const own = Object.entries(saeShapes[architecture]).filter(([key]) => !(key in sharedSaeShape));
    const name = CLASS_NAMES[architecture];
    const bases = `TrainingSAEConfig, tag="${architecture}", forbid_unknown_fields=True, kw_only=True`;
    const line = `class ${name}(${bases}):`;
    // As ruff breaks it: both check the file.
    const head = line.length <= WIDTH ? line : `class ${name}(\n    ${bases}\n):`;
    return `${head}\n    """Fields of the ${architecture} architecture."""\n\n${fields(Object.fromEntries(own), aliases)}`;
  });
  const shared = [
    'class TrainingSAEConfig(msgspec.Struct, forbid_unknown_fields=True, tag_field="architecture", kw_only=True):',
    '    """Fields every architecture has."""\n',
    fields(sharedSaeShape, aliases),
  ].join('\n');
  return [shared, ...architectures, `AnyTrainingSAEConfig = (\n    ${Object.values(CLASS_NAMES).join('\n    | ')}\n)`];
}

/** pyworker/protocol/pretokenize_config.py */
export function pretokenizeTwin(): string {
  const aliases = new Map<string, string>();
  const text = 'A dataset of texts to make sequences of tokens of.';
  return moduleOf(aliases, [runnerClass('PretokenizeRunnerConfig', text, pretokenizeShapes, aliases)]);
}

/** pyworker/protocol/cache_activations_config.py */
export function cacheActivationsTwin(): string {
  const aliases = new Map<string, string>();
  const text = 'Activations of a language model to write to disk.';
  return moduleOf(aliases, [runnerClass('CacheActivationsRunnerConfig', text, cacheActivationsShapes, aliases)]);
}

/** pyworker/protocol/eval_config.py */
export function evalTwin(): string {
  const aliases = new Map<string, string>();
  return moduleOf(aliases, [runnerClass('EvalConfig', 'What is computed of SAEs, and on what.', evalShapes, aliases)]);
}

/** pyworker/protocol/features_config.py */
export function featuresTwin(): string {
  const aliases = new Map<string, string>();
  const text = 'What is shown of the latents of an SAE, and on what text.';
  return moduleOf(aliases, [runnerClass('FeaturesConfig', text, featuresShapes, aliases)]);
}

type Shapes = Readonly<Record<string, Readonly<Record<string, z.ZodType>>>>;

function runnerClass(name: string, text: string, shapes: Shapes, aliases: Map<string, string>, first: string[] = []) {
  return [
    `class ${name}(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):`,
    `    """${text}"""\n`,
    ...first,
    ...Object.entries(shapes).map(([group, shape]) => `    # ${group.toLowerCase()}\n${fields(shape, aliases)}`),
  ].join('\n');
}

function moduleOf(aliases: Map<string, string>, parts: readonly string[], imports = ''): string {
  const names = [...aliases].map(([name, type]) => wrapped(`${name} = `, type)).join('\n');
  const body = [names, ...parts].filter((part) => part !== '').join('\n\n\n');
  const header = HEADER.replace('IMPORTS', /\bAny\b/.test(body) ? 'Any, Literal' : 'Literal');
  return `${header}${imports}\n${names === '' ? '\n' : ''}${body}\n`;
}

/** A Literal on one line, or indented in its brackets where the line is too long. */
function wrapped(head: string, type: string): string {
  if (head.length + type.length <= WIDTH) return head + type;
  return `${head}Literal[\n    ${type.slice('Literal['.length, -1)}\n]`;
}

function fields(shape: Readonly<Record<string, z.ZodType>>, aliases: Map<string, string>): string {
  return Object.entries(shape)
    .map(([key, schema]) => {
      if (key === 'logger') return '    logger: LoggingConfig';
      const { description, filled, resolvesTo, unit } = metaOf(schema);
      const types = alternatives(jsonTypeOf(schema)).filter((type) => !(filled && type.type === 'null'));
      const type = resolvesTo ?? [...new Set(types.map((part) => pythonType(part, aliases)))].join(' | ');
      const text = `${description}${unit ? ` Unit: ${unit}.` : ''}`;
      return `    ${key}: ${type}\n    ${docstring(text)}`;
    })
    .join('\n');
}

function docstring(text: string): string {
  const one = `"""${text}"""`;
  if (one.length + 4 <= WIDTH) return one;
  const lines: string[] = [];
  let line = '"""';
  for (const word of text.split(' ')) {
    if (line.length + word.length + 5 > WIDTH) {
      lines.push(line.trimEnd());
      line = '';
    }
    line += `${word} `;
  }
  return [...lines, line.trimEnd(), '"""'].join('\n    ');
}

function pythonType(type: JsonType, aliases: Map<string, string>): string {
  const values = type.enum ?? (type.const === undefined ? undefined : [type.const]);
  if (values) {
    const literal = `Literal[${values.map((value) => JSON.stringify(value)).join(', ')}]`;
    if (type.title === undefined) return literal;
    aliases.set(type.title, literal);
    return type.title;
  }
  switch (type.type) {
    case 'integer':
      return 'int';
    case 'number':
      return 'float';
    case 'string':
      return 'str';
    case 'boolean':
      return 'bool';
    case 'null':
      return 'None';
    case 'object':
      return 'dict[str, Any]';
    case 'array':
      return `list[${alternatives(type.items ?? {})
        .map((item) => pythonType(item, aliases))
        .join(' | ')}]`;
    default:
      throw new Error(`no Python type for ${JSON.stringify(type)}`);
  }
}
