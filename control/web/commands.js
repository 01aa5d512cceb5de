// Links and command lines for one stream, ready to be copied into other tools.

/** A stream name as one path segment. Also quotes what `encodeURIComponent` leaves but a shell would act on. */
export function segment(name) {
  return encodeURIComponent(name).replace(/[!'()*]/g, (each) => `%${each.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** The URLs of a stream; `base` is the page's own address. */
export function links(base, name) {
  const watch = new URL('.', base);
  watch.search = `watch=${segment(name)}`;
  return {
    whip: new URL(`whip/${segment(name)}`, base).href,
    whep: new URL(`whep/${segment(name)}`, base).href,
    watch: watch.href,
  };
}

/**
 * How to publish with each tool: `{id, title, note, lines: [{label, text}]}`. With `needsToken` the place for the
 * token is shown as `$TOKEN`; the token itself is never printed.
 */
export function tools(base, name, { needsToken = false } = {}) {
  const { whip } = links(base, name);
  const ffmpegToken = needsToken ? ' -authorization "$TOKEN"' : '';
  const gstToken = needsToken ? ' signaller::auth-token="$TOKEN"' : '';
  const sinkToken = needsToken ? ' auth-token="$TOKEN"' : '';
  return [
    {
      id: 'obs',
      title: 'OBS',
      note: 'Settings → Stream → Service: WHIP. Use no B-frames and a key frame every 2 s.',
      lines: [
        { label: 'Server', text: whip },
        ...(needsToken ? [{ label: 'Bearer token', text: '$TOKEN' }] : []),
      ],
    },
    {
      id: 'ffmpeg',
      title: 'FFmpeg',
      note: 'Version 8 or later.',
      lines: [
        {
          label: 'Command',
          text:
            'ffmpeg -re -i in.mp4 -c:v libx264 -profile:v baseline -pix_fmt yuv420p -preset veryfast ' +
            `-tune zerolatency -bf 0 -g 60 -b:v 2500k -c:a libopus -ar 48000 -ac 2 -f whip${ffmpegToken} "${whip}"`,
        },
      ],
    },
    {
      id: 'gstreamer',
      title: 'GStreamer',
      note: 'Both sinks come with gst-plugins-rs: whipclientsink encodes by itself, whipsink takes RTP.',
      lines: [
        {
          label: 'whipclientsink',
          text:
            `gst-launch-1.0 whipclientsink name=out signaller::whip-endpoint="${whip}"${gstToken} ` +
            'videotestsrc is-live=true ! out. audiotestsrc is-live=true ! out.',
        },
        {
          label: 'whipsink',
          text:
            `gst-launch-1.0 whipsink name=out whip-endpoint="${whip}"${sinkToken} ` +
            'videotestsrc is-live=true ! x264enc tune=zerolatency key-int-max=60 ! ' +
            'video/x-h264,profile=constrained-baseline ! rtph264pay config-interval=-1 ! ' +
            'application/x-rtp,media=video,encoding-name=H264,payload=96 ! out. ' +
            'audiotestsrc is-live=true ! opusenc ! rtpopuspay ! ' +
            'application/x-rtp,media=audio,encoding-name=OPUS,payload=97 ! out.',
        },
      ],
    },
  ];
}
