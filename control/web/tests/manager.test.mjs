// The manager's page: trees, counts, states.

import assert from 'node:assert/strict';
import test from 'node:test';

import { countsOf, stateOf, treeOf } from '../manager.tree.js';

test('a tree starts at the publisher and follows the links', () => {
  const links = [{ node: 'b', from: 'a' }, { node: 'c', from: 'b' }, { node: 'd', from: 'a' }];
  assert.deepEqual(treeOf({ owner: 'a', links }), {
    node: 'a',
    children: [
      { node: 'b', children: [{ node: 'c', children: [] }] },
      { node: 'd', children: [] },
    ],
  });
});

test('links that lead back are not followed for ever', () => {
  const links = [{ node: 'b', from: 'a' }, { node: 'a', from: 'b' }, { node: 'b', from: 'b' }];
  assert.deepEqual(treeOf({ owner: 'a', links }), { node: 'a', children: [{ node: 'b', children: [] }] });
});

test('what nodes get from each other is neither published nor watched', () => {
  const source = {
    publish: { sessions: [{ id: 'p' }] },
    subscribe: { sessions: [{ id: 'v' }, { id: 'pushed', cascade: { dst: 'http://x/whip/s' } }, { id: 'far' }] },
  };
  const relay = {
    publish: { sessions: [{ id: 'q', cascade: { src: 'http://a/whep/s', sessionUrl: 'http://a/session/s/far' } }] },
    subscribe: { sessions: [] },
  };
  assert.deepEqual(countsOf({ a: source, b: relay }), {
    a: { publishers: 1, viewers: 1 },
    b: { publishers: 0, viewers: 0 },
  });
});

test('a node that is being emptied says so while it answers', () => {
  assert.equal(stateOf({ status: 'running', draining: false }), 'running');
  assert.equal(stateOf({ status: 'running', draining: true }), 'draining');
  assert.equal(stateOf({ status: 'stopped', draining: true }), 'stopped');
});
