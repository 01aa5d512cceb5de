// Turns RTCPeerConnection.getStats() into the few numbers a person looks at.

/**
 * @typedef {object} Flow one kind of media in one direction
 * @property {string} codec e.g. `H264`, empty while unknown
 * @property {number|null} bitrateBps since the previous sample
 * @property {number|null} fps
 * @property {number|null} width @property {number|null} height in pixels
 * @property {number|null} lossRatio 0..1 since the previous sample
 * @property {number|null} jitterMs
 * @property {number} freezeCount @property {number} freezeMs in all
 * @property {string} limit what holds the encoder back: `cpu`, `bandwidth` or empty
 */

/**
 * One sample of both kinds, compared with the previous one.
 *
 * @param {Iterable<object>|Map<string, object>} report
 * @param {object|null} previous what the last call returned
 * @returns {{timeMs: number, rttMs: number|null, path: string, video: Flow|null, audio: Flow|null}}
 */
export function sample(report, previous = null) {
  const entries = new Map();
  for (const entry of report.values()) entries.set(entry.id, entry);
  const all = [...entries.values()];
  const pair = selectedPair(entries, all);
  const local = entries.get(pair?.localCandidateId);
  const inbound = all.some((entry) => entry.type === 'inbound-rtp');
  const result = {
    timeMs: Math.max(0, ...all.map((entry) => entry.timestamp ?? 0)),
    rttMs: pair?.currentRoundTripTime === undefined ? null : pair.currentRoundTripTime * 1000,
    path: local ? [local.candidateType, local.relayProtocol ?? local.protocol].filter(Boolean).join('/') : '',
    raw: {},
    video: null,
    audio: null,
  };
  for (const kind of ['video', 'audio']) {
    const flows = all.filter(
      (entry) => entry.kind === kind && entry.type === (inbound ? 'inbound-rtp' : 'outbound-rtp'),
    );
    if (flows.length === 0) continue;
    const remotes = all.filter((entry) => entry.kind === kind && entry.type === 'remote-inbound-rtp');
    const raw = totals(flows, remotes, inbound);
    result.raw[kind] = raw;
    result[kind] = flow(flows, remotes, entries, raw, previous?.raw?.[kind] ?? null, inbound);
  }
  return result;
}

function selectedPair(entries, all) {
  const transport = all.find((entry) => entry.type === 'transport' && entry.selectedCandidatePairId);
  return (
    entries.get(transport?.selectedCandidatePairId) ??
    // Firefox marks the pair itself.
    all.find((entry) => entry.type === 'candidate-pair' && entry.selected) ??
    all.find((entry) => entry.type === 'candidate-pair' && entry.nominated && entry.state === 'succeeded') ??
    null
  );
}

function totals(flows, remotes, inbound) {
  const sum = (list, key) => list.reduce((total, entry) => total + (entry[key] ?? 0), 0);
  return {
    timeMs: Math.max(...flows.map((entry) => entry.timestamp ?? 0)),
    bytes: sum(flows, inbound ? 'bytesReceived' : 'bytesSent'),
    packets: sum(flows, inbound ? 'packetsReceived' : 'packetsSent'),
    frames: sum(flows, inbound ? 'framesDecoded' : 'framesEncoded'),
    lost: sum(inbound ? flows : remotes, 'packetsLost'),
  };
}

function flow(flows, remotes, entries, now, before, inbound) {
  // With several layers the largest one stands for the picture.
  const main = flows.reduce((a, b) => ((b.frameHeight ?? 0) > (a.frameHeight ?? 0) ? b : a));
  const mimeType = flows.map((entry) => entries.get(entry.codecId)?.mimeType).find(Boolean) ?? '';
  const seconds = before ? (now.timeMs - before.timeMs) / 1000 : 0;
  const rate = (key) => (seconds > 0 && now[key] >= before[key] ? (now[key] - before[key]) / seconds : null);
  const bytes = rate('bytes');
  const jitter = inbound ? main.jitter : remotes[0]?.jitter;
  return {
    codec: mimeType.split('/')[1] ?? '',
    bitrateBps: bytes === null ? null : bytes * 8,
    fps: main.framesPerSecond ?? rate('frames'),
    width: main.frameWidth ?? null,
    height: main.frameHeight ?? null,
    lossRatio: lossRatio(now, before, inbound),
    jitterMs: jitter === undefined ? null : jitter * 1000,
    freezeCount: main.freezeCount ?? 0,
    freezeMs: (main.totalFreezesDuration ?? 0) * 1000,
    limit: ['cpu', 'bandwidth'].includes(main.qualityLimitationReason) ? main.qualityLimitationReason : '',
  };
}

// RFC 3550 §6.4.1: lost counts may go down when duplicates or late packets arrive.
function lossRatio(now, before, inbound) {
  if (!before) return null;
  const lost = Math.max(0, now.lost - before.lost);
  const packets = now.packets - before.packets;
  if (packets < 0) return null;
  const expected = inbound ? packets + lost : packets;
  return expected > 0 ? Math.min(1, lost / expected) : 0;
}

/** `1.25 Mbit/s`, `640 kbit/s`; a dash when unknown. */
export function formatBitrate(bps) {
  if (bps === null || bps === undefined || !Number.isFinite(bps)) return '–';
  if (bps >= 9_950_000) return `${Math.round(bps / 1e6)} Mbit/s`;
  if (bps >= 999_500) return `${(bps / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(bps / 1000)} kbit/s`;
}

/** `3 s`, `12 min`, `2 h 05 min`, `3 d 4 h`. */
export function formatAge(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${String(minutes % 60).padStart(2, '0')} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Label and value pairs of a sample, in the order in which they are shown. */
export function rows(now, direction) {
  const { video, audio } = now;
  const ms = (value) => (value === null ? '–' : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`);
  const percent = (ratio) => (ratio === null ? '–' : `${(ratio * 100).toFixed(ratio < 0.1 ? 1 : 0)} %`);
  const worst = [video?.lossRatio, audio?.lossRatio].filter((each) => each !== null && each !== undefined);
  const list = [
    ['Video', video ? formatBitrate(video.bitrateBps) : 'none'],
    ['Audio', audio ? formatBitrate(audio.bitrateBps) : 'none'],
    ['Picture', video?.width ? `${video.width} × ${video.height}` : '–'],
    ['Frames', video?.fps === null || !video ? '–' : `${Math.round(video.fps)} / s`],
    ['Codecs', [video?.codec, audio?.codec].filter(Boolean).join(' + ') || '–'],
    ['Round trip', ms(now.rttMs)],
    ['Loss', percent(worst.length ? Math.max(...worst) : null)],
    ['Jitter', ms(video?.jitterMs ?? audio?.jitterMs ?? null)],
  ];
  if (direction === 'in') {
    list.push(['Freezes', video ? `${video.freezeCount} (${(video.freezeMs / 1000).toFixed(1)} s)` : '–']);
  } else {
    const limits = { cpu: 'processor', bandwidth: 'network' };
    list.push(['Limited by', limits[video?.limit] ?? 'nothing']);
  }
  list.push(['Path', now.path || '–']);
  return list;
}
