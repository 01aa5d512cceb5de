// What WHIP and WHEP put on the wire: header fields, SDP fragments, retry times. Needs neither a browser nor a network.

/** A request that did not succeed. `status` is 0 when no answer came at all. */
export class RequestFailed extends Error {
  constructor(status, message, { retryAfterMs = null, cause } = {}) {
    super(message, { cause });
    this.name = 'RequestFailed';
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

// RFC 9725 §4.1: a status nobody knows counts as the x00 of its class; 4xx is final but for these.
const RETRYABLE_4XX = [408, 409, 425, 429];

/** Whether the same request may succeed later. */
export function isRetryable(error) {
  if (!(error instanceof RequestFailed)) return false;
  if (error.status === 501 || error.status === 505) return false;
  return error.status === 0 || error.status >= 500 || RETRYABLE_4XX.includes(error.status);
}

const RETRY_FIRST_MS = 1000;
const RETRY_MAX_MS = 30_000;

/**
 * How long to wait before try `attempt + 1`: doubling from Retry-After (or 1 s) up to 30 s, plus up to a
 * third at random so that many clients do not come back together. Never sooner than Retry-After.
 */
export function retryDelayMs({ attempt, retryAfterMs = null, random = Math.random }) {
  const first = retryAfterMs ?? RETRY_FIRST_MS;
  const doubled = Math.max(first, RETRY_FIRST_MS / 2) * 2 ** Math.min(attempt, 16);
  const base = Math.max(first, Math.min(doubled, RETRY_MAX_MS));
  return Math.round(base * (1 + random() / 3));
}

/** Waits, or returns early when `signal` aborts. Never rejects. */
export function sleep(delayMs, signal) {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, delayMs);
    signal.addEventListener('abort', done);
  });
}

/** Retry-After in ms from `nowMs`: seconds or an HTTP date (RFC 9110 §10.2.3); null when absent or unreadable. */
export function parseRetryAfter(value, nowMs) {
  if (value === null || value === undefined) return null;
  const text = value.trim();
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) || !/[a-z]/i.test(text) ? null : Math.max(0, date - nowMs);
}

/** Whether a Content-Type is SDP's, whatever its case and parameters. */
export function isSdpType(contentType) {
  return (contentType ?? '').split(';')[0].trim().toLowerCase() === 'application/sdp';
}

const COUNTER_OFFER_MS = 30_000;

/** Until when a counter-offer holds: the `valid-until` parameter of its Content-Type, else 30 s from now. */
export function parseValidUntil(contentType, nowMs) {
  const found = /;\s*valid-until\s*=\s*"([^"]*)"/i.exec(contentType ?? '');
  const date = found ? Date.parse(found[1]) : NaN;
  return Number.isNaN(date) ? nowMs + COUNTER_OFFER_MS : date;
}

/** The session URL: a relative Location counts from the URL that answered, after all redirects. */
export function resolveLocation(location, answeredBy) {
  const url = new URL(location, answeredBy);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new RequestFailed(0, 'the session URL is not an HTTP one');
  }
  return url;
}

/**
 * Splits a Link field value (RFC 8288) into `{uri, rel, params}`. Several links may share one value; commas,
 * semicolons and escaped quotes inside strings are kept. Parameter names are lower-cased, the first one wins.
 */
export function parseLinkHeader(value) {
  const links = [];
  let rest = value ?? '';
  for (;;) {
    const target = /^[\s,]*<([^>]*)>/.exec(rest);
    if (!target) return links;
    rest = rest.slice(target[0].length);
    const params = {};
    for (;;) {
      const param = /^\s*;\s*([^\s=;,"]*)\s*(?:=\s*(?:"((?:\\.|[^"\\])*)"|([^\s;,"]*)))?/.exec(rest);
      if (!param) break;
      rest = rest.slice(param[0].length);
      const name = param[1].toLowerCase();
      if (name && !Object.hasOwn(params, name)) {
        params[name] = param[2] !== undefined ? param[2].replace(/\\(.)/g, '$1') : (param[3] ?? '');
      }
    }
    links.push({ uri: target[1].trim(), rel: params.rel ?? '', params });
    const comma = /^\s*,/.exec(rest);
    if (!comma) return links;
    rest = rest.slice(comma[0].length);
  }
}

/** STUN and TURN servers which a response names (RFC 9725 §4.6). */
export function iceServersFromLinks(value) {
  const servers = [];
  for (const { uri, rel, params } of parseLinkHeader(value)) {
    if (!rel.toLowerCase().split(/\s+/).includes('ice-server')) continue;
    if (!/^(stun|stuns|turn|turns):[^\s/]/i.test(uri)) continue;
    if (/^turn/i.test(uri)) {
      if (params.username === undefined || params.credential === undefined) continue;
      if ((params['credential-type'] ?? 'password') !== 'password') continue;
      servers.push({ urls: uri, username: params.username, credential: params.credential });
    } else {
      servers.push({ urls: uri });
    }
  }
  return servers;
}

const EOL = '\r\n';

/** Says in each RTP section that RTCP is never sent apart (RFC 9725 §4.4.1, RFC 8858). */
export function withMuxOnly(sdp) {
  return sections(sdp)
    .map((lines) => {
      if (!/^m=(audio|video) /.test(lines[0]) || lines.includes('a=rtcp-mux-only')) return lines;
      return lines.flatMap((line) => (line === 'a=rtcp-mux' ? [line, 'a=rtcp-mux-only'] : [line]));
    })
    .flat()
    .join(EOL)
    .concat(EOL);
}

/** Asks for stereo Opus: without it a browser mixes what it plays down to mono (RFC 7587 §6.1). */
export function withStereoOpus(sdp) {
  return sections(sdp)
    .map((lines) => {
      const pts = lines.flatMap((line) => /^a=rtpmap:(\d+) opus\/48000/i.exec(line)?.[1] ?? []);
      return lines.map((line) => {
        const pt = /^a=fmtp:(\d+) /.exec(line)?.[1];
        return pts.includes(pt) && !/[ ;]stereo=/.test(line) ? `${line};stereo=1` : line;
      });
    })
    .flat()
    .join(EOL)
    .concat(EOL);
}

/** ICE credentials of a description or fragment; those of the first section where there are several. */
export function credentialsOf(sdp) {
  return {
    ufrag: /^a=ice-ufrag:(\S+)/m.exec(sdp)?.[1] ?? '',
    pwd: /^a=ice-pwd:(\S+)/m.exec(sdp)?.[1] ?? '',
  };
}

/** The mid of the section that carries the transport, or null when `candidate` belongs to another one. */
export function candidateMid(candidate, sdp) {
  const mid = bundleTag(sdp);
  if (candidate.sdpMid === null || candidate.sdpMid === undefined) {
    return (candidate.sdpMLineIndex ?? 0) === 0 ? mid : null;
  }
  return candidate.sdpMid === mid ? mid : null;
}

/**
 * An `application/trickle-ice-sdpfrag` body (RFC 8840 §9, RFC 9725 §4.3): the bundle group, then the section
 * that carries the transport with its credentials and candidates.
 *
 * @param {object} parts
 * @param {string} parts.sdp the current local description
 * @param {{candidate: string}[]} parts.candidates as the browser gives them
 * @param {boolean} [parts.endOfCandidates] no more will come
 */
export function buildFragment({ sdp, candidates, endOfCandidates = false }) {
  const [session, ...media] = sections(sdp);
  const mid = bundleTag(sdp);
  const section = media.find((lines) => lines.includes(`a=mid:${mid}`)) ?? media[0] ?? [];
  const { ufrag, pwd } = credentialsOf([...section, ...session].join('\n'));
  const [kind, , ...rest] = (section[0] ?? 'm=audio 9 RTP/AVP 0').slice(2).split(' ');
  const lines = [];
  const group = session.find((line) => line.startsWith('a=group:BUNDLE'));
  if (group) lines.push(group);
  const options = [...session, ...section].find((line) => line.startsWith('a=ice-options:'));
  if (options) lines.push(options);
  lines.push(`m=${[kind, '9', ...rest].join(' ')}`, `a=mid:${mid}`);
  lines.push(`a=ice-ufrag:${ufrag}`, `a=ice-pwd:${pwd}`);
  for (const { candidate } of candidates) {
    // One line each: a candidate with a line break in it would be more than a candidate.
    if (candidate && !/[\r\n]/.test(candidate)) lines.push(`a=${candidate.replace(/^a=/, '')}`);
  }
  if (endOfCandidates) lines.push('a=end-of-candidates');
  return lines.join(EOL) + EOL;
}

/** Credentials and candidates of a fragment which answers a restart. */
export function parseFragment(text) {
  const { ufrag, pwd } = credentialsOf(text);
  const lines = text.split(/\r?\n/);
  return {
    ufrag,
    pwd,
    // The same candidate may stand in every section.
    candidates: [...new Set(lines.filter((line) => line.startsWith('a=candidate:')))],
    endOfCandidates: lines.includes('a=end-of-candidates'),
  };
}

/**
 * The first answer with the credentials and candidates of a restart (RFC 9725 §4.3.3: nothing else changes).
 * Throws when the fragment has no usable credentials (RFC 8839 §5.4: 4 and 22 characters at least).
 */
export function applyRestart(answerSdp, { ufrag, pwd, candidates, endOfCandidates }) {
  if (!/^[\w+/]{4,256}$/.test(ufrag) || !/^[\w+/]{22,256}$/.test(pwd)) {
    throw new RequestFailed(0, 'the restart answer has no ICE credentials');
  }
  return sections(answerSdp)
    .map((lines) => {
      const kept = lines
        .filter((line) => !/^a=(candidate:|end-of-candidates)/.test(line))
        .map((line) => line.replace(/^a=ice-ufrag:.*/, `a=ice-ufrag:${ufrag}`))
        .map((line) => line.replace(/^a=ice-pwd:.*/, `a=ice-pwd:${pwd}`));
      if (!lines[0]?.startsWith('m=')) return kept;
      return [...kept, ...candidates, ...(endOfCandidates ? ['a=end-of-candidates'] : [])];
    })
    .flat()
    .join(EOL)
    .concat(EOL);
}

/** Whether any media section of an answer is in use. */
export function hasAcceptedMedia(sdp) {
  return sections(sdp).some((lines) => /^m=(audio|video) [1-9]/.test(lines[0]));
}

/**
 * Codec capabilities with those of `name` first, in a stable order. Among H.264 the forms come first that every
 * viewer decodes: packetization mode 1, constrained baseline.
 */
export function orderCodecs(codecs, name) {
  const wanted = `/${name}`.toLowerCase();
  const rank = (codec) => {
    if (!codec.mimeType.toLowerCase().endsWith(wanted)) return 9;
    const fmtp = codec.sdpFmtpLine ?? '';
    const mode = /packetization-mode=1/.test(fmtp) ? 0 : 2;
    const profile = /profile-level-id=42[ec]0/i.test(fmtp) ? 0 : 1;
    return wanted === '/h264' ? mode + profile : 0;
  };
  return codecs
    .map((codec, index) => ({ codec, index, rank: rank(codec) }))
    .sort((a, b) => a.rank - b.rank || a.index - b.index)
    .map(({ codec }) => codec);
}

function sections(sdp) {
  const parts = [[]];
  for (const line of sdp.split(/\r?\n/)) {
    if (line === '') continue;
    if (line.startsWith('m=')) parts.push([]);
    parts.at(-1).push(line);
  }
  return parts;
}

// RFC 9143 §7.1: the first mid of the offer's group names the section whose transport all others share.
function bundleTag(sdp) {
  const group = /^a=group:BUNDLE (\S+)/m.exec(sdp)?.[1];
  return group ?? /^a=mid:(\S+)/m.exec(sdp)?.[1] ?? '0';
}
