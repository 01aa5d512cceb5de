"""Publishes to a WHIP URL or watches a WHEP URL with GStreamer's webrtcbin (libnice).

Usage: gstreamer_peer.py publish URL [H264|VP8]    until SIGINT; prints "connected" once it is
       gstreamer_peer.py watch URL SECONDS         then prints what was seen as one line of JSON
"""

import json
import re
import signal
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

import whip_http  # noqa: E402

ENCODERS = {
    "H264": "x264enc tune=zerolatency speed-preset=ultrafast bitrate=500 key-int-max=40 "
    "! video/x-h264,profile=constrained-baseline ! rtph264pay config-interval=-1 aggregate-mode=zero-latency "
    "! application/x-rtp,media=video,encoding-name=H264,payload=96",
    "VP8": "vp8enc deadline=1 cpu-used=8 target-bitrate=500000 keyframe-max-dist=40 ! rtpvp8pay "
    "! application/x-rtp,media=video,encoding-name=VP8,payload=96",
}
PUBLISH = """
  webrtcbin name=peer bundle-policy=max-bundle
  audiotestsrc is-live=true ! audioconvert ! opusenc ! rtpopuspay
    ! application/x-rtp,media=audio,encoding-name=OPUS,payload=97 ! peer.
  videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=20/1 ! videoconvert
    ! {encoder} ! peer.
"""


class Peer:
    def __init__(self, url, pipeline):
        self.url = url
        self.loop = GLib.MainLoop()
        self.pipeline = pipeline
        self.peer = pipeline.get_by_name("peer")
        self.session = None
        self.problem = None
        self.candidates = []
        self.gathered = False
        # The reply of a promise must stay referenced while webrtcbin 1.22 works with it.
        self.promises = []
        self.when_connected = lambda: None
        self.peer.connect("on-negotiation-needed", self.on_negotiation_needed)
        self.peer.connect("on-ice-candidate", self.on_candidate)
        self.peer.connect("notify::ice-gathering-state", self.on_gathering)
        self.peer.connect("notify::connection-state", self.on_connection)
        bus = pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.on_error)

    def fail(self, problem):
        self.problem = self.problem or problem
        GLib.idle_add(self.loop.quit)

    def on_error(self, _bus, message):
        self.fail(str(message.parse_error()))

    def on_negotiation_needed(self, peer):
        if self.promises:
            return
        promise = Gst.Promise.new_with_change_func(self.on_offer)
        self.promises.append(promise)
        peer.emit("create-offer", None, promise)

    def on_offer(self, promise):
        reply = promise.get_reply()
        self.promises.append(reply)
        offer = reply.get_value("offer")
        done = Gst.Promise.new()
        self.promises.append(done)
        self.peer.emit("set-local-description", offer, done)
        done.interrupt()
        self.offer = offer.sdp.as_text()
        threading.Thread(target=self.post, daemon=True).start()

    def post(self):
        try:
            self.session, text = whip_http.post(self.url, self.offer)
        except Exception as problem:  # the main loop reports it
            self.fail(str(problem))
            return
        GLib.idle_add(self.on_answer, text)

    def on_answer(self, text):
        _, sdp = GstSdp.SDPMessage.new_from_text(text)
        answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
        done = Gst.Promise.new()
        self.promises += [sdp, answer, done]
        self.peer.emit("set-remote-description", answer, done)
        done.interrupt()
        self.trickle()

    def on_candidate(self, _peer, index, candidate):
        if index == 0 and candidate:
            self.candidates.append(candidate)

    def on_gathering(self, peer, _property):
        if peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            self.gathered = True
            GLib.idle_add(self.trickle)

    def trickle(self):
        """One PATCH with all candidates, once there are a session and all candidates."""
        if not self.session or not self.gathered or self.candidates is None:
            return
        candidates, self.candidates = self.candidates, None
        line = re.search(r"^m=(\S+) \d+ (.*?)\r?$", self.offer, re.M)
        find = lambda key: re.search(rf"^a={key}:(\S+)", self.offer, re.M).group(1)  # noqa: E731
        lines = [
            f"m={line.group(1)} 9 {line.group(2)}",
            f"a=mid:{find('mid')}",
            f"a=ice-ufrag:{find('ice-ufrag')}",
            f"a=ice-pwd:{find('ice-pwd')}",
            *[f"a={each}" for each in candidates],
            "a=end-of-candidates",
        ]

        def send():
            status = self.session.trickle("\r\n".join(lines) + "\r\n")
            print(f"trickle {status}", file=sys.stderr)
            if status != 204:
                self.fail(f"PATCH answered {status}")

        threading.Thread(target=send, daemon=True).start()

    def on_connection(self, peer, _property):
        state = peer.get_property("connection-state")
        print(state.value_nick, file=sys.stderr)
        if state == GstWebRTC.WebRTCPeerConnectionState.CONNECTED:
            GLib.idle_add(self.when_connected)
        elif state == GstWebRTC.WebRTCPeerConnectionState.FAILED:
            self.fail("the connection failed")

    def run(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            GLib.unix_signal_add(GLib.PRIORITY_HIGH, number, self.loop.quit)
        self.pipeline.set_state(Gst.State.PLAYING)
        self.loop.run()
        status = self.session.end() if self.session else None
        self.pipeline.set_state(Gst.State.NULL)
        if self.problem:
            sys.exit(self.problem)
        return status


def publish(url, codec):
    peer = Peer(url, Gst.parse_launch(PUBLISH.format(encoder=ENCODERS[codec])))
    peer.when_connected = lambda: print("connected", flush=True)
    for index in (0, 1):
        transceiver = peer.peer.emit("get-transceiver", index)
        transceiver.set_property("direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)
    status = peer.run()
    if status not in (200, 204):
        sys.exit(f"DELETE answered {status}")


def watch(url, seconds):
    pipeline = Gst.Pipeline.new()
    element = Gst.ElementFactory.make("webrtcbin", "peer")
    element.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
    pipeline.add(element)
    seen = {"video_buffers": 0, "audio_buffers": 0, "pictures": set(), "loud_buffers": 0}
    peer = Peer(url, pipeline)

    def on_raw(kind, info):
        data = info.get_buffer()
        seen[f"{kind}_buffers"] += 1
        part = data.extract_dup(0, min(data.get_size(), 320 * 240))
        if kind == "video":
            seen["pictures"].add(hash(part))
        else:
            seen["loud_buffers"] += any(part)
        return Gst.PadProbeReturn.OK

    def on_decoded(_decoder, pad):
        kind = "video" if pad.get_current_caps().to_string().startswith("video") else "audio"
        sink = Gst.ElementFactory.make("fakesink")
        sink.set_property("sync", False)
        pipeline.add(sink)
        sink.sync_state_with_parent()
        pad.add_probe(Gst.PadProbeType.BUFFER, lambda _pad, info: on_raw(kind, info))
        pad.link(sink.get_static_pad("sink"))

    def on_pad(_peer, pad):
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        decoder = Gst.ElementFactory.make("decodebin")
        decoder.connect("pad-added", on_decoded)
        pipeline.add(decoder)
        decoder.sync_state_with_parent()
        pad.link(decoder.get_static_pad("sink"))

    peer.peer.connect("pad-added", on_pad)
    receive = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
    for caps in (
        "application/x-rtp,media=audio,encoding-name=OPUS,clock-rate=48000,payload=97,encoding-params=(string)2",
        "application/x-rtp,media=video,encoding-name=VP8,clock-rate=90000,payload=96,"
        "rtcp-fb-nack=(boolean)true,rtcp-fb-nack-pli=(boolean)true",
    ):
        peer.peer.emit("add-transceiver", receive, Gst.Caps.from_string(caps))
    peer.when_connected = lambda: GLib.timeout_add(int(seconds * 1000), peer.loop.quit) and False
    status = peer.run()
    print(json.dumps({**seen, "pictures": len(seen["pictures"]), "delete": status}), flush=True)


Gst.init(None)
verb, url, *rest = sys.argv[1:]
if verb == "publish":
    publish(url, rest[0] if rest else "VP8")
else:
    watch(url, float(rest[0]))
