import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { test } from 'node:test';

import { links, tools } from '../commands.js';
import { EventParser } from '../sse.js';
import { formatAge, formatBitrate, rows, sample } from '../stats.js';
import { arrange, describe, draw, drawProblems } from '../streams.js';
import { fakeDocument } from './fakes.mjs';

const NOW = 1_000_000;
const live = (id, extra = {}) => ({
  id,
  publish: { leaveAt: 0, sessions: [{ id: 'p', createdAt: NOW - 65_000, leaveAt: 0, state: 'connected' }] },
  subscribe: { leaveAt: 0, sessions: [{ id: 'v', state: 'connected', leaveAt: 0 }, { id: 'w', state: 'closed', leaveAt: 5 }] },
  codecs: [{ kind: 'video', codec: 'H264' }, { kind: 'audio', codec: 'opus' }, { kind: 'video', codec: 'rtx' }],
  stats: { publish: { bitrate: 2_540_000 } },
  ...extra,
});
const HOSTILE = '<img src=x onerror=alert(1)>"\'&';

test('a stream is described by what is alive in it', () => {
  assert.deepEqual(describe(live('cam'), NOW), {
    id: 'cam', state: 'live', viewerCount: 1, codecs: 'H264 + opus', bitrate: '2.5 Mbit/s', age: '1 min',
    picture: '', problems: [],
  });
});

test('a stream object with missing or wrong members does no harm', () => {
  for (const stream of [null, {}, { id: 7 }, { id: 'x', publish: 3, subscribe: { sessions: 'no' }, codecs: [null, {}] }]) {
    assert.equal(describe(stream, NOW).state, 'idle');
  }
  assert.deepEqual(arrange('nonsense', NOW), []);
  assert.deepEqual(arrange([null, {}], NOW), []);
});

test('the largest picture that flows is told, and what is wrong with the stream', () => {
  const layer = (width, bitrate) => ({ width, height: width / 16 * 9, framesPerSecond: 30, bitrate });
  const tracks = [
    { kind: 'audio', layers: [{ bitrate: 32_000 }] },
    { kind: 'video', layers: [layer(640, 300_000), layer(1280, 900_000), layer(1920, 0)] },
  ];
  const stream = live('cam', { diagnosis: [
    { code: 'loss', severity: 'warning', message: 'it loses', advice: 'use a cable' },
    { code: 'b-frames', severity: 'error', message: HOSTILE, advice: 'bframes=0' },
    { code: 'x', severity: 'fatal', message: 7 },
  ] });
  stream.publish.sessions[0].tracks = tracks;
  const item = describe(stream, NOW);
  assert.equal(item.picture, '1280 × 720, 30 fps');
  assert.deepEqual(item.problems.map(({ severity }) => severity), ['warning', 'error']);

  const list = fakeDocument.createElement('ul');
  const show = (problems) => drawProblems(list, problems, { document: fakeDocument });
  show(item.problems);
  assert.deepEqual(list.children.map(({ dataset }) => dataset.severity), ['error', 'warning'], 'the worst first');
  assert.equal(list.children[0].children[0].textContent, HOSTILE);
  assert.equal(list.hidden, false);
  const [kept] = list.children;
  show(item.problems);
  assert.equal(list.children[0], kept, 'nothing is drawn twice');
  show([]);
  assert.equal(list.children.length, 0);
  assert.equal(list.hidden, true);

  const row = fakeDocument.createElement('ul');
  draw(row, [item], { document: fakeDocument, onChoose() {} });
  assert.match(row.children[0].children[0].children[3].textContent, /^2 problems · H264 \+ opus · 1280 × 720/);
});

test('live streams come first, then by name', () => {
  const idle = (id) => ({ id, publish: { sessions: [] }, subscribe: { sessions: [] } });
  assert.deepEqual(arrange([idle('a'), live('z'), live('b')], NOW).map(({ id }) => id), ['b', 'z', 'a']);
});

test('names become text and never markup', () => {
  const list = fakeDocument.createElement('ul');
  let chosen;
  draw(list, arrange([live(HOSTILE)], NOW), { document: fakeDocument, chosen: HOSTILE, onChoose: (id) => { chosen = id; } });
  const [button] = list.children[0].children;
  assert.equal(button.children[1].textContent, HOSTILE);
  assert.equal(button.children[1].children.length, 0);
  assert.equal(button.attributes['aria-current'], 'true');
  button.listeners.click();
  assert.equal(chosen, HOSTILE);
});

test('elements of streams that stay are kept, others go', () => {
  const list = fakeDocument.createElement('ul');
  const show = (...ids) => draw(list, arrange(ids.map((id) => live(id)), NOW), { document: fakeDocument, onChoose() {} });
  show('a', 'b', 'c');
  const [a, , c] = list.children;
  show('a', 'c', 'd');
  assert.deepEqual(list.children.map(({ dataset }) => dataset.id), ['a', 'c', 'd']);
  assert.equal(list.children[0], a);
  assert.equal(list.children[1], c);
  show();
  assert.equal(list.children.length, 0);
});

test('command lines quote every name and never print a token', () => {
  const name = 'a b"$(reboot)\'`;&/ü';
  const { whip, watch } = links('https://sfu.example/', name);
  assert.match(whip, /^https:\/\/sfu\.example\/whip\/[\w%.~-]+$/);
  assert.equal(decodeURIComponent(whip.split('/').pop()), name);
  assert.equal(new URL(watch).searchParams.get('watch'), name);
  for (const tool of tools('https://sfu.example/', name, { needsToken: true })) {
    for (const { text } of tool.lines) {
      assert.doesNotMatch(text.replaceAll('"$TOKEN"', '').replaceAll('$TOKEN', ''), /[$`']|reboot\)/);
    }
  }
  assert.match(tools('http://h:7777/', 'x')[1].lines[0].text, /^ffmpeg -re -i in\.mp4 .* -f whip "http:\/\/h:7777\/whip\/x"$/);
});

const report = (entries) => new Map(entries.map((entry) => [entry.id, entry]));
const inbound = (timestamp, packets, lost, bytes, frames) =>
  report([
    { id: 't', type: 'transport', selectedCandidatePairId: 'pair', timestamp },
    { id: 'pair', type: 'candidate-pair', localCandidateId: 'l', currentRoundTripTime: 0.025, timestamp },
    { id: 'l', type: 'local-candidate', candidateType: 'host', protocol: 'udp', timestamp },
    { id: 'c', type: 'codec', mimeType: 'video/VP9', timestamp },
    {
      id: 'v', type: 'inbound-rtp', kind: 'video', codecId: 'c', timestamp, packetsReceived: packets, packetsLost: lost,
      bytesReceived: bytes, framesDecoded: frames, frameWidth: 640, frameHeight: 360, jitter: 0.004, freezeCount: 2,
      totalFreezesDuration: 1.5,
    },
  ]);

test('rates and losses are those between two samples', () => {
  const first = sample(inbound(1000, 100, 0, 10_000, 30));
  assert.equal(first.video.bitrateBps, null);
  assert.equal(first.video.lossRatio, null);
  const second = sample(inbound(3000, 190, 10, 260_000, 90), first);
  assert.equal(second.video.bitrateBps, 1_000_000);
  assert.equal(second.video.fps, 30);
  assert.equal(second.video.lossRatio, 0.1);
  assert.equal(second.video.codec, 'VP9');
  assert.equal(second.rttMs, 25);
  assert.equal(second.path, 'host/udp');
  assert.equal(second.audio, null);
  assert.deepEqual(Object.fromEntries(rows(second, 'in')), {
    Video: '1.0 Mbit/s', Audio: 'none', Picture: '640 × 360', Frames: '30 / s', Codecs: 'VP9', 'Round trip': '25 ms',
    Loss: '10 %', Jitter: '4.0 ms', Freezes: '2 (1.5 s)', Path: 'host/udp',
  });
});

test('counters that go back (a new connection, a late packet) give no nonsense', () => {
  const first = sample(inbound(1000, 100, 10, 100_000, 30));
  const reset = sample(inbound(2000, 5, 0, 500, 1), first);
  assert.equal(reset.video.bitrateBps, null);
  assert.equal(reset.video.lossRatio, null);
  const late = sample(inbound(2000, 200, 8, 200_000, 60), first);
  assert.equal(late.video.lossRatio, 0);
  const same = sample(inbound(1000, 100, 10, 100_000, 30), first);
  assert.equal(same.video.bitrateBps, null);
});

test('a publisher’s losses are those its receiver reports, over all layers', () => {
  const out = (timestamp, sent, lost) =>
    report([
      { id: 'a', type: 'outbound-rtp', kind: 'video', timestamp, packetsSent: sent, bytesSent: sent * 1000, frameWidth: 320, frameHeight: 180 },
      { id: 'b', type: 'outbound-rtp', kind: 'video', timestamp, packetsSent: sent, bytesSent: sent * 1000, frameWidth: 1280, frameHeight: 720, qualityLimitationReason: 'cpu' },
      { id: 'r', type: 'remote-inbound-rtp', kind: 'video', timestamp, packetsLost: lost, jitter: 0.002 },
    ]);
  const now = sample(out(2000, 100, 10), sample(out(1000, 50, 0)));
  assert.equal(now.video.bitrateBps, 800_000);
  assert.equal(now.video.lossRatio, 0.1);
  assert.equal(now.video.height, 720);
  assert.equal(Object.fromEntries(rows(now, 'out'))['Limited by'], 'processor');
});

test('numbers are written for people', () => {
  assert.deepEqual([null, 0, 64_400, 999_499, 999_500, 2_540_000, 12_000_000].map(formatBitrate),
    ['–', '0 kbit/s', '64 kbit/s', '999 kbit/s', '1.0 Mbit/s', '2.5 Mbit/s', '12 Mbit/s']);
  assert.deepEqual([-5, 59_999, 60_000, 3_900_000, 100 * 3_600_000].map(formatAge),
    ['0 s', '59 s', '1 min', '1 h 05 min', '4 d 4 h']);
});

test('events are read whatever the pieces they come in', () => {
  const text = ': hi\r\ndata: [1,\rdata:2]\n\nevent: x\r\nid: 7\r\ndata\r\n\r\nevent: without-data\n\ndata: last';
  const expected = [{ type: 'message', data: '[1,\n2]', id: '' }, { type: 'x', data: '', id: '7' }];
  for (let size = 1; size <= text.length; size += 1) {
    const parser = new EventParser();
    const events = [];
    for (let at = 0; at < text.length; at += size) events.push(...parser.push(text.slice(at, at + size)));
    assert.deepEqual(events, expected, `pieces of ${size}`);
  }
});

test('the page asks nothing of other hosts, and every module it names is there', async () => {
  const folder = new URL('../', import.meta.url);
  const files = (await readdir(folder)).filter((name) => /\.(html|css|js|svg)$/.test(name));
  for (const name of files) {
    const text = await readFile(new URL(name, folder), 'utf8');
    const foreign = text.match(/(?:src|href|from|url\(|import\()\s*=?\s*["'(]?(?:https?:)?\/\/[^\s"')]+/g) ?? [];
    assert.deepEqual(foreign, [], name);
    for (const [, local] of text.matchAll(/(?:from|src=|href=)\s*["']\.?\/?([\w-]+\.(?:js|css|svg))["']/g)) {
      assert.ok(files.includes(local), `${name} names ${local}`);
    }
    // The page forbids inline scripts and styles for itself.
    if (name.endsWith('.html')) assert.doesNotMatch(text, /\sstyle=|\son\w+=|<script>/);
    if (name.endsWith('.js')) assert.doesNotMatch(text, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(/);
  }
});
