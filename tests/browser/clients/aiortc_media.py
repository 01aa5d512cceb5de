"""What the programs with aiortc send."""

import array
import asyncio
import fractions
import math

from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from av import AudioFrame, VideoFrame

WIDTH, HEIGHT = 320, 240
SAMPLE_RATE = 48000
SAMPLES = 960


class MovingBar(VideoStreamTrack):
    """A white bar that walks over grey."""

    position = 0

    async def recv(self):
        pts, time_base = await self.next_timestamp()
        frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
        self.position = (self.position + 4) % (WIDTH - 32)
        for index, plane in enumerate(frame.planes):
            row = bytearray([90 if index == 0 else 128]) * plane.line_size
            if index == 0:
                row[self.position : self.position + 32] = b"\xeb" * 32
            plane.update(bytes(row) * plane.height)
        frame.pts, frame.time_base = pts, time_base
        return frame


class Tone(AudioStreamTrack):
    """A 440 Hz sine."""

    at = 0
    start = None

    async def recv(self):
        loop = asyncio.get_running_loop()
        self.start = self.start if self.start is not None else loop.time()
        await asyncio.sleep(max(0, self.start + self.at / SAMPLE_RATE - loop.time()))
        samples = array.array(
            "h",
            (int(9000 * math.sin(2 * math.pi * 440 * (self.at + n) / SAMPLE_RATE)) for n in range(SAMPLES)),
        )
        frame = AudioFrame(format="s16", layout="mono", samples=SAMPLES)
        frame.planes[0].update(samples.tobytes())
        frame.pts, frame.sample_rate = self.at, SAMPLE_RATE
        frame.time_base = fractions.Fraction(1, SAMPLE_RATE)
        self.at += SAMPLES
        return frame
