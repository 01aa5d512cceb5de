import assert from 'node:assert/strict';
import { test } from 'node:test';

import { readLog, readRows, score } from './scores.mjs';

const TABLE = `
| Row | Level | Status | Rule | Tests |
|---|---|---|---|---|
| W-A-1 | M | holds | \`GET\` works | \`one\`, \`two\` |
| W-A-2 | M | open | not yet | – |
| E-A-3 | S | holds | as W-A-1 | \`a title, with # and more\` |
| X-A-4 | D | holds | rule | \`two\` |
| X-A-5 | O | not applicable | rule | no such thing |
`;
const CARGO = 'test http::one ... ok\ntest two ... FAILED\ntest three ... ignored\n';
const TAP = '# Subtest: x\n    ok 1 - inner\nok 2 - a title, with \\# and more\nok 3 - away # SKIP no browser\nnot ok 4 - bad\n';

test('rows and their tests are read from the table', () => {
  const rows = readRows(TABLE);
  assert.deepEqual(rows.map(({ row }) => row), ['W-A-1', 'W-A-2', 'E-A-3', 'X-A-4', 'X-A-5']);
  assert.deepEqual(rows[0].tests, ['one', 'two']);
});

test('verdicts are read from the logs of both runners, and the worst of several counts', () => {
  const verdicts = readLog('test again::two ... ok\n', readLog(TAP, readLog(CARGO)));
  assert.deepEqual(Object.fromEntries(verdicts), {
    one: 'passed', two: 'failed', three: 'skipped', inner: 'passed', 'a title, with # and more': 'passed', away: 'skipped', bad: 'failed',
  });
});

test('a row holds when all its tests passed', () => {
  const rows = readRows(TABLE);
  const good = score(rows, readLog(`${CARGO.replace('FAILED', 'ok')}${TAP}`), true);
  assert.deepEqual(good.groups, { M: [1, 2], S: [1, 1], 'D/O': [1, 1] });
  assert.deepEqual(good.problems, []);
  const bad = score(rows, readLog(CARGO + TAP), true);
  assert.deepEqual(bad.groups.M, [0, 2]);
  assert.equal(bad.problems.length, 2);
});

test('a test that did not run is a fault of a whole run only', () => {
  const rows = readRows(TABLE);
  assert.deepEqual(score(rows, readLog(TAP), true).problems.map((text) => text.split(':')[0]), ['W-A-1', 'X-A-4']);
  const part = score(rows, readLog(TAP), false);
  assert.deepEqual(part.problems, []);
  assert.deepEqual(part.notRun, ['W-A-1', 'X-A-4']);
});

test('a skipped test proves nothing', () => {
  const rows = readRows('| W-A-1 | M | holds | rule | `away` |\n');
  const { groups, notRun } = score(rows, readLog(TAP), true);
  assert.deepEqual([groups.M, notRun], [[0, 1], ['W-A-1']]);
});
