import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { arrange, draw, resolve, typeOf } from '../docs.js';

const DOCUMENT = JSON.parse(await readFile(new URL('../../src/http/openapi.json', import.meta.url), 'utf8'));

/** Elements that keep what they are given; text is text. */
class Node {
  constructor(name, text = '') {
    Object.assign(this, { name, text, children: [], attributes: {} });
  }

  setAttribute(key, value) { this.attributes[key] = value; }
  append(...children) { this.children.push(...children); }
  replaceChildren(...children) { this.children = children; }
  get textContent() { return this.text + this.children.map((child) => child.textContent).join(''); }
  all(name) { return this.children.flatMap((child) => [...(child.name === name ? [child] : []), ...child.all(name)]); }
}
const document = { createElement: (name) => new Node(name), createTextNode: (text) => new Node('#text', text) };
const drawn = (what) => {
  const root = new Node('main');
  draw(root, what, { document });
  return root;
};

test('every operation of the description is drawn once, under its tag', () => {
  const groups = arrange(DOCUMENT);
  assert.deepEqual(groups.map(({ tag }) => tag), DOCUMENT.tags.map(({ name }) => name));
  const ids = groups.flatMap(({ operations }) => operations.map(({ id }) => id));
  const wanted = Object.values(DOCUMENT.paths)
    .flatMap((item) => Object.entries(item))
    .filter(([method]) => ['get', 'post', 'patch', 'delete'].includes(method))
    .map(([, { operationId }]) => operationId);
  assert.deepEqual([...ids].sort(), wanted.sort());
  const places = drawn(DOCUMENT).all('details').map(({ attributes }) => attributes.id).filter(Boolean);
  assert.deepEqual(places, ids);
});

test('an operation tells its path, parameters, body and answers', () => {
  const [details] = drawn(DOCUMENT).all('details').filter(({ attributes }) => attributes.id === 'patchSession');
  for (const part of ['PATCH', '/session/{stream}/{session}', 'If-Match', 'application/trickle-ice-sdpfrag', '204', '412', '428', 'ETag']) {
    assert.ok(details.textContent.includes(part), part);
  }
});

test('what the description says becomes text and never an attribute or markup', () => {
  const hostile = '<img src=x onerror=alert(1)>"`code`';
  const root = drawn({
    info: { title: hostile },
    paths: { [hostile]: { get: { summary: hostile, description: hostile, responses: { 200: { description: hostile } } } } },
  });
  assert.ok(root.textContent.includes('<img src=x onerror=alert(1)>"'));
  assert.equal(root.all('img').length, 0);
  assert.ok(root.all('code').some(({ textContent }) => textContent === 'code'));
});

test('a document with less in it is drawn as far as it goes', () => {
  assert.match(drawn({}).textContent, /HTTP API/);
  assert.deepEqual(arrange({ paths: { '/a': { get: {} } } })[0].operations[0].responses, []);
  assert.deepEqual(resolve({}, { $ref: '#/nowhere' }), {});
  assert.equal(typeOf({ type: ['string', 'null'] }), 'string or null');
  assert.equal(typeOf({ type: 'array', items: { $ref: '#/components/schemas/Stream' } }), 'array of Stream');
  assert.equal(typeOf({ enum: ['audio', 'video'] }), '"audio" or "video"');
});

test('references that lead in a circle end', () => {
  const circle = { a: { $ref: '#/b' }, b: { $ref: '#/a' } };
  assert.ok(resolve(circle, circle.a));
});
