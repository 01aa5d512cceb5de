// Joins docs/conformance.md with what the tests of a run said, and prints the scores.
//
//   node tests/scores.mjs docs/conformance.md LOG...
//
// A log is what cargo test or node --test (TAP) printed. A row that says `holds` must have all of its tests
// passed, or some of them skipped; otherwise the exit code is 1. When a log of KINDS is not there, rows whose
// tests are missing are counted as not run and do no harm.

import { existsSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';

const KINDS = ['test', 'page', 'browser'];

/** The rows of the table: `{row, level, status, tests}`. */
export function readRows(text) {
  const rows = [];
  for (const line of text.split('\n')) {
    const cells = line.split(' | ');
    const row = /^\| ([WEX]-[A-Z]+-\d+)$/.exec(cells[0])?.[1];
    if (!row || cells.length !== 5) continue;
    const tests = [...cells[4].matchAll(/`([^`]+)`/g)].map((found) => found[1]);
    rows.push({ row, level: cells[1], status: cells[2], tests });
  }
  return rows;
}

/** What each test of a log did: a map from its name to `passed`, `failed` or `skipped`. The worst of several counts. */
export function readLog(text, verdicts = new Map()) {
  const worse = ['skipped', 'passed', 'failed'];
  for (const line of text.split('\n')) {
    const cargo = /^test (?:\S*::)?(\w+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)/.exec(line);
    const tap = /^\s*(not ok|ok) \d+ - (.*?)( # (?:SKIP|TODO).*)?$/.exec(line);
    let name, verdict;
    if (cargo) {
      name = cargo[1];
      verdict = { ok: 'passed', FAILED: 'failed', ignored: 'skipped' }[cargo[2]];
    } else if (tap) {
      name = tap[2].replaceAll('\\#', '#').replaceAll('\\\\', '\\');
      verdict = tap[3] ? 'skipped' : tap[1] === 'ok' ? 'passed' : 'failed';
    } else {
      continue;
    }
    const known = verdicts.get(name);
    if (!known || worse.indexOf(verdict) > worse.indexOf(known)) verdicts.set(name, verdict);
  }
  return verdicts;
}

/** The scores and what is wrong with them. `whole` says that all kinds of tests ran. */
export function score(rows, verdicts, whole) {
  const groups = { M: [0, 0], S: [0, 0], 'D/O': [0, 0] };
  const problems = [];
  const notRun = [];
  for (const { row, level, status, tests } of rows) {
    if (status === 'not applicable') continue;
    const group = groups[level in groups ? level : 'D/O'];
    group[1] += 1;
    if (status !== 'holds') continue;
    const failed = tests.filter((test) => verdicts.get(test) === 'failed');
    const missing = tests.filter((test) => !verdicts.has(test));
    const passed = tests.filter((test) => verdicts.get(test) === 'passed');
    if (failed.length > 0) problems.push(`${row}: failed: ${failed.join(', ')}`);
    else if (whole && missing.length > 0) problems.push(`${row}: did not run: ${missing.join(', ')}`);
    else if (whole && passed.length === 0) notRun.push(row);
    else if (missing.length > 0) notRun.push(row);
    else group[0] += 1;
  }
  return { groups, problems, notRun };
}

function main([table, ...logs]) {
  const rows = readRows(readFileSync(table, 'utf8'));
  const verdicts = new Map();
  for (const log of logs.filter(existsSync)) readLog(readFileSync(log, 'utf8'), verdicts);
  const whole = KINDS.every((kind) => logs.some((log) => basename(log) === kind && existsSync(log)));
  const { groups, problems, notRun } = score(rows, verdicts, whole);
  const open = rows.filter(({ status }) => status === 'open').map(({ row }) => row);
  if (open.length > 0) console.log(`open: ${open.join(' ')}`);
  if (notRun.length > 0) console.log(`not run: ${notRun.length > 20 ? `${notRun.length} rows` : notRun.join(' ')}`);
  for (const problem of problems) console.log(problem);
  const parts = Object.entries(groups).map(([name, [held, all]]) => `${name} ${held}/${all}`);
  console.log(`conformance: ${parts.join(', ')}${whole ? '' : ' (not all tests ran)'}`);
  // In CI every tool is there: what was skipped is missing.
  const unproven = whole && process.env.CI && notRun.length > 0;
  return problems.length > 0 || unproven || rows.length === 0 ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = main(process.argv.slice(2));
