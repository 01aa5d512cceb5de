//! The pictures of docs/quality.md: what the server believes and sends while paths change.
//!
//! `cargo test --workspace --test sim -- --ignored pictures` writes them anew.

use whitewater_simnet::{Link, PeerConfig, PeerId, Plot, World};

use super::adapting::{cellular_bps, layered};
use super::{SEEDS, ms};

/// What was noted of one viewer, every fifth of a second.
#[derive(Default)]
struct Noted {
    estimate: Vec<(f64, f64)>,
    sent: Vec<(f64, f64)>,
}

#[test]
#[ignore = "writes into docs/quality"]
fn pictures_of_layers_over_paths() {
    let constant = |_| 1_200_000;
    let stepped = |second: u64| match second {
        0..20 => 3_000_000,
        20..40 => 1_200_000,
        40..60 => 550_000,
        _ => 3_000_000,
    };
    let cellular = |second: u64| cellular_bps(SEEDS[0], second / 2);
    draw("constant", "1.2 Mbit/s", 1, constant);
    draw("stepped", "3, 1.2, 0.55 and again 3 Mbit/s", 1, stepped);
    draw("cellular", "another rate every two seconds", 1, cellular);
    draw("shared", "two viewers behind 2.2 Mbit/s", 2, |_| 2_200_000);
}

fn draw(name: &str, what: &str, viewer_count: usize, bps: impl Fn(u64) -> u64) {
    let mut world = World::new(SEEDS[0]);
    world.publish("cam", &layered(), Link::good());
    let link = |bps| Link::good().bottleneck_down(bps, ms(300));
    let watch = |world: &mut World| world.watch("cam", &PeerConfig::default(), link(bps(0)));
    let viewers: Vec<PeerId> = (0..viewer_count).map(|_| watch(&mut world)).collect();
    for &other in viewers.iter().skip(1) {
        world.share_down(viewers[0], other);
    }
    let mut carried = Vec::new();
    let mut noted: Vec<Noted> = viewers.iter().map(|_| Noted::default()).collect();
    let mut before = vec![0; viewer_count];
    for tick in 0..5 * SECONDS {
        let at = tick as f64 / 5.0;
        let rate = bps(tick / 5);
        carried.push((at, rate as f64));
        for (n, &viewer) in viewers.iter().enumerate() {
            world.relink(viewer, link(rate));
            let bytes = world.exchanged(world.public_address(viewer)).bytes_out;
            let sent = (bytes - std::mem::replace(&mut before[n], bytes)) as f64 * 8.0 * 5.0;
            noted[n].sent.push((at, sent.min(SENT_MAX)));
            let estimate = world.estimate(viewer).map_or(0.0, |bps| bps as f64);
            noted[n].estimate.push((at, estimate.min(SENT_MAX)));
        }
        world.run_for(ms(200));
    }
    let mut plot = Plot::new(&format!("Three layers of 1.6, 0.8 and 0.4 Mbit/s: {what}"));
    plot.line("what the link carries", "#888", &carried);
    let colours = [("#c33", "#36c"), ("#e83", "#3a6")];
    for ((n, noted), (believed, sent)) in (1..).zip(&noted).zip(colours) {
        let of = if viewer_count > 1 {
            format!(" {n}")
        } else {
            String::new()
        };
        plot.line(&format!("estimate{of}"), believed, &noted.estimate);
        plot.line(&format!("sent to viewer{of}"), sent, &noted.sent);
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/quality");
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::write(format!("{folder}/{name}.svg"), plot.svg()).expect("it is written");
    world.close_down();
}

const SECONDS: u64 = 90;
/// What does not fit the picture is of no interest: probes of a path with room.
const SENT_MAX: f64 = 3.9e6;
