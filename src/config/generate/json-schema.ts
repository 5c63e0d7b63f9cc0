import { z } from 'zod';
import { loggingSchema } from '../logging-schema.ts';
import { checkedShape, runnerShape } from '../runner-schema.ts';
import { ARCHITECTURES, saeShapes } from '../sae-schema.ts';
import { saesSchema } from '../saes-schema.ts';

/**
 * docs/config.schema.json: what editors complete and check. It accepts the nested form and the flat one; which
 * options go together is left to the command line, which says it better.
 */
export function jsonSchemaFile(): string {
  const architecture = { architecture: z.enum(ARCHITECTURES).optional() };
  const anySae = Object.assign({}, ...Object.values(saeShapes)) as typeof saeShapes.standard;
  const schema = z
    .strictObject({
      ...anySae,
      ...loggingSchema.shape,
      ...architecture,
      ...runnerShape,
      ...checkedShape,
      saes: saesSchema,
      logger_cfg: loggingSchema.optional(),
    })
    .meta({ title: 'sae-lens-ts training configuration' });
  const file = z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ jsonSchema }) => {
      for (const key of ['filled', 'resolvesTo', 'v5', 'computed']) delete jsonSchema[key];
    },
  });
  return `${JSON.stringify(file, null, 2)}\n`;
}
