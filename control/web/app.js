// Puts the page together: tabs, deep links, the token and the list of streams.

import { PublishPanel } from './publish.js';
import { arrange, draw, drawProblems, follow } from './streams.js';
import { byId } from './ui.js';
import { WatchPanel } from './watch.js';

const TOKEN_KEY = 'whitewater-token';
const base = new URL('./', document.baseURI).href;
const tokenField = byId('token');
const query = new URLSearchParams(location.search);

const context = { base, token: () => tokenField.value.trim() };
const watch = new WatchPanel({ ...context, onName: () => { remember(); redraw(); } });
const publish = new PublishPanel({ ...context, onName: remember });

let tab = query.has('publish') ? 'publish' : 'watch';
let streams = [];

function remember() {
  const url = new URL(base);
  const name = tab === 'watch' ? watch.name : publish.name;
  if (name) url.searchParams.set(tab, name);
  else if (tab === 'publish') url.searchParams.set('publish', '');
  history.replaceState(null, '', url);
  document.title = name && tab === 'watch' ? `${name} – Whitewater` : 'Whitewater';
}

function choose(next, { focus = false } = {}) {
  tab = next;
  for (const each of ['watch', 'publish']) {
    const button = byId(`tab-${each}`);
    button.setAttribute('aria-selected', String(each === tab));
    button.tabIndex = each === tab ? 0 : -1;
    byId(each).hidden = each !== tab;
    if (focus && each === tab) button.focus();
  }
  remember();
}

for (const each of ['watch', 'publish']) {
  const other = each === 'watch' ? 'publish' : 'watch';
  byId(`tab-${each}`).addEventListener('click', () => choose(each));
  byId(`tab-${each}`).addEventListener('keydown', (event) => {
    if (['ArrowLeft', 'ArrowRight'].includes(event.key)) choose(other, { focus: true });
  });
}

function redraw() {
  const items = arrange(streams, Date.now());
  draw(byId('streams'), items, {
    chosen: watch.name,
    onChoose: (name) => {
      choose('watch');
      watch.watch(name);
      if (matchMedia('(max-width: 900px)').matches) byId('watch-screen').scrollIntoView({ block: 'center' });
    },
  });
  drawProblems(byId('watch-problems'), items.find(({ id }) => id === watch.name)?.problems ?? []);
  byId('streams-empty').hidden = items.length > 0;
  const live = items.filter(({ state }) => state === 'live').length;
  byId('streams-state').dataset.live = live;
  return live;
}

const LIST_STATES = {
  live: (live) => `${live} live`,
  polling: (live) => `${live} live`,
  refused: () => 'Needs a token',
  elsewhere: () => 'Not listed here',
  lost: () => 'No connection',
};
let listState = 'live';
let following = new AbortController();

function followList() {
  following.abort();
  following = new AbortController();
  const showState = () => {
    const text = LIST_STATES[listState](byId('streams-state').dataset.live ?? 0);
    if (byId('streams-state').textContent !== text) byId('streams-state').textContent = text;
  };
  follow({
    ...context,
    signal: following.signal,
    onStreams: (next) => {
      streams = next;
      redraw();
      showState();
    },
    onState: (next) => {
      listState = next;
      byId('streams').dataset.source = next;
      showState();
    },
  });
}

function showToken() {
  document.querySelector('.access').dataset.set = String(tokenField.value.trim() !== '');
}

// The token lives in this tab only: never in the address, never in lasting storage.
tokenField.value = sessionStorage.getItem(TOKEN_KEY) ?? '';
tokenField.addEventListener('change', () => {
  const token = context.token();
  if (token) sessionStorage.setItem(TOKEN_KEY, token);
  else sessionStorage.removeItem(TOKEN_KEY);
  showToken();
  publish.showLinks();
  followList();
});
document.addEventListener('click', (event) => {
  const access = document.querySelector('.access');
  if (access.open && !access.contains(event.target)) access.open = false;
});
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') document.querySelector('.access').open = false;
});
// A page that comes back from the browser's cache has lost its sessions.
addEventListener('pageshow', (event) => event.persisted && location.reload());

showToken();
publish.name = query.get('publish') || `cam-${Math.random().toString(36).slice(2, 6)}`;
const wanted = query.get('watch');
choose(tab);
followList();
if (wanted && tab === 'watch') watch.watch(wanted);
