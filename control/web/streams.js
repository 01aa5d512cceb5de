// The list of streams: fetched live, described as plain data, drawn with text nodes only.

import { readEvents } from './sse.js';
import { formatAge, formatBitrate } from './stats.js';
import { sleep } from './wire.js';

/**
 * What the list shows of one stream object of the API. Every member may be missing or of another type: the
 * server may be older or newer than this page.
 */
export function describe(stream, nowMs) {
  const publishers = alive(stream?.publish);
  const viewers = alive(stream?.subscribe);
  const connected = publishers.some((session) => session.state === 'connected');
  const codecs = Array.isArray(stream?.codecs) ? stream.codecs : [];
  const names = codecs
    .map((each) => String(each?.codec ?? '').split('/').pop())
    .filter((name) => name && !/^(rtx|red|ulpfec|telephone-event|cn)$/i.test(name));
  const since = Math.min(...publishers.map((session) => number(session.createdAt) || Infinity));
  return {
    id: String(stream?.id ?? ''),
    state: connected ? 'live' : publishers.length > 0 ? 'starting' : 'idle',
    viewerCount: viewers.length,
    codecs: [...new Set(names)].slice(0, 4).join(' + '),
    bitrate: connected ? formatBitrate(number(stream?.stats?.publish?.bitrate)) : '',
    age: connected && Number.isFinite(since) ? formatAge(nowMs - since) : '',
    picture: connected ? picture(publishers) : '',
    problems: connected ? problems(stream?.diagnosis) : [],
  };
}

/** The largest picture that flows, as `1280 × 720, 30 fps`. */
function picture(publishers) {
  const layers = publishers
    .flatMap(({ tracks }) => (Array.isArray(tracks) ? tracks : []))
    .flatMap((track) => (track?.kind === 'video' && Array.isArray(track.layers) ? track.layers : []))
    .filter((layer) => number(layer?.width) && number(layer?.height) && number(layer?.bitrate));
  if (layers.length === 0) return '';
  const largest = layers.reduce((a, b) => (b.width * b.height > a.width * a.height ? b : a));
  const frames = number(largest.framesPerSecond);
  return `${largest.width} × ${largest.height}${frames ? `, ${frames} fps` : ''}`;
}

const PROBLEMS_MAX = 30;

function problems(diagnosis) {
  const text = (value) => (typeof value === 'string' ? value : '');
  return (Array.isArray(diagnosis) ? diagnosis : [])
    .slice(0, PROBLEMS_MAX)
    .map((each) => ({
      severity: ['error', 'warning'].includes(each?.severity) ? each.severity : 'info',
      message: text(each?.message),
      advice: text(each?.advice),
    }))
    .filter(({ message }) => message);
}

/** Draws what is wrong with a stream, the worst first; nothing is shown where nothing is. */
export function drawProblems(list, found, { document = list.ownerDocument } = {}) {
  const rank = { error: 0, warning: 1, info: 2 };
  const sorted = [...found].sort((a, b) => rank[a.severity] - rank[b.severity]);
  const key = JSON.stringify(sorted);
  if (list.dataset.shown === key) return;
  list.dataset.shown = key;
  for (const element of [...list.children]) element.remove();
  for (const { severity, message, advice } of sorted) {
    const element = document.createElement('li');
    element.dataset.severity = severity;
    const [what, help] = [document.createElement('strong'), document.createElement('span')];
    what.textContent = message;
    help.textContent = advice;
    element.append(what);
    element.append(help);
    list.append(element);
  }
  list.hidden = sorted.length === 0;
}

/** Streams in the order of the list: live ones first, then by name. */
export function arrange(streams, nowMs) {
  const rank = { live: 0, starting: 1, idle: 2 };
  return (Array.isArray(streams) ? streams : [])
    .map((stream) => describe(stream, nowMs))
    .filter(({ id }) => id !== '')
    .sort((a, b) => rank[a.state] - rank[b.state] || a.id.localeCompare(b.id));
}

const STATE_TEXT = { live: 'Live', starting: 'Starting', idle: 'No publisher' };
const SHOWN_MAX = 500;

/**
 * Draws `items` into `list`, keeping the elements of streams that stay so that focus and hover survive.
 * Names come from strangers: they only ever become text and attribute values, never markup.
 */
export function draw(list, items, { document = list.ownerDocument, chosen = '', onChoose }) {
  const old = new Map([...list.children].map((element) => [element.dataset.id, element]));
  let position = 0;
  for (const item of items.slice(0, SHOWN_MAX)) {
    let element = old.get(item.id);
    if (!element) {
      element = row(document, item.id, onChoose);
    }
    old.delete(item.id);
    if (list.children[position] !== element) list.insertBefore(element, list.children[position] ?? null);
    fill(element, item, item.id === chosen);
    position += 1;
  }
  for (const element of old.values()) element.remove();
}

function row(document, id, onChoose) {
  const element = document.createElement('li');
  element.dataset.id = id;
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'stream';
  for (const name of ['dot', 'name', 'state', 'facts', 'viewers']) {
    const span = document.createElement('span');
    span.className = name;
    button.append(span);
  }
  button.children[0].setAttribute('aria-hidden', 'true');
  button.addEventListener('click', () => onChoose(id));
  element.append(button);
  return element;
}

function fill(element, item, isChosen) {
  const button = element.children[0];
  const [, name, state, facts, viewers] = button.children;
  const watched = item.viewerCount === 1 ? '1 viewer' : `${item.viewerCount} viewers`;
  button.dataset.state = item.state;
  if (isChosen) button.setAttribute('aria-current', 'true');
  else button.removeAttribute('aria-current');
  setText(name, item.id);
  setText(state, STATE_TEXT[item.state]);
  const faults = item.problems.filter(({ severity }) => severity !== 'info').length;
  const warned = faults === 0 ? '' : `${faults} ${faults === 1 ? 'problem' : 'problems'}`;
  button.dataset.faulty = String(faults > 0);
  setText(facts, [warned, item.codecs, item.picture, item.bitrate, item.age].filter(Boolean).join(' · '));
  setText(viewers, watched);
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function alive(side) {
  const sessions = Array.isArray(side?.sessions) ? side.sessions : [];
  return sessions.filter((each) => each && !number(each.leaveAt) && each.state !== 'closed');
}

function number(value) {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}

const POLL_MS = 2000;
const SILENCE_MS = 45_000;

/**
 * Follows the list until `signal` aborts: by server-sent events, and by polling while these do not work.
 *
 * @param {object} options
 * @param {string|URL} options.base the server
 * @param {() => string} options.token bearer token or ''
 * @param {(streams: object[]) => void} options.onStreams
 * @param {(state: 'live'|'polling'|'refused'|'elsewhere'|'lost') => void} options.onState
 */
export async function follow({ base, token, onStreams, onState, signal }) {
  while (!signal.aborted) {
    let events = 0;
    try {
      await listen({ base, token, signal, onStreams: (streams) => {
        events += 1;
        onState('live');
        onStreams(streams);
      } });
    } catch {
      // Polling says what is wrong.
    }
    if (signal.aborted) return;
    if (events > 0) {
      // A stream that worked and ended is opened again soon; one poll bridges the gap.
      await poll({ base, token, signal, onStreams, onState });
      await sleep(500, signal);
      continue;
    }
    for (let count = 0; count < 15 && !signal.aborted; count += 1) {
      await poll({ base, token, signal, onStreams, onState });
      await sleep(POLL_MS, signal);
    }
  }
}

async function listen({ base, token, signal, onStreams }) {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const response = await fetch(new URL('api/sse/streams', base), {
      headers: headers(token(), 'text/event-stream'),
      cache: 'no-store',
      signal: AbortSignal.any([signal, silence.signal]),
    });
    const type = response.headers.get('Content-Type') ?? '';
    if (!response.ok || !type.startsWith('text/event-stream')) {
      await response.body?.cancel();
      return;
    }
    for await (const { type: name, data } of readEvents(watchful(response.body, () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
    }))) {
      if (name === 'message') onStreams(JSON.parse(data));
    }
  } finally {
    clearTimeout(timer);
  }
}

// Comments keep the connection alive without being events; they count as a sign of life too.
function watchful(body, onBytes) {
  return body.pipeThrough(
    new TransformStream({
      transform(chunk, controller) {
        onBytes();
        controller.enqueue(chunk);
      },
    }),
  );
}

async function poll({ base, token, signal, onStreams, onState }) {
  try {
    const response = await fetch(new URL('api/streams/', base), {
      headers: headers(token(), 'application/json'),
      cache: 'no-store',
      signal: AbortSignal.any([signal, AbortSignal.timeout(10_000)]),
    });
    if (!response.ok) {
      await response.body?.cancel();
      onState({ 401: 'refused', 403: 'refused', 404: 'elsewhere' }[response.status] ?? 'lost');
      return;
    }
    onStreams(await response.json());
    onState('polling');
  } catch {
    if (!signal.aborted) onState('lost');
  }
}

function headers(token, accept) {
  return token ? { Accept: accept, Authorization: `Bearer ${token}` } : { Accept: accept };
}
