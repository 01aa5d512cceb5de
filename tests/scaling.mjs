// The model behind docs/scaling.md: how many nodes a number of viewers takes, and how they hang together.
//
//   node tests/scaling.mjs docs/scaling.md docs/performance.md
//
// takes the inputs that are measured from the second page, reads the others, and writes the table anew.

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const BEGIN = '<!-- table -->';
const END = '<!-- /table -->';
const VIEWERS = [1_000, 10_000, 100_000, 1_000_000];

/** The rows `| \`name\` | value | ...` of the page as an object. */
export function readInputs(page) {
  const rows = [...page.matchAll(/^\| `(\w+)` \| ([\d.]+) \|/gm)];
  return Object.fromEntries(rows.map(([, name, value]) => [name, Number(value)]));
}

/** The inputs that docs/performance.md has a figure for. */
export function measured(performance) {
  const part = (name) => performance.split(`<!-- ${name} -->`)[1]?.split(`<!-- /${name} -->`)[0] ?? '';
  const figure = (text, pattern) => Number(pattern.exec(text)?.[1] ?? NaN);
  const smoothed = part('fanout').split(', smoothed').pop();
  // The first row of io_uring with segmentation, in the column of the whole process.
  const lines = smoothed.split('\n').map((line) => line.split('|').map((cell) => cell.trim()));
  const column = lines.find((cells) => cells.includes('whole process'))?.indexOf('whole process');
  const cell = lines.find((cells) => /^uring, GSO/.test(cells[1] ?? ''))?.[column] ?? '';
  const relay = part('relay');
  const hops = [...relay.matchAll(/ ms \| (-?[\d.]+) ms \| \d+ \|/g)].map(([, more]) => Number(more));
  const found = {
    copy_us: figure(cell, /^([\d.]+) µs$/),
    link_us: figure(relay, /^\| got over a link \| ([\d.]+) µs/m),
    hop_ms: hops.length > 0 ? Math.max(0.1, ...hops) : NaN,
  };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => !Number.isNaN(value)));
}

/** Copies of the stream that one node gives, to viewers and other nodes together. */
export function capacity(inputs) {
  const { cores, core_share, copy_us, link_us, packets_per_s, bitrate_mbps, wire_factor, nic_gbps, nic_share, node_max } = inputs;
  const busy = cores * core_share - packets_per_s * link_us * 1e-6;
  const byCpu = busy / (packets_per_s * copy_us * 1e-6);
  const byNetwork = (nic_gbps * 1000 * nic_share) / (bitrate_mbps * wire_factor);
  const bounds = { CPU: byCpu, network: byNetwork, configuration: node_max };
  const [what] = Object.entries(bounds).sort(([, one], [, other]) => one - other)[0];
  return { copies: Math.floor(bounds[what]), what };
}

/** Nodes, links and levels for so many viewers of one stream. Null when the tree would be too deep. */
export function plan(inputs, viewers) {
  const { copies } = capacity(inputs);
  // Every node but the first takes one copy of another one's.
  const nodes = Math.max(1, Math.ceil((viewers - 1) / (copies - 1)));
  let [depth, room, level] = [0, 1, 1];
  while (room < nodes) {
    depth += 1;
    level *= inputs.fan_out;
    room += level;
    if (depth > inputs.depth_max) return null;
  }
  return { nodes, depth, addedMs: depth * inputs.hop_ms, gbps: (viewers * inputs.bitrate_mbps * inputs.wire_factor) / 1000 };
}

/** The most viewers that the tree has room for. */
export function viewersMax(inputs) {
  const { copies } = capacity(inputs);
  let nodes = 0;
  for (let depth = 0; depth <= inputs.depth_max; depth += 1) nodes += inputs.fan_out ** depth;
  return nodes * copies - (nodes - 1);
}

/** The lines between the page's marks. */
export function table(inputs) {
  const number = (value) => Math.round(value).toLocaleString('en-US');
  const { copies, what } = capacity(inputs);
  const lines = [
    `One node gives ${number(copies)} copies of the stream (its bound is the ${what}); a tree of ${inputs.depth_max} levels below`,
    `the publisher's node has room for ${number(viewersMax(inputs))} viewers.`,
    '',
    '| viewers | nodes | levels of links | added by links, p99 | to viewers, all nodes |',
    '|---:|---:|---:|---:|---:|',
  ];
  for (const viewers of VIEWERS) {
    const found = plan(inputs, viewers);
    const cells = found
      ? [number(found.nodes), found.depth, `${found.addedMs.toFixed(1)} ms`, `${found.gbps.toFixed(1)} Gbit/s`]
      : ['too many for these bounds', '', '', ''];
    lines.push(`| ${[number(viewers), ...cells].join(' | ')} |`);
  }
  return lines.join('\n');
}

/** The page with the measured inputs as they are now, and its table as the inputs have it. */
export function renew(old, performance) {
  const page = Object.entries(measured(performance)).reduce(
    (text, [name, value]) => text.replace(new RegExp(`^(\\| \`${name}\` \\| )[\\d.]+`, 'm'), `$1${value}`),
    old,
  );
  const [before, rest] = page.split(BEGIN);
  const after = rest?.split(END)[1];
  if (after === undefined) throw new Error(`the page has no ${BEGIN} and ${END}`);
  return `${before}${BEGIN}\n\n${table(readInputs(page))}\n\n${END}${after}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , path, performance] = process.argv;
  writeFileSync(path, renew(readFileSync(path, 'utf8'), readFileSync(performance, 'utf8')));
}
