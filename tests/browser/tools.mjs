// Finding and running the programs the tests need.

import { spawn } from 'node:child_process';
import { accessSync, constants, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = fileURLToPath(new URL('.', import.meta.url));

/** Without a tool there is nothing to test: a failure in CI, a skip with the reason elsewhere. */
export function missing(context, reason) {
  if (process.env.CI) throw new Error(reason);
  context.skip(reason);
}

/** The first of `names` (paths, or commands on PATH) that can be run, else null. */
export function program(...names) {
  const folders = (process.env.PATH ?? '').split(delimiter);
  for (const name of names) {
    const paths = name.includes('/') ? [name] : folders.map((folder) => join(folder, name));
    const found = paths.find(isProgram);
    if (found) return found;
  }
  return null;
}

function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export const chromium = () => program(process.env.CHROMIUM || '/usr/bin/chromium', '/usr/bin/chromium-browser');
export const firefox = () => program('/usr/bin/firefox-esr', '/usr/bin/firefox');
export const geckodriver = () => program('geckodriver');
/** The Python of `setup.sh`, which has aiortc. */
export const venvPython = () => program(join(HERE, '.venv/bin/python'));
/** Debian's own Python, which GStreamer's bindings belong to. */
export const systemPython = () => program('/usr/bin/python3');

/** FFmpeg with the WHIP muxer: the static one of imageio-ffmpeg, or another one that has it. */
export async function ffmpegWithWhip() {
  const candidates = [];
  const library = join(HERE, '.venv/lib');
  for (const python of list(library)) {
    const folder = join(library, python, 'site-packages/imageio_ffmpeg/binaries');
    candidates.push(...list(folder).filter((name) => name.startsWith('ffmpeg')).map((name) => join(folder, name)));
  }
  candidates.push('/usr/bin/ffmpeg');
  for (const path of candidates) {
    if (!program(path)) continue;
    const { output } = await finished(run(path, ['-hide_banner', '-muxers']));
    if (/^\s*E\s+whip\s/m.test(output)) return path;
  }
  return null;
}

function list(folder) {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/**
 * Runs a program and keeps what it says. `stop()` sends SIGINT, so that it can say goodbye to the server, and
 * SIGKILL when it has not ended 8 s later.
 */
export function run(path, args, { env = {} } = {}) {
  const child = spawn(path, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
  const process_ = { child, output: '', code: null, signal: null, ended: null };
  for (const pipe of [child.stdout, child.stderr]) {
    pipe.setEncoding('utf8').on('data', (text) => {
      process_.output = (process_.output + text).slice(-500_000);
    });
  }
  process_.ended = new Promise((resolve) => {
    child.on('error', (error) => {
      process_.output += error.message;
      resolve();
    });
    child.on('close', (code, signal) => {
      Object.assign(process_, { code, signal });
      resolve();
    });
  });
  process_.stop = async () => {
    const timer = setTimeout(() => child.kill('SIGKILL'), 8000);
    child.kill('SIGINT');
    await process_.ended;
    clearTimeout(timer);
  };
  return process_;
}

/** Waits for the end of a program and returns it. */
export async function finished(process_) {
  await process_.ended;
  return process_;
}

/** Waits until `check` returns something truthy and returns that; fails with `what` after `timeoutMs`. */
export async function until(what, check, timeoutMs = 15_000, everyMs = 100) {
  const end = Date.now() + timeoutMs;
  let last;
  for (;;) {
    last = await check();
    if (last) return last;
    if (Date.now() > end) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await pause(everyMs);
  }
}

export function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
