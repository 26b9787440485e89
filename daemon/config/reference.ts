/** The configuration reference of the README, made from the schema so that it can't go stale. */
import { OptionalKind, type TObject, type TSchema } from '@sinclair/typebox';
import { isNamedTables, isTableSchema } from './parse.ts';
import { configSchema } from './schema.ts';
import { formatSizeExactly } from './sizes.ts';

function defaultText(schema: TSchema): string {
  const value: unknown = schema['default'];
  if (typeof schema['derivedDefault'] === 'string') return `\`${schema['derivedDefault']}\``;
  if (value === undefined) return schema[OptionalKind] === undefined ? '**required**' : 'none';
  if (schema['size'] === true && typeof value === 'number') {
    return `\`"${formatSizeExactly(value)}"\``;
  }
  return `\`${JSON.stringify(value)}\``;
}

function rows(schema: TObject, prefix: string): string[] {
  return Object.entries(schema.properties).flatMap(([name, member]) => {
    if (isTableSchema(member)) return rows(member, `${prefix}${name}.`);
    if (isNamedTables(member)) {
      const [each] = Object.values(member.patternProperties);
      if (each !== undefined && isTableSchema(each)) return rows(each, `${prefix}${name}.NAME.`);
    }
    return [`| \`${prefix}${name}\` | ${defaultText(member)} | ${member.description ?? ''} |`];
  });
}

/**
 * All keys of a kind of file (a site's, if none is given) with default and meaning, as a Markdown
 * table (without a line break at its end).
 */
export function configReference(schema: TObject = configSchema): string {
  return ['| key | default | meaning |', '| --- | --- | --- |', ...rows(schema, '')].join('\n');
}
