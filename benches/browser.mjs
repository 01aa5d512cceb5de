// What keeping packets together saves with a real browser as the publisher.
//
//   tests/run setup                 # Chromium and Playwright, once
//   cargo build --release
//   node benches/browser.mjs        # minutes; prints Markdown
//
// Chromium publishes a camera full of noise, so that its encoder uses all of the rate; `whitewater load` watches, counts packets and reads the CPU time of the
// media thread. Each round gives every way of sending its turn, in an order that shifts, each on a fresh server.

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

process.env.WHITEWATER_BIN ??= fileURLToPath(new URL('../target/release/whitewater', import.meta.url));
process.env.CI ??= 'true';
const { openPage, closePages, publish, stage } = await import('../tests/browser/browser.mjs');
const { pause } = await import('../tests/browser/tools.mjs');

const VIEWERS = Number(process.env.BENCH_VIEWERS ?? 100);
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
const MEASURED_S = Number(process.env.BENCH_ROUND_S ?? 6);
// Until the publisher's bandwidth estimate carries its full rate.
const RISE_MS = 8000;
const CODEC = process.env.BENCH_CODEC ?? 'VP8';
const BITRATE_BPS = 2_500_000;
const STREAM = 'bench';
const SIZE = { width: 640, height: 360 };
const HOLDS_US = [0, 1000, 3000, 5000];

const ways = HOLDS_US.flatMap((hold) => [false, true].map((pad) => ({ hold, pad, samples: [] })));

const folder = await mkdtemp(join(tmpdir(), 'whitewater-bench-'));
const camera = join(folder, 'noise.y4m');
await writeFile(camera, noise(SIZE));

for (let round = 0; round < ROUNDS; round += 1) {
  for (let turn = 0; turn < ways.length; turn += 1) {
    const way = ways[(turn + round) % ways.length];
    const sample = await measured(way);
    process.stderr.write(`${round} hold ${way.hold} pad ${way.pad} ${JSON.stringify(sample)}\n`);
    way.samples.push(sample);
  }
}

await rm(folder, { recursive: true });

const none = median(ways[0].samples.map(({ ns }) => ns));
process.stdout.write(
  `### Chromium publishes ${CODEC} at up to ${BITRATE_BPS / 1e6} Mbit/s, ${VIEWERS} viewers\n\n`
  + '| `forward.hold_us` | `forward.pad_runs` | CPU per packet, median | lowest to highest | against neither | packets a send | packets/s |\n'
  + '|---:|---|---:|---:|---:|---:|---:|\n',
);
for (const { hold, pad, samples } of ways) {
  const costs = samples.map(({ ns }) => ns);
  const us = (ns) => (ns / 1000).toFixed(2);
  const cells = [
    hold, pad ? 'on' : 'off', `${us(median(costs))} µs`, `${us(Math.min(...costs))} to ${us(Math.max(...costs))} µs`,
    (median(costs) / none).toFixed(2), median(samples.map(({ run }) => run)).toFixed(2),
    Math.round(median(samples.map(({ rate }) => rate))),
  ];
  process.stdout.write(`| ${cells.join(' | ')} |\n`);
}
process.stdout.write('\n');

/** One server's turn: nanoseconds a packet, packets a send, packets a second. */
async function measured({ hold, pad }) {
  const ends = [];
  const context = { after: (end) => ends.unshift(end), skip: (reason) => { throw new Error(reason); } };
  try {
    const args = ['--shards', '1', '--set', `forward.hold_us=${hold}`, '--set', `forward.pad_runs=${pad}`];
    const shared = await stage(context, { args, flags: [`--use-file-for-fake-video-capture=${camera}`] });
    const { server } = shared;
    const page = await openPage(shared);
    await publish(page, server, STREAM, { codec: CODEC, bitrateMax: BITRATE_BPS, ...SIZE });
    await pause(RISE_MS);
    const loading = load(server);
    // In the middle of the measured part.
    await pause(3000);
    const before = await counters(server);
    await pause(MEASURED_S * 500);
    const after = await counters(server);
    const { server: cost, received, measured_s: seconds } = await loading;
    await closePages(page);
    return {
      ns: cost.shard_ns_per_packet,
      run: (after.sent_packets - before.sent_packets) / (after.trains - before.trains),
      rate: received.packets / seconds,
    };
  } finally {
    for (const end of ends) await end();
  }
}

/** A second of pictures, none of which can be told from the one before (YUV4MPEG2, 4:2:0). */
function noise({ width, height }) {
  const parts = [Buffer.from(`YUV4MPEG2 W${width} H${height} F30:1 Ip A1:1 C420jpeg\n`)];
  for (let frame = 0; frame < 30; frame += 1) parts.push(Buffer.from('FRAME\n'), randomBytes((width * height * 3) / 2));
  return Buffer.concat(parts);
}

/** The report of viewers that watch for a while. */
function load(server) {
  const args = ['load', server.base, '--publishers', '0', '--viewers', VIEWERS, '--stream', STREAM, '--ramp', '200/s',
    '--duration', `${MEASURED_S}s`, '--verify', '0%', '--pid', server.pid(), '--json', '-'];
  return new Promise((resolve, reject) => {
    const child = spawn(process.env.WHITEWATER_BIN, args.map(String), { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (more) => { text += more; });
    child.stderr.setEncoding('utf8').on('data', (more) => { said += more; });
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve(JSON.parse(text)) : reject(new Error(`load ended with ${code}:\n${said}${text}`))));
  });
}

async function counters(server) {
  const text = await (await fetch(`${server.base}metrics`)).text();
  const sum = (name) => [...text.matchAll(new RegExp(`^whitewater_udp_${name}_total(?:\\{[^}]*\\})? (\\d+)`, 'gm'))]
    .reduce((total, [, value]) => total + Number(value), 0);
  return { sent_packets: sum('sent_packets'), trains: sum('trains') };
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
