// A page that publishes or watches on command and reports what it sees. Driven from the tests.

import { Publisher, Viewer } from '../web/whip-whep.js';

const video = document.getElementById('video');
const canvas = new OffscreenCanvas(64, 48);
const paper = canvas.getContext('2d', { willReadFrequently: true });

let session = null;
const states = [];
// Peer connections made so far: a viewer that is never disturbed has made exactly one.
let connectionCount = 0;
let postedAt = 0;
let firstFrameMs = null;

const realFetch = globalThis.fetch;
globalThis.fetch = (url, init = {}) => {
  if (init.method === 'POST') postedAt = performance.now();
  return realFetch(url, init);
};

function follow(next) {
  session = next;
  session.addEventListener('state', ({ detail }) => {
    states.push(detail.state);
    console.log(`${Math.round(performance.now())} ms: ${detail.state} ${detail.reason}`);
  });
  session.addEventListener('retry', ({ detail }) => console.log(`retry: ${JSON.stringify(detail)}`));
  session.addEventListener('connection', () => {
    connectionCount += 1;
  });
}

globalThis.publish = async (url, { codec = '', bitrateMax = 800_000, width = 320, height = 240, kinds = ['audio', 'video'], token = '', onlyOffer = '', scalabilityMode = '', layers = [], onlyTcp = false, channels = [], red = null, relayPort = 0, clearBytes = null } = {}) => {
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: kinds.includes('audio') && { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    video: kinds.includes('video') && { width, height, frameRate: 20 },
  });
  video.muted = true;
  video.srcObject = stream;
  follow(new Publisher(url, stream, { codec, bitrateMax, token }));
  if (scalabilityMode) session.addEventListener('connection', ({ detail }) => encodeInLayers(detail.pc, scalabilityMode), { once: true });
  if (layers.length > 0) session.addEventListener('connection', ({ detail }) => encodeTimes(detail.pc, layers), { once: true });
  if (onlyOffer) session.addEventListener('connection', ({ detail }) => limitOffer(detail.pc, onlyOffer), { once: true });
  if (onlyTcp) session.addEventListener('connection', ({ detail }) => leaveTcpAlone(detail.pc));
  if (channels.length > 0) session.addEventListener('connection', ({ detail }) => openChannels(detail.pc, channels));
  shape({ red, relayPort, clearBytes });
  await session.start();
  await connected();
};

globalThis.watch = async (url, { token = '', onlyOffer = '', kinds = ['audio', 'video'], onlyTcp = false, channels = [], red = null, relayPort = 0, clearBytes = null } = {}) => {
  follow(new Viewer(url, { token, kinds }));
  if (onlyOffer) session.addEventListener('connection', ({ detail }) => limitOffer(detail.pc, onlyOffer), { once: true });
  if (onlyTcp) session.addEventListener('connection', ({ detail }) => leaveTcpAlone(detail.pc));
  if (channels.length > 0) session.addEventListener('connection', ({ detail }) => openChannels(detail.pc, channels));
  shape({ red, relayPort, clearBytes });
  session.addEventListener('media', ({ detail }) => {
    if (video.srcObject !== detail.stream) video.srcObject = detail.stream;
    video.play().catch((error) => console.log(`play: ${error.message}`));
  });
  firstFrameMs = null;
  watchFirstFrame();
  await session.start();
};

globalThis.stopSession = () => session.stop();
globalThis.restartSession = () => session.restart();
// A page that crashes says no goodbye: the session is forgotten without a DELETE.
globalThis.forgetSession = () => {
  globalThis.fetch = (url, init = {}) =>
    init.method === 'DELETE' ? Promise.resolve(new Response(null, { status: 204 })) : realFetch(url, init);
};

// A peer that knows one video codec only, as far as its own offer says.
function limitOffer(pc, codec) {
  const add = pc.addTransceiver.bind(pc);
  pc.addTransceiver = (trackOrKind, init) => {
    const transceiver = add(trackOrKind, init);
    if ((trackOrKind.kind ?? trackOrKind) === 'video') {
      const side = init.direction === 'sendonly' ? RTCRtpSender : RTCRtpReceiver;
      const known = side.getCapabilities('video').codecs;
      transceiver.setCodecPreferences(known.filter(({ mimeType }) => mimeType === `video/${codec}`));
    }
    return transceiver;
  };
}

// One stream of several layers, which no SDP mentions (W3C Scalable Video Coding).
function encodeInLayers(pc, scalabilityMode) {
  const add = pc.addTransceiver.bind(pc);
  pc.addTransceiver = (track, init) => {
    const sendEncodings = init.sendEncodings?.map((encoding) => ({ ...encoding, scalabilityMode }));
    return add(track, { ...init, sendEncodings });
  };
}

// Several streams of the same picture (RFC 8853), each with its rid, scale and bit rate.
function encodeTimes(pc, layers) {
  const add = pc.addTransceiver.bind(pc);
  pc.addTransceiver = (track, init) => add(track, track.kind === 'video' ? { ...init, sendEncodings: layers } : init);
}

// A peer whose network lets no UDP out, as far as it knows of the server's addresses.
function leaveTcpAlone(pc) {
  const set = pc.setRemoteDescription.bind(pc);
  pc.setRemoteDescription = ({ type, sdp }) => {
    const kept = (line) => !line.startsWith('a=candidate:') || line.includes(' tcptype passive');
    return set({ type, sdp: sdp.split('\r\n').filter(kept).join('\r\n') });
  };
}

// Data channels: those this page opens, those it is opened, and what is said on them.
const open = new Map();
const heard = [];
const closed = [];
function openChannels(pc, channels) {
  pc.addEventListener('datachannel', ({ channel }) => listen(channel));
  for (const { label, ...init } of channels) listen(pc.createDataChannel(label, init));
}
function listen(channel) {
  const { label } = channel;
  channel.binaryType = 'arraybuffer';
  channel.addEventListener('open', () => open.set(label, channel));
  if (channel.readyState === 'open') open.set(label, channel);
  channel.addEventListener('close', () => {
    closed.push(label);
    if (open.get(label) === channel) open.delete(label);
  });
  channel.addEventListener('message', ({ data }) => {
    const text = typeof data === 'string';
    heard.push(text ? { label, text: data } : { label, bytes: [...new Uint8Array(data).slice(0, 8)], size: data.byteLength });
  });
}
globalThis.channels = () => [...open.values()].map(({ label, id, ordered, maxRetransmits, maxPacketLifeTime, protocol, negotiated }) => ({ label, id, ordered, maxRetransmits, maxPacketLifeTime, protocol, negotiated }));
globalThis.say = (label, data) => open.get(label).send(typeof data === 'number' ? new Uint8Array(data).fill(7) : data);
globalThis.hush = (label) => open.get(label).close();
globalThis.heard = () => heard;
globalThis.closedChannels = () => closed;
globalThis.sctpMessageSize = () => session.pc.sctp?.maxMessageSize;

// What the other options change about a connection when it is made.
function shape({ red, relayPort, clearBytes }) {
  session.addEventListener('connection', ({ detail: { pc } }) => {
    if (red !== null) preferRedundancy(pc, red);
    if (relayPort) goThrough(pc, relayPort);
    if (clearBytes) encrypt(pc, clearBytes);
  });
}

// Redundant audio (RFC 2198) first, or not at all.
function preferRedundancy(pc, wanted) {
  const add = pc.addTransceiver.bind(pc);
  pc.addTransceiver = (trackOrKind, init) => {
    const transceiver = add(trackOrKind, init);
    if ((trackOrKind.kind ?? trackOrKind) === 'audio') {
      const side = init.direction === 'sendonly' ? RTCRtpSender : RTCRtpReceiver;
      const { codecs } = side.getCapabilities('audio');
      const isRed = ({ mimeType }) => mimeType === 'audio/red';
      transceiver.setCodecPreferences([...(wanted ? codecs.filter(isRed) : []), ...codecs.filter((codec) => !isRed(codec))]);
    }
    return transceiver;
  };
}

// A peer that reaches the server through a relay on another port of its address.
function goThrough(pc, port) {
  const set = pc.setRemoteDescription.bind(pc);
  pc.setRemoteDescription = ({ type, sdp }) => {
    // One candidate in each section, and that is the relay's.
    const there = /^a=candidate:1 1 udp (\d+) \S+ \d+ /;
    const lines = sdp.split('\r\n').filter((line) => !line.startsWith('a=candidate:') || there.test(line));
    const moved = lines.map((line) => line.replace(there, `a=candidate:1 1 udp $1 127.0.0.1 ${port} `));
    return set({ type, sdp: moved.join('\r\n') });
  };
}

// Encrypts or decrypts every frame from end to end, but for its first bytes, which packetisers look at.
function encrypt(pc, clearBytes) {
  const source = `onrtctransform = ({ transformer: { readable, writable, options } }) => {
    const transform = (frame, controller) => {
      const bytes = new Uint8Array(frame.data);
      for (let at = options.clearBytes; at < bytes.length; at += 1) bytes[at] ^= (at * 197 + 91) & 0xff;
      frame.data = bytes.buffer;
      controller.enqueue(frame);
    };
    readable.pipeThrough(new TransformStream({ transform })).pipeTo(writable);
  };`;
  const worker = new Worker(URL.createObjectURL(new Blob([source], { type: 'text/javascript' })));
  const add = pc.addTransceiver.bind(pc);
  pc.addTransceiver = (trackOrKind, init) => {
    const transceiver = add(trackOrKind, init);
    const kind = trackOrKind.kind ?? trackOrKind;
    const side = init.direction === 'sendonly' ? transceiver.sender : transceiver.receiver;
    side.transform = new RTCRtpScriptTransform(worker, { clearBytes: clearBytes[kind] });
    return transceiver;
  };
}

// When pictures came to the screen. The gaps between them are what a person sees as black or frozen.
const shownAt = [];
function noteFrames() {
  video.requestVideoFrameCallback((_, { presentationTime }) => {
    shownAt.push(presentationTime);
    noteFrames();
  });
}
noteFrames();

/** The longest time without a new picture, in ms, from the `since`th picture to now; and how many there were. */
globalThis.gaps = (since = 0) => {
  const times = [...shownAt.slice(since), performance.now()];
  const longestMs = times.slice(1).reduce((longest, at, index) => Math.max(longest, at - times[index]), 0);
  return { longestMs, count: shownAt.length };
};

async function connected() {
  if (session.state === 'connected') return;
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`still ${session.state} after 10 s`)), 10_000);
    session.addEventListener('state', ({ detail }) => {
      if (detail.state !== 'connected') return;
      clearTimeout(timer);
      resolve();
    });
  });
}

async function watchFirstFrame() {
  while (firstFrameMs === null) {
    const { framesDecoded } = await globalThis.probe();
    if (framesDecoded > 0) firstFrameMs = Math.round(performance.now() - postedAt);
    else await new Promise((resolve) => setTimeout(resolve, 15));
  }
}

globalThis.probe = async () => {
  const report = session?.pc ? await session.pc.getStats() : new Map();
  const entries = [...report.values()];
  const flow = (kind) =>
    entries.find((entry) => entry.kind === kind && ['inbound-rtp', 'outbound-rtp'].includes(entry.type)) ?? {};
  const [picture, sound] = [flow('video'), flow('audio')];
  const pair = entries.find((entry) => entry.type === 'candidate-pair' && entry.nominated && entry.state === 'succeeded');
  return {
    state: session?.state ?? 'idle',
    states: [...states],
    connectionCount,
    sessionUrl: session?.sessionUrl ?? null,
    framesDecoded: picture.framesDecoded ?? 0,
    framesEncoded: picture.framesEncoded ?? 0,
    keyFramesDecoded: picture.keyFramesDecoded ?? 0,
    pliCount: picture.pliCount ?? 0,
    nackCount: picture.nackCount ?? 0,
    retransmitted: picture.retransmittedPacketsReceived ?? 0,
    lost: picture.packetsLost ?? 0,
    width: picture.frameWidth ?? 0,
    scalabilityMode: picture.scalabilityMode ?? '',
    freezeCount: picture.freezeCount ?? 0,
    freezeMs: (picture.totalFreezesDuration ?? 0) * 1000,
    videoCodec: report.get?.(picture.codecId)?.mimeType ?? '',
    videoPackets: picture.packetsReceived ?? picture.packetsSent ?? 0,
    audioCodec: report.get?.(sound.codecId)?.mimeType ?? '',
    audioPackets: sound.packetsReceived ?? sound.packetsSent ?? 0,
    audioSamples: sound.totalSamplesReceived ?? 0,
    audioEnergy: sound.totalAudioEnergy ?? 0,
    audioConcealed: sound.concealedSamples ?? 0,
    audioLost: sound.packetsLost ?? 0,
    audioFecPackets: sound.fecPacketsReceived ?? 0,
    videoBytes: picture.bytesSent ?? picture.bytesReceived ?? 0,
    targetBitrate: picture.targetBitrate ?? 0,
    transport: report.get?.(pair?.localCandidateId)?.protocol ?? '',
    rttMs: (pair?.currentRoundTripTime ?? 0) * 1000,
    ufrag: /a=ice-ufrag:(\S+)/.exec(session?.pc?.localDescription?.sdp ?? '')?.[1] ?? '',
    firstFrameMs,
    hash: hash(),
  };
};

// FNV-1a over a small copy of the picture: equal pictures, equal numbers.
function hash() {
  if (video.videoWidth === 0) return 0;
  paper.drawImage(video, 0, 0, canvas.width, canvas.height);
  const { data } = paper.getImageData(0, 0, canvas.width, canvas.height);
  let value = 0x811c9dc5;
  for (let at = 0; at < data.length; at += 1) value = Math.imul(value ^ data[at], 0x01000193);
  return value >>> 0;
}

globalThis.peerReady = true;
