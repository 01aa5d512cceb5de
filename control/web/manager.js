// The manager's page: nodes with their load, and where each stream lives.

import { countsOf, stateOf, treeOf } from './manager.tree.js';

const TOKEN_KEY = 'whitewater-manager-token';
const LOOK_EVERY_MS = 2000;
/** Streams whose trees are asked for at a time. */
const STREAMS_MAX = 100;
const byId = (id) => document.getElementById(id);

const tokenField = byId('token');
tokenField.value = sessionStorage.getItem(TOKEN_KEY) ?? '';

function make(name, text = '', properties = {}) {
  const element = document.createElement(name);
  element.textContent = text;
  Object.assign(element, properties);
  return element;
}

async function call(path, init = {}) {
  const token = tokenField.value.trim();
  const headers = { ...init.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  const response = await fetch(path, { ...init, headers });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.detail ?? body.error ?? `${response.status} ${response.statusText}`);
  return body;
}

function load(count, max) {
  const cell = make('td');
  cell.append(make('meter', '', { max: Math.max(max, 1), value: count }), ` ${count} of ${max}`);
  return cell;
}

function nodeRow(node) {
  const row = make('tr');
  const name = make('td', node.alias);
  name.append(make('small', node.url));
  const state = make('td', stateOf(node));
  state.dataset.state = stateOf(node);
  const button = make('button', node.draining ? 'Use again' : 'Drain', { type: 'button' });
  button.setAttribute('aria-label', `${button.textContent}: ${node.alias}`);
  button.addEventListener('click', async () => {
    button.disabled = true;
    const path = `api/nodes/${encodeURIComponent(node.alias)}/drain`;
    await call(path, { method: node.draining ? 'DELETE' : 'POST' }).catch(say);
    look();
  });
  const action = make('td');
  action.append(button);
  row.append(
    name,
    make('td', node.region || '–'),
    state,
    load(node.publishers, node.pub_max),
    load(node.viewers, node.sub_max),
    make('td', node.duration),
    action,
  );
  return row;
}

function treeItem({ node, children }, counts) {
  const { publishers = 0, viewers = 0 } = counts[node] ?? {};
  const what = [publishers ? 'published here' : '', viewers === 1 ? '1 viewer' : `${viewers} viewers`];
  const item = make('li', `${node}: ${what.filter(Boolean).join(', ')}`);
  if (children.length) {
    const list = make('ul');
    list.append(...children.map((child) => treeItem(child, counts)));
    item.append(list);
  }
  return item;
}

function streamPart({ id }, tree, counts) {
  const part = make('div', '', { className: 'tree-of' });
  const list = make('ul', '', { className: 'tree' });
  const drawn = new Set();
  const note = ({ node, children }) => { drawn.add(node); children.forEach(note); };
  if (tree) {
    const root = treeOf(tree);
    note(root);
    list.append(treeItem(root, counts));
  }
  const others = Object.keys(counts).filter((node) => !drawn.has(node));
  list.append(...others.map((node) => treeItem({ node, children: [] }, counts)));
  part.append(make('h3', id), list);
  return part;
}

function say(error) {
  byId('state').textContent = error.message;
}

async function look() {
  try {
    const [nodes, streams, trees] = await Promise.all(['api/nodes/', 'api/streams/', 'api/cascades'].map((path) => call(path)));
    byId('nodes').replaceChildren(...nodes.map(nodeRow));
    const shown = streams.slice(0, STREAMS_MAX);
    const parts = await Promise.all(shown.map(async (stream) => {
      const each = await call(`api/streams/${encodeURIComponent(stream.id)}`);
      return streamPart(stream, trees.find(({ id }) => id === stream.id), countsOf(each));
    }));
    byId('streams').replaceChildren(...parts);
    byId('streams-empty').hidden = streams.length > 0;
    const running = nodes.filter(({ status }) => status === 'running').length;
    const rest = streams.length > shown.length ? `, the first ${shown.length} shown` : '';
    byId('state').textContent = `${running} of ${nodes.length} nodes answer, ${streams.length} streams${rest}`;
  } catch (error) {
    say(error);
  }
}

byId('login').addEventListener('submit', async (event) => {
  event.preventDefault();
  const body = JSON.stringify({ username: byId('username').value, password: byId('password').value });
  try {
    const { access_token: token } = await call('api/login', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
    tokenField.value = token;
    byId('password').value = '';
    sessionStorage.setItem(TOKEN_KEY, token);
    look();
  } catch (error) {
    say(error);
  }
});
tokenField.addEventListener('change', () => {
  sessionStorage.setItem(TOKEN_KEY, tokenField.value.trim());
  look();
});

async function follow() {
  for (;;) {
    if (!document.hidden) await look();
    await new Promise((done) => { setTimeout(done, LOOK_EVERY_MS); });
  }
}
follow();
