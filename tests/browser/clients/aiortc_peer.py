"""Publishes to a WHIP URL or watches a WHEP URL with aiortc.

Usage: aiortc_peer.py publish URL [H264|VP8 [LABEL]]   until SIGINT; prints "connected" once it is
       aiortc_peer.py watch URL SECONDS [LABEL]        then prints what was seen as one line of JSON

With LABEL there is a data channel: a publisher says again what it hears, a viewer says "hello" and tells what it heard.
"""

import array
import asyncio
import hashlib
import json
import signal
import sys

from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

import whip_http
from aiortc_media import MovingBar, Tone


async def negotiate(pc, url):
    # aiortc gathers all candidates before the description is there: nothing is left to trickle.
    await pc.setLocalDescription(await pc.createOffer())
    session, answer = await asyncio.to_thread(whip_http.post, url, pc.localDescription.sdp)
    await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    return session


async def connected(pc):
    while pc.connectionState != "connected":
        if pc.connectionState in ("failed", "closed"):
            raise RuntimeError(f"the connection is {pc.connectionState}")
        await asyncio.sleep(0.05)


async def publish(url, codec, stop, label=None):
    pc = RTCPeerConnection()
    if label:
        channel = pc.createDataChannel(label)
        channel.on("message", channel.send)
    pc.addTrack(Tone())
    pc.addTrack(MovingBar())
    for transceiver in pc.getTransceivers():
        if transceiver.kind == "video":
            known = RTCRtpSender.getCapabilities("video").codecs
            transceiver.setCodecPreferences([each for each in known if each.mimeType == f"video/{codec}"])
        transceiver.direction = "sendonly"
    session = await negotiate(pc, url)
    try:
        await asyncio.wait_for(connected(pc), 10)
        print("connected", flush=True)
        await stop.wait()
    finally:
        status = await asyncio.to_thread(session.end)
        await pc.close()
    if status // 100 != 2:
        raise RuntimeError(f"DELETE answered {status}")


async def watch(url, seconds, label=None):
    pc = RTCPeerConnection()
    seen = {"frames": 0, "pictures": set(), "audio_frames": 0, "loud_frames": 0}
    if label:
        seen["heard"] = []
        channel = pc.createDataChannel(label)
        channel.on("open", lambda: channel.send("hello"))
        channel.on("message", lambda said: seen["heard"].append(said if isinstance(said, str) else list(said)))

    async def consume(track):
        try:
            while True:
                frame = await track.recv()
                if track.kind == "video":
                    seen["frames"] += 1
                    seen["pictures"].add(hashlib.md5(bytes(frame.planes[0])).hexdigest())
                else:
                    seen["audio_frames"] += 1
                    loudest = max(array.array("h", bytes(frame.planes[0])), default=0)
                    seen["loud_frames"] += loudest > 100
        except MediaStreamError:
            pass

    tasks = []
    pc.on("track", lambda track: tasks.append(asyncio.ensure_future(consume(track))))
    pc.addTransceiver("audio", direction="recvonly")
    pc.addTransceiver("video", direction="recvonly")
    session = await negotiate(pc, url)
    try:
        await asyncio.wait_for(connected(pc), 10)
        await asyncio.sleep(seconds)
    finally:
        status = await asyncio.to_thread(session.end)
        await pc.close()
        for task in tasks:
            task.cancel()
    print(json.dumps({**seen, "pictures": len(seen["pictures"]), "delete": status}), flush=True)


async def main():
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    verb, url, *rest = sys.argv[1:]
    if verb == "publish":
        await publish(url, rest[0] if rest else "VP8", stop, *rest[1:])
    else:
        await watch(url, float(rest[0]), *rest[1:])


asyncio.run(main())
