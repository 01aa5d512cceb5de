//! Any order of pictures, wishes and mutes: what leaves can be decoded and goes on without a trace.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use whitewater_link::{PictureCodec, Scale};

use super::tests::{offer_to, start, track};
use super::*;

/// One picture of a layer and where its decoder comes from.
#[derive(Clone, Copy, Debug)]
struct Made {
    layer: u8,
    picture: u32,
    /// The picture its frames are predicted from; none in a key picture.
    reference: Option<u32>,
}

/// One packet on its way.
#[derive(Clone, Debug)]
struct Sent {
    meta: PacketMeta,
    made: Made,
    spatial: u8,
    index: u8,
    count: u8,
}

/// A publisher of several layers, or of one that is scalable.
struct Source {
    now: Instant,
    layers: Vec<Line>,
    is_scalable: bool,
}

struct Line {
    seq: u64,
    pictures: u32,
    /// The latest picture of each temporal layer.
    latest: [Option<u32>; 3],
    phase: usize,
    base: u32,
}

/// Temporal layers of four pictures, and whether each needs only what is below.
const PATTERN: [(u8, bool); 4] = [(0, false), (2, true), (1, true), (2, false)];

impl Source {
    fn new(rng: &mut StdRng, now: Instant, layers: usize, is_scalable: bool) -> Self {
        let mut line = || Line {
            seq: rng.random_range(1..100_000),
            pictures: 0,
            latest: [None; 3],
            phase: 0,
            base: rng.random(),
        };
        Source {
            now,
            layers: (0..layers).map(|_| line()).collect(),
            is_scalable,
        }
    }

    /// The next picture of a layer.
    fn picture(&mut self, rng: &mut StdRng, layer: u8, key: bool) -> Vec<Sent> {
        let is_scalable = self.is_scalable;
        let now = self.now;
        let line = &mut self.layers[usize::from(layer)];
        let key = key || line.pictures == 0;
        if key {
            line.phase = 0;
            line.latest = [None; 3];
        }
        let (temporal, switches_up) = if is_scalable {
            PATTERN[line.phase]
        } else {
            (0, false)
        };
        line.phase = (line.phase + 1) % PATTERN.len();
        let picture = line.pictures;
        line.pictures += 1;
        let lower = match (temporal, switches_up) {
            (0, _) | (_, true) => line.latest[0],
            _ => line.latest[1],
        };
        let made = Made {
            layer,
            picture,
            reference: lower.filter(|_| !key),
        };
        line.latest[usize::from(temporal)] = Some(picture);
        let mut sent = Vec::new();
        let spatials = if is_scalable { 3 } else { 1 };
        for spatial in 0..spatials {
            let count = rng.random_range(1..4);
            for index in 0..count {
                let ends_frame = index + 1 == count;
                let scale = Scale {
                    spatial,
                    temporal,
                    switches_up,
                    ends_frame,
                };
                sent.push(Sent {
                    meta: PacketMeta {
                        layer,
                        marker: ends_frame && spatial + 1 == spatials,
                        scale: is_scalable.then_some(scale),
                        timestamp: line.base.wrapping_add(picture.wrapping_mul(3_000)),
                        pictures: Some(PictureNumbers {
                            codec: PictureCodec::Vp8,
                            picture_id: (picture + line.base) as u16 & 0x7fff,
                            tl0_pic_idx: (picture + line.base) as u8,
                        }),
                        ..super::tests::meta(
                            now,
                            100,
                            40 + u32::from(layer),
                            line.seq,
                            key && spatial == 0 && index == 0,
                        )
                    },
                    made,
                    spatial,
                    index,
                    count,
                });
                line.seq += 1;
            }
        }
        sent
    }
}

/// What left for the viewer.
struct Seen {
    packets: Vec<(Rewritten, Sent)>,
    /// Numbers that were used.
    used: HashSet<u64>,
}

impl Seen {
    fn take(&mut self, track: &mut EgressTrack, sent: Sent) {
        if let Some(rewritten) = offer_to(track, &sent.meta) {
            assert!(self.used.insert(rewritten.seq), "a number is used once");
            self.packets.push((rewritten, sent));
        }
    }
}

/// A wish, a mute or time that passes.
fn act(rng: &mut StdRng, track: &mut EgressTrack, source: &mut Source) {
    let layers = source.layers.len() as u8;
    match rng.random_range(0..10) {
        0 if source.is_scalable => {
            track.aim_within(Limit {
                spatial: rng.random_range(0..4),
                temporal: rng.random_range(0..4),
            });
        }
        0 | 1 => {
            track.aim(Some(rng.random_range(0..layers)));
        }
        2 => {
            track.aim(None);
        }
        3 => track.mute(rng.random()),
        _ => source.now += Duration::from_millis(rng.random_range(1..50)),
    }
}

#[test]
fn whatever_is_wished_in_order_everything_sent_can_be_decoded_and_nothing_is_missing() {
    let mut count = 0;
    for seed in 0..400 {
        let mut rng = StdRng::seed_from_u64(seed);
        let is_scalable = seed % 2 == 1;
        let layers = if is_scalable {
            1
        } else {
            rng.random_range(1..=4)
        };
        let mut track = track(MediaKind::Video);
        let mut source = Source::new(&mut rng, start(), layers, is_scalable);
        let mut seen = Seen {
            packets: Vec::new(),
            used: HashSet::new(),
        };
        for _ in 0..300 {
            act(&mut rng, &mut track, &mut source);
            let layer = rng.random_range(0..layers) as u8;
            // As publishers do when they are asked, and sometimes unasked.
            let asked = track.awaits() & bit(layer) != 0;
            let key = asked && rng.random_range(0..3) == 0 || rng.random_range(0..40) == 0;
            for sent in source.picture(&mut rng, layer, key) {
                seen.take(&mut track, sent);
            }
        }
        check(&seen, seed);
        count += seen.packets.len();
    }
    assert!(count > 50_000, "most seeds send a lot: {count}");
}

fn check(seen: &Seen, seed: u64) {
    let first = seen
        .packets
        .first()
        .map_or(0, |(rewritten, _)| rewritten.seq);
    // The pictures that were sent since the source began, with the highest frame of each.
    let mut had: HashMap<u32, u8> = HashMap::new();
    let mut at = 0;
    let mut before: Option<(Rewritten, u8)> = None;
    while let Some((head, sent)) = seen.packets.get(at) {
        let note = format!("seed {seed}, packet {at}: {sent:?}");
        let made = sent.made;
        let same = |(_, sent): &&(Rewritten, Sent)| {
            (sent.made.layer, sent.made.picture) == (made.layer, made.picture)
        };
        let picture: Vec<_> = seen.packets[at..].iter().take_while(same).collect();
        let (mut spatial, mut index) = (0, 0);
        for (place, (rewritten, sent)) in picture.iter().enumerate() {
            assert_eq!(
                rewritten.seq,
                first + (at + place) as u64,
                "{note}: without a gap"
            );
            assert_eq!(
                (sent.spatial, sent.index),
                (spatial, index),
                "{note}: whole"
            );
            assert_eq!(rewritten.timestamp, head.timestamp, "{note}");
            assert_eq!(
                rewritten.marker,
                place + 1 == picture.len(),
                "{note}: its end is marked"
            );
            index += 1;
            if index == sent.count {
                (spatial, index) = (spatial + 1, 0);
            }
        }
        assert_eq!(index, 0, "{note}: all of its last frame");
        match made.reference {
            None => had.clear(),
            Some(reference) => {
                let top = had.get(&reference);
                assert!(top.is_some_and(|&top| top >= spatial), "{note}: decodable");
                assert_eq!(before.map(|(_, layer)| layer), Some(made.layer), "{note}");
            }
        }
        had.insert(made.picture, spatial);
        let numbers =
            |rewritten: &Rewritten, sent: &Sent| rewritten.pictures.or(sent.meta.pictures);
        if let Some((before, _)) = before {
            let step = head.timestamp.wrapping_sub(before.timestamp);
            assert!((1..1 << 31).contains(&step), "{note}: time goes on");
        }
        assert!(numbers(head, sent).is_some());
        before = Some((*head, made.layer));
        at += picture.len();
    }
}

#[test]
fn losses_reordering_and_copies_never_use_a_number_twice_or_take_time_far_back() {
    let mut count = 0;
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let is_scalable = seed % 2 == 1;
        let layers = if is_scalable {
            1
        } else {
            rng.random_range(1..=4)
        };
        let mut track = track(MediaKind::Video);
        let mut source = Source::new(&mut rng, start(), layers, is_scalable);
        let mut seen = Seen {
            packets: Vec::new(),
            used: HashSet::new(),
        };
        let mut under_way: Vec<Sent> = Vec::new();
        for _ in 0..300 {
            act(&mut rng, &mut track, &mut source);
            let layer = rng.random_range(0..layers) as u8;
            let key = rng.random_range(0..10) == 0;
            for sent in source.picture(&mut rng, layer, key) {
                if rng.random_range(0..20) == 0 {
                    under_way.push(sent.clone());
                }
                if rng.random_range(0..10) > 0 {
                    under_way.push(sent);
                }
            }
            while under_way.len() > 8 {
                let next = rng.random_range(0..under_way.len());
                let sent = under_way.remove(next);
                seen.take(&mut track, sent);
            }
        }
        // Forward by far more than reordering takes back.
        let mut newest: Option<u32> = None;
        for (rewritten, sent) in &seen.packets {
            let ahead = newest.map_or(0, |newest| rewritten.timestamp.wrapping_sub(newest) as i32);
            assert!(ahead > -10 * 90_000, "seed {seed}: {ahead} {sent:?}");
            if newest.is_none() || ahead > 0 {
                newest = Some(rewritten.timestamp);
            }
        }
        count += seen.packets.len();
    }
    assert!(count > 20_000, "most seeds send a lot: {count}");
}
