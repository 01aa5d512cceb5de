//! DTLS handshakes of the library as this crate sets it up, with peers that are not in such a
//! hurry, over ways that lose, delay, repeat and reorder and on machines that have no time: once
//! both are good, handshakes end. `HANDSHAKE_SEEDS` says how many are tried on each way.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use whitewater_engine::session::keys;
use whitewater_simnet::str0m::crypto::dtls::{DtlsCert, DtlsInstance, DtlsOutput, DtlsVersion};
use whitewater_simnet::str0m::crypto::from_feature_flags;

/// What both directions do to datagrams, and both machines to who runs on them.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    loss: f64,
    twice: f64,
    delay_ms: u64,
    jitter_ms: u64,
    /// The longest time a machine does not look at what has come.
    sleep_ms: u64,
}

/// One end of a handshake.
struct Side {
    dtls: Box<dyn DtlsInstance>,
    is_client: bool,
    due: Instant,
    awake_at: Instant,
    waiting: Vec<Vec<u8>>,
    connected: bool,
    keyed: bool,
}

impl Side {
    fn new(certificate: &DtlsCert, is_client: bool, now: Instant) -> Self {
        let provider = match is_client {
            true => from_feature_flags().dtls_provider,
            false => keys::provider().dtls_provider,
        };
        let dtls = provider.new_dtls(certificate, now, DtlsVersion::Dtls12, None);
        let mut dtls = dtls.expect("an instance");
        dtls.set_active(is_client);
        Side {
            dtls,
            is_client,
            due: now,
            awake_at: now,
            waiting: Vec::new(),
            connected: false,
            keyed: false,
        }
    }

    /// Takes what has come and does what is due; what it sends.
    fn run(&mut self, now: Instant) -> Result<Vec<Vec<u8>>, String> {
        let mut sent = Vec::new();
        for bytes in std::mem::take(&mut self.waiting) {
            // The engine tells the time with each datagram, others only when they are asked.
            if !self.is_client {
                self.dtls.handle_timeout(now).map_err(|e| e.to_string())?;
            }
            self.dtls.handle_packet(&bytes).map_err(|e| e.to_string())?;
            self.say(&mut sent);
        }
        if self.due <= now {
            self.dtls.handle_timeout(now).map_err(|e| e.to_string())?;
            self.say(&mut sent);
        }
        Ok(sent)
    }

    fn say(&mut self, sent: &mut Vec<Vec<u8>>) {
        let mut buffer = [0; 2048];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                DtlsOutput::Packet(bytes) => sent.push(bytes.to_vec()),
                DtlsOutput::Timeout(at) => {
                    self.due = at;
                    return;
                }
                DtlsOutput::Connected => self.connected = true,
                DtlsOutput::KeyingMaterial(..) => self.keyed = true,
                _ => {}
            }
        }
    }
}

/// How long it took.
fn shake(way: Way, seed: u64, certificates: &[DtlsCert; 2]) -> Result<Duration, String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let start = Instant::now();
    let mut sides = [true, false].map(|is_client| {
        let certificate = &certificates[usize::from(is_client)];
        Side::new(certificate, is_client, start)
    });
    let mut air: BTreeMap<(Instant, u64), (usize, Vec<u8>)> = BTreeMap::new();
    let mut number = 0;
    for elapsed in (0..END.as_millis() as u64).map(Duration::from_millis) {
        let now = start + elapsed;
        if sides.iter().all(|side| side.keyed && side.connected) {
            return Ok(elapsed);
        }
        let way = if elapsed < BAD { way } else { GOOD };
        while let Some(entry) = air.first_entry().filter(|entry| entry.key().0 <= now) {
            let (to, bytes) = entry.remove();
            sides[to].waiting.push(bytes);
        }
        for from in [0, 1] {
            let side = &mut sides[from];
            if side.awake_at > now || (side.waiting.is_empty() && side.due > now) {
                continue;
            }
            let sent = side.run(now)?;
            side.awake_at = now + Duration::from_millis(rng.random_range(0..=way.sleep_ms));
            for bytes in sent {
                let copies = match rng.random_bool(way.loss) {
                    true => 0,
                    false => 1 + u64::from(rng.random_bool(way.twice)),
                };
                for _ in 0..copies {
                    let delay = way.delay_ms + rng.random_range(0..=way.jitter_ms);
                    number += 1;
                    let at = (now + Duration::from_millis(delay), number);
                    air.insert(at, (1 - from, bytes.clone()));
                }
            }
        }
    }
    let states = sides.map(|side| (side.connected, side.keyed));
    Err(format!("client and server (connected, keyed): {states:?}"))
}

#[test]
fn handshakes_end_once_the_way_is_good() {
    let provider = keys::provider().dtls_provider;
    let certificate = || provider.generate_certificate().expect("a certificate");
    let certificates = [certificate(), certificate()];
    let seeds = std::env::var("HANDSHAKE_SEEDS").map_or(60, |text| text.parse().expect("a number"));
    for way in WAYS {
        let mut times = Vec::new();
        for seed in 0..seeds {
            match shake(*way, seed, &certificates) {
                Ok(time) => times.push(time),
                Err(why) => panic!("{way:?}, seed {seed}: {why}"),
            }
        }
        times.sort_unstable();
        println!(
            "{way:?}: median {:?}, longest {:?}",
            times[times.len() / 2],
            times.last()
        );
    }
}

const GOOD: Way = Way {
    loss: 0.0,
    twice: 0.0,
    delay_ms: 5,
    jitter_ms: 0,
    sleep_ms: 0,
};
const WAYS: &[Way] = &[
    Way {
        sleep_ms: 120,
        ..GOOD
    },
    Way {
        sleep_ms: 600,
        ..GOOD
    },
    Way {
        twice: 0.1,
        delay_ms: 150,
        jitter_ms: 400,
        ..GOOD
    },
    Way {
        loss: 0.2,
        delay_ms: 20,
        ..GOOD
    },
    Way {
        loss: 0.4,
        twice: 0.1,
        delay_ms: 50,
        jitter_ms: 100,
        sleep_ms: 200,
    },
];
/// How long ways are bad.
const BAD: Duration = Duration::from_secs(4);
const END: Duration = Duration::from_secs(25);
