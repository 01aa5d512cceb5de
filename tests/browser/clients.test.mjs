// FFmpeg, aiortc, GStreamer and Firefox against the server, each with Chromium at the other end.

import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

import { assertFlows, probe, publish, scenario, stage, watch } from './browser.mjs';
import { streamInfo } from './server.mjs';
import {
  ffmpegWithWhip, finished, firefox, geckodriver, missing, pause, run, systemPython, until, venvPython,
} from './tools.mjs';

const client = (name) => fileURLToPath(new URL(`./clients/${name}`, import.meta.url));

test('other clients', async (suite) => {
  const shared = await stage(suite);
  if (!shared) return;
  const { server } = shared;

  /** Runs a publisher for as long as `work` takes, and asserts that it ended well. */
  async function whilePublishing(process_, work) {
    try {
      await Promise.race([
        work(),
        process_.ended.then(() => assert.fail(`the publisher has ended: ${process_.output}`)),
      ]);
    } catch (error) {
      error.message += `\n--- publisher\n${process_.output.slice(-4000)}`;
      throw error;
    } finally {
      await process_.stop();
    }
  }

  const connected = (process_) =>
    until('the publisher to connect', () => /^connected$/m.test(process_.output), 20_000);

  async function isGone(name) {
    await until(`${name} to have no publisher`, async () => {
      const stream = await streamInfo(server, name);
      return !stream || stream.publish.sessions.every(({ state }) => state === 'closed');
    }, 5000);
  }

  await scenario(suite, 'FFmpeg publishes H264 and Opus, Chromium watches', {}, async ({ context, open }) => {
    const ffmpeg = await ffmpegWithWhip();
    if (!ffmpeg) return missing(context, 'no FFmpeg with a WHIP muxer: run setup.sh');
    for (const flags of [[], ['-whip_flags', 'dtls_active']]) {
      const name = flags.length ? 'ffmpeg-active' : 'ffmpeg';
      const publisher = run(ffmpeg, [
        '-hide_banner', '-nostdin', '-loglevel', 'info', '-re',
        '-f', 'lavfi', '-i', 'testsrc=size=320x240:rate=20', '-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000',
        '-c:v', 'libx264', '-profile:v', 'baseline', '-pix_fmt', 'yuv420p', '-preset', 'ultrafast', '-tune', 'zerolatency',
        '-bf', '0', '-g', '20', '-b:v', '400k', '-c:a', 'libopus', '-ar', '48000', '-ac', '2',
        ...flags, '-f', 'whip', `${server.base}whip/${name}`,
      ]);
      await whilePublishing(publisher, async () => {
        const viewer = await open(shared);
        await watch(viewer, server, name);
        await assertFlows(viewer, { video: 'H264' });
      });
      await isGone(name);
    }
  });

  for (const codec of ['VP8', 'H264']) {
    await scenario(suite, `aiortc publishes ${codec} and Opus, Chromium watches`, {}, async ({ context, open }) => {
      const python = venvPython();
      if (!python) return missing(context, 'no .venv with aiortc: run setup.sh');
      const name = `aiortc-${codec}`;
      const publisher = run(python, [client('aiortc_peer.py'), 'publish', `${server.base}whip/${name}`, codec]);
      await whilePublishing(publisher, async () => {
        await connected(publisher);
        const viewer = await open(shared);
        await watch(viewer, server, name);
        await assertFlows(viewer, { video: codec });
      });
      assert.equal(publisher.code, 0, publisher.output);
      await isGone(name);
    });

    await scenario(suite, `Chromium publishes ${codec} and Opus, aiortc watches`, {}, async ({ context, open }) => {
      const python = venvPython();
      if (!python) return missing(context, 'no .venv with aiortc: run setup.sh');
      const name = `to-aiortc-${codec}`;
      await publish(await open(shared), server, name, { codec });
      const viewer = await finished(run(python, [client('aiortc_peer.py'), 'watch', `${server.base}whep/${name}`, '5']));
      assert.equal(viewer.code, 0, viewer.output);
      const seen = JSON.parse(viewer.output.trim().split('\n').pop());
      assert.ok(seen.frames >= 30 && seen.pictures >= 15, viewer.output);
      assert.ok(seen.audio_frames >= 100 && seen.loud_frames > 0, viewer.output);
      assert.equal(Math.floor(seen.delete / 100), 2, viewer.output);
    });
  }

  for (const codec of ['VP8', 'H264']) {
    await scenario(suite, `GStreamer publishes ${codec} and Opus, Chromium watches`, {}, async ({ context, open }) => {
      const python = await pythonWithGStreamer();
      if (!python) return missing(context, 'no GStreamer bindings for /usr/bin/python3: run setup.sh');
      const name = `gstreamer-${codec}`;
      const publisher = run(python, [client('gstreamer_peer.py'), 'publish', `${server.base}whip/${name}`, codec]);
      await whilePublishing(publisher, async () => {
        await connected(publisher);
        const viewer = await open(shared);
        await watch(viewer, server, name);
        await assertFlows(viewer, { video: codec });
        // libnice is quiet once connected: it must not be taken for dead while its media flows.
        await pause(8000);
        await assertFlows(viewer, { video: codec, ms: 1500 });
      });
      assert.equal(publisher.code, 0, publisher.output);
      await isGone(name);
    });
  }

  await scenario(suite, 'Chromium publishes VP8 and Opus, GStreamer watches', {}, async ({ context, open }) => {
    const python = await pythonWithGStreamer();
    if (!python) return missing(context, 'no GStreamer bindings for /usr/bin/python3: run setup.sh');
    await publish(await open(shared), server, 'to-gstreamer', { codec: 'VP8' });
    const viewer = await finished(run(python, [client('gstreamer_peer.py'), 'watch', `${server.base}whep/to-gstreamer`, '5']));
    assert.equal(viewer.code, 0, viewer.output);
    const seen = JSON.parse(viewer.output.trim().split('\n').pop());
    assert.ok(seen.video_buffers >= 30 && seen.pictures >= 15, viewer.output);
    assert.ok(seen.audio_buffers >= 100 && seen.loud_buffers > 0, viewer.output);
    assert.equal(Math.floor(seen.delete / 100), 2, viewer.output);
  });

  await scenario(suite, 'Firefox publishes VP8 to Chromium and watches Chromium', {}, async ({ context, open }) => {
    const [path, driverPath] = [firefox(), geckodriver()];
    if (!path || !driverPath) {
      const reason = 'no Firefox or geckodriver: run WHITEWATER_FIREFOX=1 setup.sh';
      // geckodriver takes minutes to build, so this one is wanted only when asked for, in CI as well.
      if (process.env.WHITEWATER_FIREFOX === '1') throw new Error(reason);
      return context.skip(reason);
    }
    const driver = await startFirefox(path, driverPath);
    try {
      await driver.get(`${shared.site}pages/peer.html`);
      await driver.wait(() => driver.executeScript('return window.peerReady === true'), 10_000);
      const fox = {
        evaluate: (work) => driver.executeAsyncScript(
          `const done = arguments[0]; Promise.resolve((${work})()).then((value) => done({ value }), (error) => done({ error: String(error) }));`,
        ).then(({ value, error }) => {
          if (error) throw new Error(error);
          return value;
        }),
      };
      const call = (name, ...given) =>
        fox.evaluate(`() => window.${name}(${given.map((each) => JSON.stringify(each)).join(', ')})`);

      await call('publish', `${server.base}whip/from-firefox`, { codec: 'VP8' });
      const viewer = await open(shared);
      await watch(viewer, server, 'from-firefox');
      // Firefox's fake camera is a flat picture whose colour changes slowly.
      await assertFlows(viewer, { video: 'VP8', ms: 5000 });
      await call('stopSession');
      await isGone('from-firefox');

      await publish(await open(shared), server, 'to-firefox', { codec: 'VP8' });
      await driver.navigate().refresh();
      await driver.wait(() => driver.executeScript('return window.peerReady === true'), 10_000);
      await call('watch', `${server.base}whep/to-firefox`);
      await until('Firefox to decode', async () => (await probe(fox)).framesDecoded > 10, 20_000);
      await assertFlows(fox, { video: 'VP8' });
      await call('stopSession');
    } finally {
      await driver.quit();
    }
  });
});

let gstreamer;

async function pythonWithGStreamer() {
  const python = systemPython();
  if (!python) return null;
  const check =
    'import gi; gi.require_version("Gst", "1.0"); gi.require_version("GstWebRTC", "1.0"); gi.require_version("GstSdp", "1.0")\n' +
    'from gi.repository import Gst, GstSdp, GstWebRTC; Gst.init(None)\n' +
    'for name in ("webrtcbin", "nicesrc", "dtlsenc", "x264enc", "vp8enc", "opusenc"):\n' +
    '    assert Gst.ElementFactory.find(name), name';
  gstreamer ??= finished(run(python, ['-c', check]));
  const { code, output } = await gstreamer;
  if (code !== 0) process.stderr.write(output);
  return code === 0 ? python : null;
}

async function startFirefox(path, driverPath) {
  const { Builder } = await import('selenium-webdriver');
  const { Options, ServiceBuilder } = await import('selenium-webdriver/firefox.js');
  const options = new Options().setBinary(path).addArguments('-headless');
  const preferences = {
    'media.navigator.streams.fake': true,
    'media.navigator.permission.disabled': true,
    'media.autoplay.default': 0,
    'media.volume_scale': '0.01',
    'media.peerconnection.ice.obfuscate_host_addresses': false,
    'app.update.enabled': false,
    'datareporting.policy.dataSubmissionEnabled': false,
  };
  for (const [name, value] of Object.entries(preferences)) options.setPreference(name, value);
  const driver = await new Builder()
    .forBrowser('firefox')
    .setFirefoxOptions(options)
    .setFirefoxService(new ServiceBuilder(driverPath))
    .build();
  await driver.manage().setTimeouts({ script: 30_000 });
  return driver;
}
