import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { capacity, measured, plan, readInputs, renew, table, viewersMax } from './scaling.mjs';

const page = readFileSync(new URL('../docs/scaling.md', import.meta.url), 'utf8');
const performance = readFileSync(new URL('../docs/performance.md', import.meta.url), 'utf8');
const INPUTS = {
  cores: 1, core_share: 0.5, copy_us: 1, link_us: 0, packets_per_s: 100, bitrate_mbps: 1, wire_factor: 1,
  nic_gbps: 1000, nic_share: 1, node_max: 1e9, fan_out: 2, depth_max: 2, hop_ms: 1.5,
};

test('the page has what was measured, and its table is what its inputs give', () => {
  const inputs = readInputs(page);
  for (const name of Object.keys(INPUTS)) assert.ok(inputs[name] > 0, name);
  const how = 'run: node tests/scaling.mjs docs/scaling.md docs/performance.md';
  assert.equal(renew(page, performance), page, how);
});

test('figures are found in the tables of the benches', () => {
  const text = `<!-- fanout -->
### 1 publisher, smoothed
| | CPU per packet, median | lowest to highest | against the floor | whole process | packets/s | share of a core |
| uring, GSO | 8.52 µs | 7.01 to 9.81 µs | 1.21 | 8.66 µs | 15023 | 12.8 % |
<!-- /fanout -->
<!-- relay -->
| got over a link | 3.21 µs |
| 1 | 2.0 % | 0.20 ms | 0.30 ms | 0.50 ms | 0.90 ms |  | 0 |
| 2 | 3.0 % | 0.30 ms | 0.50 ms | 0.90 ms | 1.10 ms | 0.40 ms | 0 |
| 3 | 3.0 % | 0.40 ms | 0.90 ms | 1.60 ms | 1.90 ms | 0.70 ms | 0 |
<!-- /relay -->`;
  assert.deepEqual(measured(text), { copy_us: 8.66, link_us: 3.21, hop_ms: 0.7 });
  assert.deepEqual(measured('nothing'), {});
});

test('a node gives what its scarcest part allows', () => {
  assert.deepEqual(capacity(INPUTS), { copies: 5000, what: 'CPU' });
  // A tenth of what it may use goes into getting the stream.
  assert.deepEqual(capacity({ ...INPUTS, link_us: 500 }), { copies: 4500, what: 'CPU' });
  assert.deepEqual(capacity({ ...INPUTS, nic_gbps: 1 }), { copies: 1000, what: 'network' });
  assert.deepEqual(capacity({ ...INPUTS, node_max: 10 }), { copies: 10, what: 'configuration' });
});

test('nodes take copies of each other, and the tree grows no deeper than it may', () => {
  const small = { ...INPUTS, node_max: 10 };
  assert.deepEqual(plan(small, 10), { nodes: 1, depth: 0, addedMs: 0, gbps: 0.01 });
  // Two nodes: nine copies of the first are left, ten of the second.
  assert.deepEqual(plan(small, 19), { nodes: 2, depth: 1, addedMs: 1.5, gbps: 0.019 });
  assert.equal(plan(small, 20).nodes, 3);
  assert.equal(plan(small, 29).depth, 2);
  assert.equal(viewersMax(small), 64);
  assert.equal(plan(small, 64).nodes, 7);
  assert.equal(plan(small, 65), null);
  assert.match(table({ ...small, fan_out: 1 }), /\| 1,000 \| too many for these bounds \|/);
});
