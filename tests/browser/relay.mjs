// A network between a browser and the server: datagrams pass, are lost, or wait for a narrow link.

import dgram from 'node:dgram';

/**
 * A UDP relay on a port of its own of 127.0.0.1, closed after `context`.
 *
 * @param {object} context of node:test
 * @param {number} serverPort where the server's media port is
 * @returns {Promise<{port: number, up: Path, down: Path}>} each path may be changed at any time:
 *   `loss` is a share of datagrams, `bitrate` in bits a second (0: no limit), with a queue of 300 ms, and
 *   `delayMs` the time under way
 */
export async function startRelay(context, serverPort) {
  const up = { loss: 0, bitrate: 0, delayMs: 0, freeAt: 0 };
  const down = { loss: 0, bitrate: 0, delayMs: 0, freeAt: 0 };
  const outside = dgram.createSocket('udp4');
  const inside = new Map();
  outside.on('message', (datagram, peer) => {
    const key = `${peer.address}:${peer.port}`;
    let socket = inside.get(key);
    if (!socket) {
      socket = dgram.createSocket('udp4');
      socket.on('message', (answer) => pass(down, answer.length, () => outside.send(answer, peer.port, peer.address)));
      socket.on('error', () => {});
      inside.set(key, socket);
    }
    pass(up, datagram.length, () => socket.send(datagram, serverPort, '127.0.0.1'));
  });
  await new Promise((resolve) => outside.bind(0, '127.0.0.1', resolve));
  context.after(() => {
    // What is still under way goes nowhere.
    const ended = () => {};
    for (const socket of [outside, ...inside.values()]) {
      socket.close();
      socket.send = ended;
    }
  });
  return { port: outside.address().port, up, down };
}

function pass(path, size, send) {
  if (Math.random() < path.loss) return;
  let waitMs = path.delayMs;
  if (path.bitrate) {
    const now = performance.now();
    const start = Math.max(now, path.freeAt);
    if (start - now > QUEUE_MS) return;
    path.freeAt = start + (size * 8000) / path.bitrate;
    waitMs += path.freeAt - now;
  }
  if (waitMs > 0) setTimeout(send, waitMs);
  else send();
}

const QUEUE_MS = 300;
