// A network between a browser and the server: datagrams pass, are lost, or wait for a narrow link.

import dgram from 'node:dgram';

/**
 * A UDP relay on a port of its own of 127.0.0.1, closed after `context`.
 *
 * @param {object} context of node:test
 * @param {number} serverPort where the server's media port is
 * @returns {Promise<{port: number, up: Path, down: Path}>} each path may be changed at any time:
 *   `loss` is a share of datagrams, `bitrate` in bits a second (0: no limit), with a queue of 300 ms
 */
export async function startRelay(context, serverPort) {
  const up = { loss: 0, bitrate: 0, freeAt: 0 };
  const down = { loss: 0, bitrate: 0, freeAt: 0 };
  const outside = dgram.createSocket('udp4');
  const inside = new Map();
  outside.on('message', (datagram, peer) => {
    const key = `${peer.address}:${peer.port}`;
    let socket = inside.get(key);
    if (!socket) {
      socket = dgram.createSocket('udp4');
      socket.on('message', (answer) => pass(down, () => outside.send(answer, peer.port, peer.address)));
      socket.on('error', () => {});
      inside.set(key, socket);
    }
    pass(up, () => socket.send(datagram, serverPort, '127.0.0.1'), datagram.length);
  });
  await new Promise((resolve) => outside.bind(0, '127.0.0.1', resolve));
  context.after(() => {
    for (const socket of [outside, ...inside.values()]) socket.close();
  });
  return { port: outside.address().port, up, down };
}

function pass(path, send, size = 0) {
  if (Math.random() < path.loss) return;
  if (!path.bitrate) return send();
  const now = performance.now();
  const start = Math.max(now, path.freeAt);
  if (start - now > QUEUE_MS) return;
  path.freeAt = start + (size * 8000) / path.bitrate;
  setTimeout(send, path.freeAt - now);
}

const QUEUE_MS = 300;
