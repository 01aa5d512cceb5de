// Publishes as OBS does: libdatachannel for WebRTC, and the requests that libcurl makes of OBS's settings.
//
//   node libdatachannel_peer.mjs URL TOKEN FFMPEG
//
// FFmpeg encodes and packetises; its RTP goes out as it is. Ends on SIGINT with a DELETE.

import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import http from 'node:http';

import nodeDataChannel from 'node-datachannel';

const [endpoint, token, ffmpeg] = process.argv.slice(2);
const AGENT = 'Mozilla/5.0 (OBS-Studio/32.0.1; Linux x86_64; en-US)';
const TRACKS = {
  audio: { mid: '0', payloadType: 111, ssrc: 0x0b50_0001, encoder: ['-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000', '-c:a', 'libopus', '-ac', '2'] },
  video: {
    mid: '1', payloadType: 96, ssrc: 0x0b50_0002,
    encoder: [
      '-f', 'lavfi', '-i', 'testsrc=size=320x240:rate=20', '-c:v', 'libx264', '-profile:v', 'baseline', '-pix_fmt', 'yuv420p',
      '-preset', 'ultrafast', '-tune', 'zerolatency', '-bf', '0', '-g', '20', '-b:v', '400k', '-bsf:v', 'dump_extra',
    ],
  },
};

/** One request on a connection of its own, with its headers in this order and case. */
function send(url, method, headers, body = '') {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method, agent: false, headers: [['Host', url.host], ['Accept', '*/*'], ...headers].flat() });
    request.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part) => { text += part; });
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text }));
    });
    request.on('error', reject);
    request.end(body);
  });
}

const authorization = token ? [['Authorization', `Bearer ${token}`]] : [];
const agent = [['User-Agent', AGENT]];

const peer = new nodeDataChannel.PeerConnection('obs', { iceServers: [] });
const connected = new Promise((resolve, reject) => {
  peer.onStateChange((state) => {
    if (state === 'connected') resolve();
    if (['failed', 'disconnected', 'closed'].includes(state)) reject(new Error(`the connection is ${state}`));
  });
});
connected.catch(() => {});

const tracks = Object.entries(TRACKS).map(([kind, { mid, payloadType, ssrc, encoder }]) => {
  const media = kind === 'audio' ? new nodeDataChannel.Audio(mid, 'SendOnly') : new nodeDataChannel.Video(mid, 'SendOnly');
  if (kind === 'audio') media.addOpusCodec(payloadType);
  else media.addH264Codec(payloadType);
  media.addSSRC(ssrc, 'q7Tz0mWcVb3LxK9d', 'Zr5nB8yHs2JpQe6u', `Zr5nB8yHs2JpQe6u-${kind}`);
  return { track: peer.addTrack(media), payloadType, ssrc, encoder };
});

const url = new URL(endpoint);
peer.setLocalDescription();
const { sdp } = peer.localDescription();
const answer = await send(url, 'POST', [
  ['Content-Type', 'application/sdp'], ...authorization, ...agent, ['Content-Length', String(Buffer.byteLength(sdp))],
], sdp);
if (answer.status !== 201) {
  process.stderr.write(`${answer.status} ${answer.text}\n`);
  process.exit(1);
}
const session = new URL(answer.headers.location, url);
peer.setRemoteDescription(answer.text, 'answer');
await connected;

const encoders = [];
for (const { track, payloadType, ssrc, encoder } of tracks) {
  const socket = createSocket('udp4');
  await new Promise((resolve) => socket.bind(0, '127.0.0.1', resolve));
  // RFC 5761 §4: what has these types in its second byte is RTCP, of which libdatachannel sends its own.
  socket.on('message', (packet) => {
    const isRtcp = packet[1] >= 192 && packet[1] <= 223;
    if (!isRtcp && track.isOpen()) track.sendMessageBinary(packet);
  });
  encoders.push(spawn(ffmpeg, [
    '-hide_banner', '-nostdin', '-loglevel', 'error', '-re', ...encoder, '-payload_type', String(payloadType),
    '-ssrc', String(ssrc), '-f', 'rtp', `rtp://127.0.0.1:${socket.address().port}?pkt_size=1200`,
  ], { stdio: ['ignore', 'ignore', 'inherit'] }));
}
process.stdout.write('connected\n');

process.once('SIGINT', async () => {
  for (const encoder of encoders) encoder.kill('SIGKILL');
  peer.close();
  const { status } = await send(session, 'DELETE', [...authorization, ...agent]);
  process.stdout.write(`DELETE ${status}\n`);
  nodeDataChannel.cleanup();
  process.exit([200, 204].includes(status) ? 0 : 1);
});
