import assert from 'node:assert/strict';
import { test } from 'node:test';

import { follow } from '../streams.js';
import { fakeFetch, reply } from './fakes.mjs';

const BASE = 'https://sfu.example/';

/** Follows the list until `enough` says so; returns what was seen. */
async function followUntil(answer, enough, token = '') {
  const fake = fakeFetch(answer);
  globalThis.fetch = fake.fetch;
  const ended = new AbortController();
  const seen = { lists: [], states: [], requests: fake.requests };
  const check = () => enough(seen) && ended.abort();
  await follow({
    base: BASE,
    token: () => token,
    signal: ended.signal,
    onStreams: (streams) => { seen.lists.push(streams); check(); },
    onState: (state) => { seen.states.push(state); check(); },
  });
  return seen;
}

// The body stays open, as that of a living server, until the request is aborted.
function events({ signal }, ...texts) {
  const body = new ReadableStream({
    start(controller) {
      for (const text of texts) controller.enqueue(new TextEncoder().encode(text));
      signal.addEventListener('abort', () => controller.error(signal.reason));
    },
  });
  return reply(200, { 'Content-Type': 'text/event-stream' }, body);
}

test('the list comes by server-sent events, with the token', { timeout: 5000 }, async () => {
  const seen = await followUntil(
    (request) => events(request, 'data: [{"id":"a"}]\n\n', ': still here\n\nda', 'ta: []\n\n'),
    ({ lists }) => lists.length === 2,
    'secret',
  );
  assert.deepEqual(seen.lists, [[{ id: 'a' }], []]);
  assert.deepEqual(seen.states, ['live', 'live']);
  assert.equal(seen.requests.length, 1);
  assert.equal(seen.requests[0].url, `${BASE}api/sse/streams`);
  assert.equal(seen.requests[0].headers.Authorization, 'Bearer secret');
});

test('a server without events is polled', { timeout: 5000 }, async () => {
  const seen = await followUntil(
    ({ url }) => (url.includes('/sse/') ? reply(404) : reply(200, { 'Content-Type': 'application/json' }, '[{"id":"b"}]')),
    ({ states }) => states.length === 1,
  );
  assert.deepEqual(seen.lists, [[{ id: 'b' }]]);
  assert.deepEqual(seen.states, ['polling']);
  assert.equal(seen.requests[0].headers.Authorization, undefined);
});

test('broken events are no reason to stop', { timeout: 5000 }, async () => {
  const seen = await followUntil(
    (request) => (request.url.includes('/sse/') ? events(request, 'data: {not json\n\n') : reply(200, {}, '[]')),
    ({ states }) => states.includes('polling'),
  );
  assert.deepEqual(seen.lists, [[]]);
});

test('a refusal and a dead server are told apart', { timeout: 5000 }, async () => {
  assert.deepEqual((await followUntil(() => reply(401), ({ states }) => states.length > 0)).states, ['refused']);
  // Where the management API has a listener of its own.
  assert.deepEqual((await followUntil(() => reply(404), ({ states }) => states.length > 0)).states, ['elsewhere']);
  const dead = () => { throw new TypeError('no route'); };
  assert.deepEqual((await followUntil(dead, ({ states }) => states.length > 0)).states, ['lost']);
});
