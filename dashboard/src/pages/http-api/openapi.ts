/** Reads the parts of an OpenAPI 3 file that the page shows. */

import { prettyJson } from '../retained/payload';

export interface Schema {
  $ref?: string;
  type?: string | string[];
  format?: string;
  description?: string;
  enum?: unknown[];
  const?: unknown;
  default?: unknown;
  example?: unknown;
  examples?: unknown[];
  nullable?: boolean;
  items?: Schema;
  prefixItems?: Schema[];
  properties?: Record<string, Schema>;
  additionalProperties?: boolean | Schema;
  required?: string[];
  oneOf?: Schema[];
  anyOf?: Schema[];
  allOf?: Schema[];
  minimum?: number;
  maximum?: number;
}

export interface Parameter {
  name: string;
  in: 'path' | 'query' | 'header' | 'cookie';
  required?: boolean;
  description?: string;
  schema?: Schema;
  example?: unknown;
}

interface Content {
  $ref?: string;
  content?: Record<string, { schema?: Schema; example?: unknown; }>;
  description?: string;
  required?: boolean;
}

interface RawOperation {
  tags?: string[];
  summary?: string;
  description?: string;
  parameters?: Parameter[];
  requestBody?: Content;
  responses?: Record<string, Content>;
  security?: unknown[];
}

/** The file, as far as it is used. */
export interface Document {
  info?: { title?: string; version?: string; description?: string; };
  servers?: { url?: string; }[];
  tags?: { name: string; description?: string; }[];
  paths?: Record<string, Record<string, unknown>>;
  components?: { schemas?: Record<string, Schema>; responses?: Record<string, Content> };
  security?: unknown[];
}

export interface Body {
  type: string;
  schema: Schema | undefined;
  required: boolean;
  example: unknown;
}

export interface Operation {
  id: string;
  method: string;
  /** as it stands in the file */
  path: string;
  tag: string;
  summary: string;
  description: string;
  parameters: Parameter[];
  body: Body | undefined;
  answers: { status: string; description: string; type: string; schema: Schema | undefined; }[];
  open: boolean;
}

export interface Group {
  tag: string;
  description: string;
  operations: Operation[];
}

const METHODS = ['get', 'post', 'put', 'patch', 'delete'];

/** All operations, in the groups and the order of the file. */
export function groupsOf(doc: Document): Group[] {
  const groups = new Map<string, Group>();
  for (const tag of doc.tags ?? []) {
    groups.set(tag.name, { tag: tag.name, description: tag.description ?? '', operations: [] });
  }
  for (const [path, item] of Object.entries(doc.paths ?? {})) {
    const shared = (item.parameters as Parameter[] | undefined) ?? [];
    for (const method of METHODS) {
      const raw = item[method] as RawOperation | undefined;
      if (!raw) continue;
      const operation = operationOf(doc, path, method, raw, shared);
      const group = groups.get(operation.tag) ?? { tag: operation.tag, description: '', operations: [] };
      group.operations.push(operation);
      groups.set(operation.tag, group);
    }
  }
  return Array.from(groups.values()).filter((group) => group.operations.length > 0);
}

function operationOf(
  doc: Document,
  path: string,
  method: string,
  raw: RawOperation,
  shared: Parameter[],
): Operation {
  const [type, content] = Object.entries(raw.requestBody?.content ?? {})[0] ?? [];
  return {
    // Plain enough to be part of an id in the page.
    id: `${method}-${path.replace(/\W/g, (sign) => `-${sign.charCodeAt(0).toString(16)}`)}`,
    method: method.toUpperCase(),
    path,
    tag: raw.tags?.[0] ?? '',
    summary: raw.summary ?? '',
    description: raw.description ?? '',
    parameters: [...shared, ...(raw.parameters ?? [])].filter((p) => p.in === 'path' || p.in === 'query'),
    body: type
      ? { type, schema: content?.schema, required: raw.requestBody?.required ?? false, example: content?.example }
      : undefined,
    answers: Object.entries(raw.responses ?? {}).map(([status, given]) => {
      const answer = given.$ref === undefined ? given : (doc.components?.responses?.[given.$ref.split('/').pop() ?? ''] ?? {});
      const [answerType, answerContent] = Object.entries(answer.content ?? {})[0] ?? [];
      return {
        status,
        description: answer.description ?? '',
        type: answerType ?? '',
        schema: answerContent?.schema,
      };
    }),
    open: (raw.security ?? doc.security ?? [{}]).some((way) => Object.keys(way as object).length === 0),
  };
}

/** Whether all words of `text` stand in the operation. */
export function matches(operation: Operation, text: string): boolean {
  const hay = `${operation.method} ${operation.path} ${operation.summary} ${operation.description}`.toLowerCase();
  return text
    .toLowerCase()
    .split(/\s+/)
    .every((word) => hay.includes(word));
}

/** The schema behind a reference; the last word of the reference is its name. */
export function resolve(doc: Document, schema: Schema | undefined): { schema: Schema; name: string; } {
  let at = schema ?? {};
  let name = '';
  for (let hops = 0; at.$ref !== undefined && hops < 16; hops += 1) {
    name = at.$ref.split('/').pop() ?? '';
    at = doc.components?.schemas?.[name] ?? {};
  }
  return { schema: at, name };
}

/** A line of a schema's table. */
export interface Field {
  /** the way to it, such as `result[].key` */
  name: string;
  depth: number;
  type: string;
  required: boolean;
  description: string;
}

const DEEPEST = 6;
const MOST_FIELDS = 300;

/** All fields of a schema, depth first. A schema within itself is named and not unfolded again. */
export function fieldsOf(doc: Document, schema: Schema | undefined): Field[] {
  const fields: Field[] = [];
  unfold(doc, schema, 0, [], fields);
  return fields;
}

function unfold(doc: Document, schema: Schema | undefined, depth: number, above: Schema[], fields: Field[]): void {
  const at = merged(doc, inner(doc, schema));
  if (depth > DEEPEST || above.includes(at.origin)) return;
  for (const [name, property] of Object.entries(at.schema.properties ?? {})) {
    if (fields.length >= MOST_FIELDS) return;
    fields.push({
      name,
      depth,
      type: typeOf(doc, property),
      required: at.schema.required?.includes(name) ?? false,
      description: property.description ?? resolve(doc, property).schema.description ?? '',
    });
    unfold(doc, property, depth + 1, [...above, at.origin], fields);
  }
}

/** What lies in arrays, maps and "this or null". */
function inner(doc: Document, schema: Schema | undefined): Schema {
  let at = resolve(doc, schema).schema;
  for (let hops = 0; hops < 8; hops += 1) {
    const choices = notNull(doc, at.oneOf ?? at.anyOf ?? []);
    if (at.items) at = resolve(doc, at.items).schema;
    else if (choices.length === 1) at = resolve(doc, choices[0]).schema;
    else if (!at.properties && typeof at.additionalProperties === 'object') {
      at = resolve(doc, at.additionalProperties).schema;
    } else break;
  }
  return at;
}

function merged(doc: Document, schema: Schema): { schema: Schema; origin: Schema; } {
  if (!schema.allOf) return { schema, origin: schema };
  const parts = schema.allOf.map((part) => resolve(doc, part).schema);
  return {
    schema: {
      ...schema,
      properties: Object.assign({}, ...parts.map((part) => part.properties), schema.properties),
      required: [...parts.flatMap((part) => part.required ?? []), ...(schema.required ?? [])],
    },
    origin: schema,
  };
}

function isNull(doc: Document, schema: Schema): boolean {
  return resolve(doc, schema).schema.type === 'null';
}

function notNull(doc: Document, schemas: readonly Schema[]): Schema[] {
  return schemas.filter((schema) => !isNull(doc, schema));
}

/** The choices of a "one of these", where there are at least two. */
export function choicesOf(doc: Document, schema: Schema | undefined): Schema[] {
  const at = resolve(doc, schema).schema;
  const choices = notNull(doc, at.oneOf ?? at.anyOf ?? []);
  return choices.length > 1 ? choices : [];
}

/** The type in a word or two: `string`, `integer`, `User[]`, `"a" | "b"`, `string | null`. */
export function typeOf(doc: Document, schema: Schema | undefined, depth = 0): string {
  if (!schema || depth > DEEPEST) return 'any';
  const { schema: at, name } = resolve(doc, schema);
  const word = (): string => {
    if (at.enum) return at.enum.map((value) => JSON.stringify(value)).join(' | ');
    if (at.const !== undefined) return JSON.stringify(at.const);
    const choices = at.oneOf ?? at.anyOf;
    if (choices) {
      const words = Array.from(new Set(choices.map((choice) => typeOf(doc, choice, depth + 1))));
      return name !== '' && words.length > 3 ? name : words.join(' | ');
    }
    const types = Array.isArray(at.type) ? at.type : at.type ? [at.type] : [];
    const words = types.map((type) => {
      if (type === 'array') {
        const item = typeOf(doc, at.items ?? at.prefixItems?.[0], depth + 1);
        return item.includes(' | ') ? `(${item})[]` : `${item}[]`;
      }
      if (type === 'object') return name || mapOf(doc, at, depth);
      return type;
    });
    if (words.length > 0) return words.join(' | ');
    return name || (at.properties || at.allOf ? 'object' : 'any');
  };
  return at.nullable ? `${word()} | null` : word();
}

function mapOf(doc: Document, at: Schema, depth: number): string {
  if (!at.properties && typeof at.additionalProperties === 'object') {
    return `{name: ${typeOf(doc, at.additionalProperties, depth + 1)}}`;
  }
  return 'object';
}

/** A value to begin with when a body is typed. */
export function exampleOf(doc: Document, schema: Schema | undefined, depth = 0): unknown {
  const { schema: at } = resolve(doc, schema);
  if (at.example !== undefined) return at.example;
  if (at.examples?.[0] !== undefined) return at.examples[0];
  if (at.default !== undefined) return at.default;
  if (at.const !== undefined) return at.const;
  if (at.enum) return at.enum[0];
  if (depth > DEEPEST) return null;
  if (at.allOf) {
    return Object.assign({}, ...at.allOf.map((part) => exampleOf(doc, part, depth + 1) as object));
  }
  const choice = notNull(doc, at.oneOf ?? at.anyOf ?? [])[0];
  if (choice) return exampleOf(doc, choice, depth + 1);
  if (at.properties) {
    const wanted = Object.entries(at.properties).filter(([name]) => at.required?.includes(name) ?? false);
    const shown = wanted.length > 0 ? wanted : Object.entries(at.properties);
    return Object.fromEntries(shown.map(([name, property]) => [name, exampleOf(doc, property, depth + 1)]));
  }
  const type = Array.isArray(at.type) ? at.type.find((word) => word !== 'null') : at.type;
  switch (type) {
    case 'string':
      return '';
    case 'integer':
    case 'number':
      return at.minimum ?? 0;
    case 'boolean':
      return false;
    case 'array':
      return at.items ? [exampleOf(doc, at.items, depth + 1)] : [];
    case 'object':
      return {};
    default:
      return null;
  }
}

/** What stands before the paths, without the slash at the end: `/api/v2` or nothing. */
export function prefixOf(doc: Document): string {
  const url = doc.servers?.[0]?.url ?? '';
  return url.replace(/^[a-z]+:\/\/[^/]+/, '').replace(/\/+$/, '');
}

/** The way from the site's root, whatever the file begins its paths with. */
export function fullPath(doc: Document, path: string): string {
  return `${prefixOf(doc)}${path}`;
}

/** The path with its parameters put in, `undefined` while one is missing. */
export function filled(
  operation: Pick<Operation, 'path' | 'parameters'>,
  values: Readonly<Record<string, string>>,
): string | undefined {
  let missing = false;
  const path = operation.path.replace(/\{\*?([^}]+)\}/g, (_, name: string) => {
    const value = values[`path:${name}`] ?? '';
    if (value === '') missing = true;
    return encodeURIComponent(value);
  });
  const query = new URLSearchParams();
  for (const parameter of operation.parameters) {
    if (parameter.in !== 'query') continue;
    const value = values[`query:${parameter.name}`] ?? '';
    if (value !== '') query.append(parameter.name, value);
    else if (parameter.required) missing = true;
  }
  if (missing) return undefined;
  const text = query.toString();
  return text === '' ? path : `${path}?${text}`;
}

/** A word for a POSIX shell. */
export function quoted(word: string): string {
  return /^[A-Za-z0-9_./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** The same request for curl; it asks for the password itself, so that none ends in a shell's history. */
export function curlOf(request: {
  method: string;
  url: string;
  username: string;
  open: boolean;
  body: string | undefined;
  type: string | undefined;
}): string {
  const words = ['curl'];
  if (request.method !== 'GET') words.push('-X', request.method);
  if (!request.open) words.push('-u', quoted(request.username));
  if (request.body !== undefined) {
    words.push('-H', quoted(`Content-Type: ${request.type ?? 'application/json'}`), '--data', quoted(request.body));
  }
  words.push(quoted(request.url));
  return words.join(' ');
}

/** JSON with indentation, its numbers with all their digits; anything else as it is. */
export const pretty = (text: string): string => prettyJson(text) ?? text;
