//! What the benches share: servers as processes, medians, tables, plots.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use whitewater_load::process::Meter;
use whitewater_load::{
    Fleet, FleetOptions, Inspection, JoinError, Member, Pacing, Program, VideoCodec,
};

pub(crate) type Failed = Box<dyn std::error::Error>;

/// The server's binary in a process of its own, with one shard. Dropped, it is killed.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    pub(crate) meter: Meter,
}

impl Server {
    /// Starts it on free ports of loopback.
    pub(crate) fn start(settings: &[&str]) -> Result<Server, Failed> {
        Self::start_program(
            env!("CARGO_BIN_EXE_whitewater").as_ref(),
            SETTINGS,
            settings,
        )
    }

    /// Starts another build of it. What the first versions did not know is not set.
    pub(crate) fn start_reference(program: &OsStr, settings: &[&str]) -> Result<Server, Failed> {
        let known = SETTINGS
            .iter()
            .filter(|one| !one.contains("half_open") && !one.starts_with("http"));
        let known: Vec<&str> = known.copied().collect();
        Self::start_program(program, &known, settings)
    }

    /// `settings` take the place of those among `usual`.
    fn start_program(program: &OsStr, usual: &[&str], settings: &[&str]) -> Result<Server, Failed> {
        let key = |setting: &str| setting.split('=').next().map(str::to_owned);
        let replaced = |one: &&&str| settings.iter().any(|other| key(one) == key(other));
        let settings = usual.iter().filter(|one| !replaced(one)).chain(settings);
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0"]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let mut child = command
            // No configuration of the checkout is picked up.
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("no output")?;
        let mut url = None;
        for line in BufReader::new(output).lines() {
            let line = line?;
            if let Some(page) = line.trim().strip_prefix("Page") {
                url = Some(page.trim().to_owned());
            }
            if line.contains("back end ") {
                break;
            }
        }
        let url = url.ok_or("the server does not start")?;
        let meter = Meter::new(child.id()).ok_or("the server is gone")?;
        Ok(Server { child, url, meter })
    }

    /// Publishers and viewers of it.
    pub(crate) async fn fleet(&self) -> Result<Fleet, Failed> {
        self.fleet_with(true).await
    }

    /// Publishers and viewers whose sockets take whole runs (`gro`) or packet by packet.
    pub(crate) async fn fleet_with(&self, gro: bool) -> Result<Fleet, Failed> {
        let base = self.url.trim_end_matches('/');
        let options = FleetOptions {
            whip: format!("{base}/whip/{{stream}}"),
            whep: format!("{base}/whep/{{stream}}"),
            token: None,
            ca_file: None,
            viewer_threads: 1,
            gro,
            bind: None,
            join_max: Duration::from_secs(60),
        };
        Ok(Fleet::start(options).await?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// 2.5 Mbit/s at 30 frames a second: ten packets of 1,041 bytes each.
pub(crate) fn program(pacing: Pacing) -> Program {
    Program {
        video: Some(VideoCodec::Vp8),
        audio: false,
        bitrate_bps: 2_500_000,
        fps: 30,
        pacing,
        payload_size: 1150,
    }
}

/// Viewers of one stream who come all at once.
pub(crate) async fn crowd(
    fleet: &Arc<Fleet>,
    stream: &str,
    audio: bool,
    inspections: impl Iterator<Item = Inspection>,
) -> Result<Vec<Member>, Failed> {
    let mut joins: JoinSet<Result<Member, JoinError>> = JoinSet::new();
    for inspection in inspections {
        let (fleet, stream) = (fleet.clone(), stream.to_owned());
        let codec = Some(VideoCodec::Vp8);
        joins.spawn(async move { fleet.watch(&stream, codec, audio, inspection).await });
    }
    let mut members = Vec::new();
    while let Some(joined) = joins.join_next().await {
        members.push(joined??);
    }
    Ok(members)
}

/// The middle value, the lowest and the highest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Median {
    pub(crate) middle: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// `None` of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<Median> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    let (low, high) = (*values.first()?, *values.last()?);
    let (left, right) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    Some(Median {
        middle: f64::midpoint(left, right),
        low,
        high,
    })
}

/// This many who read headers only.
pub(crate) fn counting(count: u32) -> impl Iterator<Item = Inspection> {
    (0..count).map(|_| Inspection::Count)
}

/// One who looks at every packet of the first publisher's.
pub(crate) const VERIFYING: Inspection = Inspection::Verify {
    source: Some(0),
    codec: VideoCodec::Vp8,
};

/// A number from the environment.
pub(crate) fn number(name: &str, otherwise: u32) -> Result<u32, Failed> {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .map_err(|_| format!("{name}={text:?} is not a number").into()),
        Err(_) => Ok(otherwise),
    }
}

/// One bar of a plot.
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: f64,
}

/// Writes horizontal bars to `docs/performance-NAME.svg` and returns the line that shows them;
/// nothing is written unless the run is for the documentation (`BENCH_DOCS` set).
pub(crate) fn plot(name: &str, title: &str, unit: &str, bars: &[Bar]) -> Result<String, Failed> {
    if std::env::var_os("BENCH_DOCS").is_none() {
        return Ok(String::new());
    }
    let file = format!("performance-{name}.svg");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    std::fs::write(folder.join(&file), svg(title, unit, bars))?;
    Ok(format!("\n![{title}]({file})\n"))
}

fn svg(title: &str, unit: &str, bars: &[Bar]) -> String {
    let highest = bars.iter().map(|bar| bar.value).fold(1e-9, f64::max);
    let height = 44 + bars.len() * BAR_STEP;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"720\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"720\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"22\" font-size=\"15\" fill=\"#222222\">{}</text>\n",
        escaped(title)
    );
    for (index, bar) in bars.iter().enumerate() {
        let y = 36 + index * BAR_STEP;
        let width = bar.value / highest * 370.0;
        text += &format!(
            "<text x=\"222\" y=\"{}\" text-anchor=\"end\" fill=\"#222222\">{}</text>\n\
             <rect x=\"230\" y=\"{}\" width=\"{width:.1}\" height=\"16\" fill=\"#3b7dd8\"/>\n\
             <text x=\"{:.1}\" y=\"{}\" fill=\"#222222\">{:.2} {}</text>\n",
            y + 13,
            escaped(&bar.label),
            y,
            236.0 + width,
            y + 13,
            bar.value,
            escaped(unit),
        );
    }
    text + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// One shard, and sessions that come from one address and many at once.
const SETTINGS: &[&str] = &[
    "media.shards=1",
    "limits.source_requests_per_second=100000",
    "limits.token_requests_per_second=100000",
    "limits.source_half_open_max=0",
    "http.source_connections_max=0",
];
const BAR_STEP: usize = 24;
