import { describe, expect, it } from 'vitest';
import {
  choicesOf,
  curlOf,
  type Document,
  exampleOf,
  fieldsOf,
  filled,
  fullPath,
  groupsOf,
  matches,
  pretty,
  quoted,
  typeOf,
} from './openapi';

const doc: Document = {
  servers: [{ url: '/api/v2' }],
  tags: [{ name: 'users', description: 'Who may log in' }],
  security: [{ basic: [] }],
  paths: {
    '/users': {
      post: {
        tags: ['users'],
        summary: 'Adds a user',
        requestBody: { required: true, content: { 'application/json': { schema: { $ref: '#/components/schemas/New' } } } },
        responses: {
          200: {
            description: 'done',
            content: {
              'application/json': {
                schema: { oneOf: [{ $ref: '#/components/schemas/Done' }, { $ref: '#/components/schemas/Refused' }] },
              },
            },
          },
        },
      },
    },
    '/retained/{topic}': {
      parameters: [{ name: 'topic', in: 'path', required: true, schema: { type: 'string' } }],
      get: { tags: ['retained'], responses: { 404: { $ref: '#/components/responses/Missing' } }, parameters: [{ name: 'bytes', in: 'query', schema: { type: 'integer' } }] },
    },
    '/openapi.json': { get: { tags: ['retained'], security: [{}] } },
  },
  components: {
    responses: { Missing: { description: 'no such thing' } },
    schemas: {
      New: {
        type: 'object',
        required: ['username', 'tree'],
        properties: {
          username: { type: 'string', description: 'the name', example: 'bob' },
          tags: { type: ['string', 'null'] },
          tree: { $ref: '#/components/schemas/Tree' },
        },
      },
      Tree: {
        type: 'object',
        properties: {
          kind: { type: 'string', enum: ['a', 'b'] },
          children: { type: 'array', items: { $ref: '#/components/schemas/Tree' } },
        },
      },
      Done: { type: 'object', properties: { code: { type: 'integer' } } },
      Refused: { type: 'object', properties: { code: { type: 'integer' }, message: { type: 'string' } } },
    },
  },
};

describe('operations', () => {
  const groups = groupsOf(doc);

  it('lie in the groups of the file', () => {
    expect(groups.map((group) => [group.tag, group.operations.map((op) => `${op.method} ${op.path}`)])).toEqual([
      ['users', ['POST /users']],
      ['retained', ['GET /retained/{topic}', 'GET /openapi.json']],
    ]);
    expect(groups[0]?.description).toBe('Who may log in');
  });

  it('know parameters of the path, bodies, and whether a login is needed', () => {
    const [retained, file] = groups[1]!.operations;
    expect(retained!.parameters.map((p) => p.name)).toEqual(['topic', 'bytes']);
    expect(retained!.answers).toMatchObject([{ status: '404', description: 'no such thing' }]);
    expect(retained!.open).toBe(false);
    expect(file!.open).toBe(true);
    expect(groups[0]!.operations[0]!.body).toMatchObject({ type: 'application/json', required: true });
  });

  it('have ids of their own without blanks', () => {
    const ids = groups.flatMap((group) => group.operations.map((operation) => operation.id));
    expect(new Set(ids).size).toBe(3);
    for (const id of ids) expect(id).toMatch(/^[\w-]+$/);
  });

  it('are found by words', () => {
    const add = groups[0]!.operations[0]!;
    expect(matches(add, 'adds USERS')).toBe(true);
    expect(matches(add, 'post topics')).toBe(false);
  });
});

describe('schemas', () => {
  const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` });

  it('have their types in words', () => {
    expect(typeOf(doc, ref('Tree'))).toBe('Tree');
    expect(typeOf(doc, { type: 'array', items: ref('Tree') })).toBe('Tree[]');
    expect(typeOf(doc, { type: ['string', 'null'] })).toBe('string | null');
    expect(typeOf(doc, { type: 'string', enum: ['a', 'b'] })).toBe('"a" | "b"');
    expect(typeOf(doc, { type: 'array', items: { enum: [1, 2] } })).toBe('(1 | 2)[]');
    expect(typeOf(doc, { type: 'object', additionalProperties: { type: 'integer' } })).toBe('{name: integer}');
    expect(typeOf(doc, undefined)).toBe('any');
  });

  it('are unfolded, but not into themselves', () => {
    expect(fieldsOf(doc, ref('New')).map((field) => [field.depth, field.name, field.required])).toEqual([
      [0, 'username', true],
      [0, 'tags', false],
      [0, 'tree', true],
      [1, 'kind', false],
      [1, 'children', false],
    ]);
  });

  it('offer their choices', () => {
    expect(choicesOf(doc, { oneOf: [ref('Done'), ref('Refused')] })).toHaveLength(2);
    expect(choicesOf(doc, { oneOf: [ref('Done'), { type: 'null' }] })).toHaveLength(0);
  });

  it('give an example of what is required', () => {
    expect(exampleOf(doc, ref('New'))).toEqual({ username: 'bob', tree: { kind: 'a', children: [expect.anything()] } });
    expect(exampleOf(doc, { type: 'array', items: { type: 'boolean' } })).toEqual([false]);
  });
});

describe('requests', () => {
  const retained = groupsOf(doc)[1]!.operations[0]!;

  it('have their parameters encoded', () => {
    expect(filled(retained, { 'path:topic': 'a/b %', 'query:bytes': '5' })).toBe('/retained/a%2Fb%20%25?bytes=5');
    expect(filled(retained, { 'path:topic': 'a' })).toBe('/retained/a');
    expect(filled(retained, {})).toBeUndefined();
    expect(filled({ path: '/retained/{*topic}', parameters: [] }, { 'path:topic': 'a' })).toBe('/retained/a');
  });

  it('begin where the file says', () => {
    expect(fullPath(doc, '/users')).toBe('/api/v2/users');
    expect(fullPath({ servers: [{ url: 'http://h:1/api/v2/' }] }, '/users')).toBe('/api/v2/users');
    expect(fullPath({}, '/users')).toBe('/users');
  });

  it('are lines for a shell that break nothing', () => {
    expect(quoted(`it's`)).toBe(`'it'\\''s'`);
    expect(
      curlOf({ method: 'POST', url: 'http://h/api/v2/users?a=1', username: 'admin', open: false, body: `{"a":"'"}`, type: undefined }),
    ).toBe(
      `curl -X POST -u admin -H 'Content-Type: application/json' --data '{"a":"'\\''"}' 'http://h/api/v2/users?a=1'`,
    );
    expect(curlOf({ method: 'GET', url: 'http://h/x', username: 'a', open: true, body: undefined, type: undefined })).toBe(
      'curl http://h/x',
    );
  });
});

describe('answers', () => {
  it('are indented where they are JSON', () => {
    expect(pretty('{"code":0}')).toBe('{\n  "code": 0\n}');
    expect(pretty('{"n":18446744073709551615}')).toBe('{\n  "n": 18446744073709551615\n}');
    expect(pretty('emqttd_up 1')).toBe('emqttd_up 1');
  });
});
