// Starts the server under test on free ports and makes sure that it also ends well.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import dgram from 'node:dgram';
import { access } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { fileURLToPath } from 'node:url';

import { missing } from './tools.mjs';

const BINARY = process.env.WHITEWATER_BIN ?? fileURLToPath(new URL('../../target/debug/whitewater', import.meta.url));
const READY_MS = 20_000;
const STOP_MS = 15_000;
const LOG_LEN_MAX = 2_000_000;

/**
 * Starts a server for the tests of `context` (node:test) and stops it after them. Its log is printed when
 * one of them failed. With `scheme` https the arguments have to bring a certificate, which may be anybody's.
 *
 * @returns {Promise<{base: string, log: () => string, pid: () => number, stop: () => Promise<void>, restart: () => Promise<void>}|null>}
 *   null when there is no binary and this is no CI run; the test has been skipped then.
 */
export async function startServer(context, { args = [], scheme = 'http' } = {}) {
  if (!(await exists(BINARY))) {
    missing(context, `no server at ${BINARY}: run "cargo build" first or set WHITEWATER_BIN`);
    return null;
  }
  // Another process may take a free port before the server does; then the next pair is tried.
  for (let attempt = 0; ; attempt += 1) {
    const ports = [await freeTcpPort(), await freeUdpPort()];
    let server = launch(args, ports, scheme);
    if (await server.ready()) {
      let stopped = false;
      context.after(() => stopped || server.stop());
      return {
        base: server.base,
        log: () => server.log(),
        pid: () => server.pid,
        /** Stops the server for good. */
        async stop() {
          stopped = true;
          await server.stop();
        },
        /** Stops the server and starts another one on the same ports. */
        async restart() {
          await server.stop();
          server = launch(args, ports, scheme);
          assert.ok(await server.ready(), `not ready after a restart:\n${server.log()}`);
        },
      };
    }
    await server.kill();
    if (attempt === 2 || !/in use|EADDRINUSE/i.test(server.log())) {
      assert.fail(`the server did not become ready:\n${server.log()}`);
    }
  }
}

/** The environment without the tests' own switches: the server refuses settings it does not know. */
function inherited() {
  const own = ([name]) => !name.startsWith('WHITEWATER_');
  return Object.fromEntries(Object.entries(process.env).filter(own));
}

/**
 * Starts nodes and a manager in front of them, for the tests of `context`: `nodes` by alias, each with its `kill`
 * (SIGKILL), and the manager's `base`. What was not killed has to end well.
 *
 * @returns {Promise<{base: string, nodes: Map<string, {base: string, kill: () => Promise<void>}>}|null>} null as above.
 */
export async function startFleet(context, aliases) {
  if (!(await exists(BINARY))) {
    missing(context, `no server at ${BINARY}: run "cargo build" first or set WHITEWATER_BIN`);
    return null;
  }
  const start = async (server) => {
    let killed = false;
    context.after(() => killed || server.stop());
    assert.ok(await server.ready(), `not ready:\n${server.log()}`);
    return {
      base: server.base,
      log: () => server.log(),
      async kill() {
        killed = true;
        await server.kill();
      },
    };
  };
  const nodes = new Map();
  for (const alias of aliases) {
    const args = ['--alias', alias, '--set', 'cascade.allow=127.0.0.1', '--shards', '1'];
    nodes.set(alias, await start(launch(args, [await freeTcpPort(), await freeUdpPort()], 'http')));
  }
  const named = [...nodes].flatMap(([alias, { base }]) => ['--node', `${alias}=${base}`]);
  const port = await freeTcpPort();
  const manager = await start(run(['manager', '--listen', `127.0.0.1:${port}`, ...named], `http://127.0.0.1:${port}/`));
  return { base: manager.base, log: manager.log, nodes };
}

function launch(args, [port, udpPort], scheme) {
  const own = ['serve', '--listen', `127.0.0.1:${port}`, '--udp', `0.0.0.0:${udpPort}`];
  return run([...own, ...args], `${scheme}://127.0.0.1:${port}/`);
}

function run(args, base) {
  const child = spawn(BINARY, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...inherited(), NO_COLOR: '1' } });
  let log = '';
  for (const pipe of [child.stdout, child.stderr]) {
    pipe.setEncoding('utf8').on('data', (text) => {
      log = (log + text).slice(-LOG_LEN_MAX);
    });
  }
  let ended = null;
  const exit = new Promise((resolve) => {
    child.on('error', (error) => {
      log += `\n${error.message}`;
      resolve((ended = { code: null, signal: 'never started' }));
    });
    child.on('exit', (code, signal) => resolve((ended = { code, signal })));
  });
  return {
    base,
    pid: child.pid,
    log: () => log,
    async ready() {
      const until = Date.now() + READY_MS;
      while (Date.now() < until && ended === null) {
        if (await succeeds(`${base}readyz`)) return true;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return false;
    },
    async kill() {
      child.kill('SIGKILL');
      await exit;
    },
    /** SIGTERM; the server has to end by itself, with exit code 0. */
    async stop() {
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
      const early = ended;
      child.kill('SIGTERM');
      const { code, signal } = await exit;
      clearTimeout(timer);
      if (early || code !== 0 || signal || failures > 0) process.stderr.write(`--- log of the server\n${log}\n---\n`);
      assert.equal(early, null, 'the server ended before it was asked to');
      assert.equal(signal, null, `the server did not end within ${STOP_MS} ms of SIGTERM`);
      assert.equal(code, 0, 'exit code of the server');
    },
  };
}

function succeeds(url) {
  const { get } = url.startsWith('https:') ? https : http;
  return new Promise((resolve) => {
    const request = get(url, { rejectUnauthorized: false, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on('error', () => resolve(false));
  });
}

let failures = 0;

/** Notes a failed test, so that the server's log is printed at the end. */
export function noteFailure() {
  failures += 1;
}

/** The stream object of the API, or undefined. */
export async function streamInfo(server, name) {
  const response = await fetch(`${server.base}api/streams/`);
  assert.equal(response.status, 200);
  return (await response.json()).find(({ id }) => id === name);
}

async function exists(path) {
  return access(path).then(() => true, () => false);
}

function freeTcpPort() {
  return new Promise((resolve, reject) => {
    const socket = net.createServer().once('error', reject);
    socket.listen(0, '127.0.0.1', () => {
      const { port } = socket.address();
      socket.close(() => resolve(port));
    });
  });
}

function freeUdpPort() {
  return new Promise((resolve, reject) => {
    const socket = dgram.createSocket('udp4').once('error', reject);
    socket.bind(0, '0.0.0.0', () => {
      const { port } = socket.address();
      socket.close(() => resolve(port));
    });
  });
}
