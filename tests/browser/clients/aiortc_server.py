"""A WHEP and WHIP server made with aiortc: a full ICE agent, for a server under test that is the client.

Usage: aiortc_server.py    until SIGINT; prints "http://127.0.0.1:PORT" once it listens

POST /whep/NAME  a moving bar and a tone
POST /whip/NAME  takes what comes
GET  /seen       what came and how many sessions there are, as JSON
"""

import array
import asyncio
import hashlib
import http.server
import itertools
import json
import signal
import threading

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from aiortc_media import MovingBar, Tone

seen = {"frames": 0, "pictures": set(), "audio_frames": 0, "loud_frames": 0, "tokens": []}
sessions = {}
numbers = itertools.count(1)


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


async def answer(verb, offer):
    pc = RTCPeerConnection()
    pc.on("track", lambda track: asyncio.ensure_future(consume(track)))
    await pc.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    if verb == "whep":
        for transceiver in pc.getTransceivers():
            transceiver.sender.replaceTrack(Tone() if transceiver.kind == "audio" else MovingBar())
            transceiver.direction = "sendonly"
    # All candidates are gathered before the description is there.
    await pc.setLocalDescription(await pc.createAnswer())
    name = str(next(numbers))
    sessions[name] = pc
    return name, pc.localDescription.sdp


async def end(name):
    pc = sessions.pop(name, None)
    if pc is not None:
        await pc.close()
    return pc is not None


class Handler(http.server.BaseHTTPRequestHandler):
    loop = None

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def reply(self, status, headers=(), body=""):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_POST(self):
        offer = self.rfile.read(int(self.headers["Content-Length"])).decode()
        seen["tokens"].append(self.headers["Authorization"])
        name, sdp = self.run(answer(self.path.split("/")[1], offer))
        self.reply(201, [("Content-Type", "application/sdp"), ("Location", f"/session/{name}")], sdp)

    def do_DELETE(self):
        self.reply(200 if self.run(end(self.path.split("/")[-1])) else 404)

    def do_GET(self):
        shown = {**seen, "pictures": len(seen["pictures"]), "sessions": len(sessions)}
        self.reply(200, [("Content-Type", "application/json")], json.dumps(shown))

    def log_message(self, *_):
        pass


async def main():
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    Handler.loop = asyncio.get_running_loop()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    await stop.wait()
    server.shutdown()
    await asyncio.gather(*(pc.close() for pc in sessions.values()))


asyncio.run(main())
