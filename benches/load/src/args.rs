//! The command line of the load generator, and what it comes to.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::fleet::FleetOptions;
use crate::media::{PAYLOAD_SIZE_MAX, PAYLOAD_SIZE_MIN, VideoCodec};
use crate::session::{Pacing, Program};

/// Loads a WHIP/WHEP server with publishers and viewers, and measures what they get.
#[derive(clap::Args, Clone, Debug)]
pub struct LoadArgs {
    /// The server, as http://127.0.0.1:7777; streams are at URL/whip/STREAM and URL/whep/STREAM
    #[arg(value_name = "URL")]
    url: String,
    /// Another WHIP address; {stream} stands for the stream's name
    #[arg(long, value_name = "URL")]
    whip_url: Option<String>,
    /// Another WHEP address; {stream} stands for the stream's name
    #[arg(long, value_name = "URL")]
    whep_url: Option<String>,
    /// Streams to publish; 0: watch what others publish
    #[arg(long, short, value_name = "N", default_value_t = 1)]
    publishers: u32,
    /// Viewers, spread over the streams in turn
    #[arg(long, short, value_name = "N", default_value_t = 10)]
    viewers: u32,
    /// The stream's name; with several publishers STREAM-1, STREAM-2, ...
    #[arg(long, value_name = "NAME", default_value = "load")]
    stream: String,
    /// Sessions started per second, as 50/s
    #[arg(long, value_name = "RATE", default_value = "50/s", value_parser = rate)]
    ramp: f64,
    /// How long to go on once all have joined, as 30s, 5m, 1500ms
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    duration: Duration,
    /// Video of each publisher in bits per second, as 2500k, 4M; 0: no video
    #[arg(long, value_name = "RATE", default_value = "2500k", value_parser = bitrate)]
    bitrate: u64,
    /// Video frames per second of each publisher
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
    fps: u32,
    /// Video codec
    #[arg(long, value_enum, default_value = "vp8")]
    codec: VideoCodec,
    /// Send and watch audio too (50 packets a second)
    #[arg(long)]
    audio: bool,
    /// The packets of a frame leave at once (the default)
    #[arg(long, conflicts_with = "smooth")]
    burst: bool,
    /// The packets of a frame are spread over its time, as browsers do
    #[arg(long)]
    smooth: bool,
    /// Largest video payload in bytes
    #[arg(long, value_name = "BYTES", default_value_t = PAYLOAD_SIZE_MAX as u32,
          value_parser = clap::value_parser!(u32).range(PAYLOAD_SIZE_MIN as i64..=PAYLOAD_SIZE_MAX as i64))]
    payload_size: u32,
    /// Share of viewers that decrypt every packet and compare it with what was sent, as 5%
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = Share::parse)]
    verify: Share,
    /// Bearer token for the server; others on this machine can read flags, but not variables
    #[arg(long, value_name = "TOKEN", env = "LOAD_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Certificates of the authorities that an https server is to be signed by, in PEM; this machine's otherwise
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Process id of the server, if it is on this machine: its CPU time and memory are reported
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Write the report as JSON; - is standard output, without the table
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Threads that receive for viewers
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Do not let the kernel hand over runs of packets in one piece (UDP_GRO)
    #[arg(long)]
    no_gro: bool,
    /// Address to send and receive from
    #[arg(long, value_name = "IP")]
    bind: Option<IpAddr>,
    /// The most time from an offer to the first packet
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration)]
    join_timeout: Duration,
}

/// A share of something, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(f64);

impl Share {
    /// None of it.
    pub const NONE: Share = Share(0.0);
    /// All of it.
    pub const ALL: Share = Share(1.0);

    /// Reads `5%`.
    ///
    /// # Errors
    /// What it should look like.
    pub fn parse(text: &str) -> Result<Share, String> {
        let number = text
            .strip_suffix('%')
            .and_then(|number| number.parse().ok());
        match number {
            Some(percent @ 0.0..=100.0) => Ok(Share(percent / 100.0)),
            _ => Err("a share from 0% to 100% is wanted".to_owned()),
        }
    }

    /// Whether the one of this index belongs to the share: they are spread evenly, the first one
    /// always among them.
    #[must_use]
    pub fn has(self, index: u32) -> bool {
        let before = |index: u32| (f64::from(index) * self.0).ceil() as u64;
        before(index + 1) > before(index)
    }
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the server is.
    pub fleet: FleetOptions,
    /// The names of the streams.
    pub streams: Vec<String>,
    /// Whether they are published here.
    pub publishes: bool,
    /// What each publisher sends.
    pub program: Program,
    /// How many watch.
    pub viewers: u32,
    /// Sessions started per second.
    pub ramp_per_s: f64,
    /// How long to go on once all have joined.
    pub duration: Duration,
    /// Which viewers verify.
    pub verify: Share,
    /// The server's process.
    pub pid: Option<u32>,
    /// Where the JSON goes.
    pub json: Option<PathBuf>,
}

/// Why the arguments make no run.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanError {
    /// Neither video nor audio.
    Silent,
    /// Neither publishers nor viewers.
    Nobody,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "--bitrate 0 without --audio leaves nothing to send",
            Self::Nobody => "no publishers and no viewers: there is nothing to do",
        })
    }
}

impl std::error::Error for PlanError {}

impl LoadArgs {
    /// What the arguments come to.
    ///
    /// # Errors
    /// When they make no run.
    pub fn plan(self) -> Result<Plan, PlanError> {
        if self.bitrate == 0 && !self.audio {
            return Err(PlanError::Silent);
        }
        if self.publishers == 0 && self.viewers == 0 {
            return Err(PlanError::Nobody);
        }
        let base = self.url.trim_end_matches('/').to_owned();
        let streams = match self.publishers {
            0 | 1 => vec![self.stream],
            count => (1..=count)
                .map(|number| format!("{}-{number}", self.stream))
                .collect(),
        };
        Ok(Plan {
            fleet: FleetOptions {
                whip: self
                    .whip_url
                    .unwrap_or_else(|| format!("{base}/whip/{{stream}}")),
                whep: self
                    .whep_url
                    .unwrap_or_else(|| format!("{base}/whep/{{stream}}")),
                token: self.token,
                ca_file: self.ca,
                viewer_threads: self.threads.into(),
                gro: !self.no_gro,
                bind: self.bind,
                join_max: self.join_timeout,
            },
            streams,
            publishes: self.publishers > 0,
            program: Program {
                video: (self.bitrate > 0).then_some(self.codec),
                audio: self.audio,
                bitrate_bps: self.bitrate,
                fps: self.fps,
                pacing: if self.smooth {
                    Pacing::Smooth
                } else {
                    Pacing::Burst
                },
                payload_size: self.payload_size as usize,
            },
            viewers: self.viewers,
            ramp_per_s: self.ramp,
            duration: self.duration,
            verify: self.verify,
            pid: self.pid,
            json: self.json,
        })
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text).parse();
    match number {
        Ok(rate) if (0.001..=1e6).contains(&rate) => Ok(rate),
        _ => Err("a rate such as 50/s is wanted".to_owned()),
    }
}

fn bitrate(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1e3),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    match digits.parse::<f64>() {
        Ok(number) if (0.0..=1e9).contains(&(number * factor)) => Ok((number * factor) as u64),
        _ => Err("bits per second are wanted, as 2500k or 4M, at most 1000M".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let (digits, seconds) = match text {
        _ if text.ends_with("ms") => (&text[..text.len() - 2], 1e-3),
        _ if text.ends_with('s') => (&text[..text.len() - 1], 1.0),
        _ if text.ends_with('m') => (&text[..text.len() - 1], 60.0),
        _ if text.ends_with('h') => (&text[..text.len() - 1], 3600.0),
        _ => (text, 1.0),
    };
    match digits.parse::<f64>() {
        Ok(number) if (0.0..=1e7).contains(&(number * seconds)) => {
            Ok(Duration::from_secs_f64(number * seconds))
        }
        _ => Err("a time such as 30s, 5m or 1500ms is wanted".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn plan(arguments: &[&str]) -> Result<Plan, PlanError> {
        let all = [&["load", "http://host:1/"], arguments].concat();
        Cli::try_parse_from(all).unwrap().load.plan()
    }

    #[test]
    fn the_defaults_are_one_stream_and_ten_viewers() {
        let plan = plan(&[]).unwrap();
        assert_eq!(plan.streams, ["load"]);
        assert_eq!((plan.viewers, plan.publishes), (10, true));
        assert_eq!(plan.fleet.whip, "http://host:1/whip/{stream}");
        assert_eq!(plan.program.frame(), (10, 1041));
        assert_eq!(plan.program.pacing, Pacing::Burst);
    }

    #[test]
    fn units_are_understood() {
        let plan = plan(&[
            "--publishers",
            "2",
            "--ramp",
            "2.5/s",
            "--duration",
            "2m",
            "--bitrate",
            "1.5M",
            "--verify",
            "100%",
            "--smooth",
            "--whep-url",
            "http://b/{stream}/watch",
        ])
        .unwrap();
        assert_eq!(plan.streams, ["load-1", "load-2"]);
        assert_eq!((plan.ramp_per_s, plan.duration.as_secs()), (2.5, 120));
        assert_eq!(plan.program.bitrate_bps, 1_500_000);
        assert_eq!(plan.program.pacing, Pacing::Smooth);
        assert_eq!(plan.fleet.whep, "http://b/{stream}/watch");
        assert!((0..9).all(|index| plan.verify.has(index)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            ["--ramp", "0/s"],
            ["--verify", "101%"],
            ["--verify", "5"],
            ["--bitrate", "x"],
            ["--duration", "-1s"],
            ["--fps", "0"],
            ["--payload-size", "5000"],
            ["--threads", "0"],
            ["--bitrate", "é"],
        ] {
            let all = [&["load", "http://h"][..], &wrong].concat();
            assert!(Cli::try_parse_from(all).is_err(), "{wrong:?}");
        }
        let refused = |arguments: &[&str]| plan(arguments).map(|_| ()).unwrap_err();
        assert_eq!(refused(&["--bitrate", "0"]), PlanError::Silent);
        assert_eq!(
            refused(&["--publishers", "0", "--viewers", "0"]),
            PlanError::Nobody
        );
        assert!(plan(&["--bitrate", "0", "--audio"]).is_ok());
    }

    #[test]
    fn shares_are_spread_evenly() {
        let share = Share::parse("25%").unwrap();
        let chosen: Vec<u32> = (0..12).filter(|index| share.has(*index)).collect();
        assert_eq!(chosen, [0, 4, 8]);
        assert!(!Share::NONE.has(0) && Share::ALL.has(7));
    }
}
