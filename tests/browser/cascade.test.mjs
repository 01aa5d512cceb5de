// The server as a client: it takes streams from a server made with aiortc, a full ICE agent, and brings them there.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { startServer } from './server.mjs';
import { finished, missing, run, until, venvPython } from './tools.mjs';

const client = (name) => fileURLToPath(new URL(`./clients/${name}`, import.meta.url));

test('a stream is taken from an aiortc server and brought back to it', async (context) => {
  const python = venvPython();
  if (!python) return missing(context, 'no .venv with aiortc: run setup.sh');
  // Its candidates are this machine's own addresses, whichever these are.
  const server = await startServer(context, { args: ['--set', 'cascade.allow=0.0.0.0/0'] });
  if (!server) return;
  const far = run(python, [client('aiortc_server.py')]);
  context.after(() => far.stop());
  const url = await until('the aiortc server listens', () => far.output.match(/^http:\S+/m)?.[0]);
  const cascade = async (wish) => {
    const response = await fetch(`${server.base}api/cascade/cam`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(wish),
    });
    assert.equal(response.status, 200, await response.text());
  };
  const stream = async () => (await fetch(`${server.base}api/streams/cam`)).json();
  const seen = async () => (await fetch(`${url}/seen`)).json();

  await cascade({ sourceUrl: `${url}/whep/cam`, token: 'one' });
  await until('it is connected', async () => (await stream()).publish.sessions[0]?.state === 'connected');
  const viewer = await finished(run(python, [client('aiortc_peer.py'), 'watch', `${server.base}whep/cam`, '5']));
  assert.equal(viewer.code, 0, viewer.output);
  const watched = JSON.parse(viewer.output.trim().split('\n').pop());
  assert.ok(watched.frames >= 30 && watched.pictures >= 15, viewer.output);
  assert.ok(watched.audio_frames >= 100 && watched.loud_frames > 0, viewer.output);

  await cascade({ targetUrl: `${url}/whip/back`, token: 'Basic dHdv' });
  await until('it sees its own pictures again', async () => {
    const { frames, pictures, loud_frames: loud } = await seen();
    return frames >= 30 && pictures >= 15 && loud > 50;
  });
  assert.deepEqual((await seen()).tokens, ['Bearer one', 'Basic dHdv']);
  const [{ cascade: pushed }] = (await stream()).subscribe.sessions;
  assert.deepEqual(pushed, { targetUrl: `${url}/whip/back`, sessionUrl: `${url}/session/2` });

  assert.equal((await fetch(`${server.base}api/streams/cam`, { method: 'DELETE' })).status, 204);
  await until('both sessions there are ended', async () => (await seen()).sessions === 0);
});
