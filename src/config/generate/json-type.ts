import { z } from 'zod';

/** What zod tells of a type as JSON Schema, as far as options use it. */
export interface JsonType {
  type?: string | string[];
  enum?: (string | number | boolean)[];
  const?: string;
  anyOf?: JsonType[];
  items?: JsonType;
  title?: string;
  default?: unknown;
  additionalProperties?: unknown;
}

/** The input type of an option. */
export function jsonTypeOf(schema: z.ZodType): JsonType {
  return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonType;
}

/** The alternatives of a type, without nesting; an enum is one alternative. */
export function alternatives(type: JsonType): JsonType[] {
  if (type.anyOf) return type.anyOf.flatMap(alternatives);
  return Array.isArray(type.type) ? type.type.map((one) => ({ ...type, type: one })) : [type];
}
