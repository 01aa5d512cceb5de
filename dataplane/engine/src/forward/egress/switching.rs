//! Any order of pictures, wishes, mutes, losses: what leaves can be decoded and goes on without a
//! trace. Shared by the property tests and the fuzz target.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::{Rng, RngExt};
use whitewater_link::{
    CodecDescription, LAYERS_MAX, LayerState, PassedExtensions, PictureCodec, Scale, Selection,
};
use whitewater_sdp::{Capabilities, Limits, Offer, Role, judge};

use super::*;
use crate::forward::choice::{Choice, Offered};
use crate::forward::scale::Limit;

/// What a publisher sends, and how its packets tell of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pattern {
    /// Simulcast layers.
    pub(crate) layers: u8,
    /// Spatial layers of each.
    pub(crate) spatials: u8,
    /// Temporal layers of each.
    pub(crate) temporals: u8,
    /// How it is told.
    pub(crate) told: Told,
}

/// Where a packet tells of its layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// In VP8's payload descriptor: temporal layers, with running numbers.
    Vp8,
    /// In VP9's.
    Vp9,
    /// In a dependency descriptor.
    Dependency,
}

impl Pattern {
    /// Any there is.
    pub(crate) fn any(rng: &mut impl Rng) -> Self {
        let told = match rng.random_range(0..3) {
            0 => Told::Vp8,
            1 => Told::Vp9,
            _ => Told::Dependency,
        };
        let is_simulcast = rng.random_range(0..3) == 0;
        let is_flat = is_simulcast || told == Told::Vp8;
        Pattern {
            layers: if is_simulcast {
                rng.random_range(2..=4)
            } else {
                1
            },
            spatials: if is_flat { 1 } else { rng.random_range(1..=3) },
            temporals: rng.random_range(1..=3),
            told,
        }
    }
}

/// One picture of a layer and where its decoder comes from.
#[derive(Clone, Copy, Debug)]
struct Made {
    source: u32,
    layer: u8,
    picture: u32,
    /// The picture its frames are predicted from; none in a key picture.
    reference: Option<u32>,
}

/// One packet on its way.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) meta: PacketMeta,
    made: Made,
    spatial: u8,
    index: u8,
    count: u8,
}

/// A publisher.
pub(crate) struct Source {
    number: u32,
    pattern: Pattern,
    pub(crate) now: Instant,
    lines: Vec<Line>,
}

/// One simulcast layer of it.
struct Line {
    seq: u64,
    pictures: u32,
    /// The latest picture of each temporal layer.
    latest: [Option<u32>; 3],
    phase: usize,
    /// Whether this round of pictures builds on nothing but its first.
    is_fresh: bool,
    base: u32,
}

impl Source {
    pub(crate) fn new(now: Instant, rng: &mut impl Rng, number: u32, pattern: Pattern) -> Self {
        let mut line = || Line {
            seq: rng.random_range(1..100_000),
            pictures: 0,
            latest: [None; 3],
            phase: 0,
            is_fresh: true,
            base: rng.random(),
        };
        Source {
            number,
            pattern,
            now,
            lines: (0..pattern.layers).map(|_| line()).collect(),
        }
    }

    /// The next picture of a layer.
    pub(crate) fn picture(&mut self, rng: &mut impl Rng, layer: u8, key: bool) -> Vec<Sent> {
        let (pattern, now) = (self.pattern, self.now);
        let line = &mut self.lines[usize::from(layer)];
        let key = key || line.pictures == 0;
        if key {
            line.phase = 0;
            line.latest = [None; 3];
        }
        let order = ORDERS[usize::from(pattern.temporals) - 1];
        let temporal = order[line.phase % order.len()];
        if line.phase == 0 {
            line.is_fresh = key || rng.random();
        }
        let first_half = line.phase < 2;
        line.phase = (line.phase + 1) % order.len();
        let picture = line.pictures;
        line.pictures += 1;
        // The middle layer goes on with itself, or begins anew; the fastest builds on what came last.
        let [slow, middle, _] = line.latest;
        let reference = match temporal {
            0 => slow,
            1 if line.is_fresh => slow,
            1 => middle.or(slow),
            _ if first_half => slow,
            _ => middle,
        };
        let switches_up = match temporal {
            0 => false,
            1 => line.is_fresh || middle.is_none(),
            _ => first_half,
        };
        let fastest = pattern.temporals - 1;
        let opens = match temporal {
            0 if line.is_fresh => fastest,
            1 => fastest,
            _ => 0,
        };
        let made = Made {
            source: self.number,
            layer,
            picture,
            reference: reference.filter(|_| !key),
        };
        line.latest[usize::from(temporal)] = Some(picture);
        let is_described = pattern.told == Told::Dependency;
        let [high, low] = (picture.wrapping_add(line.base) as u16).to_be_bytes();
        let descriptor: Option<Arc<[u8]>> = is_described.then(|| Arc::from([0xc0, high, low]));
        let numbers = PictureNumbers {
            codec: match pattern.told {
                Told::Vp8 => PictureCodec::Vp8,
                _ => PictureCodec::Vp9,
            },
            picture_id: picture.wrapping_add(line.base) as u16 & 0x7fff,
            tl0_pic_idx: picture.wrapping_add(line.base) as u8,
        };
        let mut sent = Vec::new();
        for spatial in 0..pattern.spatials {
            let count = rng.random_range(1..4);
            for index in 0..count {
                let ends_frame = index + 1 == count;
                let scale = Scale {
                    spatial,
                    temporal,
                    switches_up: switches_up && !is_described,
                    opens: if is_described { opens } else { 0 },
                    ends_frame,
                    is_discardable: false,
                };
                let has_scale = pattern.spatials > 1 || pattern.temporals > 1;
                let starts_key = key && spatial == 0 && index == 0;
                sent.push(Sent {
                    meta: PacketMeta {
                        layer,
                        marker: ends_frame && spatial + 1 == pattern.spatials,
                        scale: has_scale.then_some(scale),
                        timestamp: line.base.wrapping_add(picture.wrapping_mul(3_000)),
                        pictures: (!is_described).then_some(numbers),
                        extensions: PassedExtensions {
                            dependency_descriptor: descriptor.clone(),
                            ..PassedExtensions::default()
                        },
                        ..meta(now, 100, 40 + u32::from(layer), line.seq, starts_key)
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

/// A viewer: its wishes, its network, and what left for it.
struct Watching {
    track: EgressTrack,
    choice: Choice,
    packets: Vec<(Rewritten, Sent)>,
    /// Numbers that were used.
    used: HashSet<u64>,
}

impl Watching {
    fn take(&mut self, sent: Sent) {
        if let Some(rewritten) = offer_to(&mut self.track, &sent.meta) {
            assert!(self.used.insert(rewritten.seq), "a number is used once");
            self.packets.push((rewritten, sent));
        }
    }

    /// A wish, a mute, another estimate, or time that passes.
    fn act(&mut self, rng: &mut impl Rng, source: &mut Source) {
        let pattern = source.pattern;
        let track = &mut self.track;
        match rng.random_range(0..12) {
            0 => {
                track.aim_within(Limit {
                    spatial: rng.random_range(0..4),
                    temporal: rng.random_range(0..4),
                });
            }
            1 => {
                self.choice.selection = Selection {
                    temporal_id: rng.random::<bool>().then(|| rng.random_range(0..4)),
                    spatial_id_max: rng.random::<bool>().then(|| rng.random_range(0..4)),
                    ..Selection::default()
                };
            }
            2 | 3 => {
                let states = states(pattern);
                let available = Some(rng.random_range(10_000..2_000_000));
                let (now, current) = (source.now, (track.target(), track.limit()));
                if pattern.layers > 1 {
                    let rids: Vec<String> =
                        (0..pattern.layers).map(|rid| rid.to_string()).collect();
                    let offered = Offered {
                        rids: &rids,
                        count: rids.len(),
                        states: &states,
                    };
                    let (target, limit) = self.choice.among(now, offered, current, available);
                    track.aim_within(limit);
                    track.aim(target);
                } else {
                    track.aim_within(self.choice.limit(now, &states, current.1, available));
                }
            }
            4 | 5 => {
                track.aim(Some(rng.random_range(0..pattern.layers)));
            }
            6 => {
                track.aim(None);
            }
            7 => track.mute(rng.random()),
            _ => source.now += rng.random_range(MS..=TIME_MAX),
        }
    }
}

/// What the layers of such a stream might carry.
fn states(pattern: Pattern) -> [LayerState; LAYERS_MAX] {
    let mut states = [LayerState::default(); LAYERS_MAX];
    let several = pattern.temporals > 1;
    for (place, state) in (0..pattern.spatials.max(pattern.layers)).zip(&mut states) {
        *state = LayerState {
            is_active: true,
            bitrate_bps: 200_000 << place,
            width: 320 << place,
            height: 180 << place,
            frames_per_second: 30,
            temporal_count: pattern.temporals,
            temporal_percent: if several { [40, 70, 100, 100] } else { [0; 4] },
        };
    }
    states
}

/// What happens between the publisher and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Nothing.
    InOrder,
    /// A tenth is lost, a twentieth doubled, and all of it mixed.
    Anyhow,
}

/// Plays pictures and wishes, and checks what a viewer gets; how many packets that were.
///
/// # Panics
/// When a number is used twice, time goes back, or something that looks whole cannot be decoded.
pub(crate) fn play(
    now: Instant,
    rng: &mut impl Rng,
    (pattern, arrival): (Pattern, Arrival),
    note: &str,
) -> usize {
    let mut source = Source::new(now, rng, 0, pattern);
    let mut watching = Watching {
        track: track(MediaKind::Video),
        choice: Choice::default(),
        packets: Vec::new(),
        used: HashSet::new(),
    };
    let mut under_way: Vec<Sent> = Vec::new();
    for _ in 0..ROUNDS {
        watching.act(rng, &mut source);
        let layer = rng.random_range(0..pattern.layers);
        // As publishers do when they are asked, and sometimes unasked.
        let asked = watching.track.awaits() & bit(layer) != 0;
        let key = asked && rng.random_range(0..3) == 0 || rng.random_range(0..40) == 0;
        for sent in source.picture(rng, layer, key) {
            if arrival == Arrival::InOrder {
                watching.take(sent);
                continue;
            }
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
            watching.take(sent);
        }
    }
    let note = format!("{note}, {pattern:?}");
    let count = watching.packets.len();
    if arrival == Arrival::Anyhow {
        time_goes_on(&watching.packets, &note);
        watching.packets.sort_by_key(|(rewritten, _)| rewritten.seq);
    }
    decodes(&watching.packets, arrival, &note);
    count
}

/// Forward by far more than reordering takes back.
fn time_goes_on(packets: &[(Rewritten, Sent)], note: &str) {
    let mut newest: Option<u32> = None;
    for (rewritten, sent) in packets {
        let ahead = newest.map_or(0, |newest| rewritten.timestamp.wrapping_sub(newest) as i32);
        assert!(ahead > -10 * 90_000, "{note}: {ahead} {sent:?}");
        if newest.is_none() || ahead > 0 {
            newest = Some(rewritten.timestamp);
        }
    }
}

/// What a receiver knows of the picture before.
struct Before {
    head: Rewritten,
    layer: u8,
    numbers: Option<PictureNumbers>,
    frame: Option<u16>,
}

/// Wherever no number is missing, from a key picture on, everything can be decoded.
pub(crate) fn decodes(packets: &[(Rewritten, Sent)], arrival: Arrival, note: &str) {
    // The pictures that were decoded since the last key picture, with the highest frame of each.
    let mut had: HashMap<(u32, u32), u8> = HashMap::new();
    let mut before: Option<Before> = None;
    let mut next_seq = None;
    let mut at = 0;
    while let Some((head, sent)) = packets.get(at) {
        let made = sent.made;
        let is_gap = next_seq.is_some_and(|next| next != head.seq);
        assert!(
            !is_gap || arrival == Arrival::Anyhow,
            "{note}, packet {at}: without a gap"
        );
        let is_intact = next_seq.is_some() && !is_gap;
        if !is_intact && !sent.meta.keyframe_start {
            // The receiver sees that something is missing, and waits for a key picture.
            assert!(
                arrival == Arrival::Anyhow,
                "{note}: it begins with a key picture"
            );
            (next_seq, before) = (None, None);
            at += 1;
            continue;
        }
        let note = format!("{note}, packet {at}: {sent:?}");
        let picture = stretch(&packets[at..]);
        let after = packets.get(at + picture.len());
        let is_cut = after.is_some_and(|(next, sent)| {
            let last = picture.last().map(|(last, _)| last.seq);
            last.is_some_and(|last| next.seq != last + 1) || sent.meta.keyframe_start
        });
        let may_end = arrival == Arrival::Anyhow && (is_cut || after.is_none());
        let Some(spatial) = whole(picture, arrival, &note) else {
            assert!(may_end, "{note}: whole");
            at += picture.len();
            (next_seq, before) = (None, None);
            continue;
        };
        match made.reference {
            None => had.clear(),
            Some(reference) => {
                let top = had.get(&(made.source, reference));
                assert!(top.is_some_and(|&top| top >= spatial), "{note}: decodable");
            }
        }
        had.insert((made.source, made.picture), spatial);
        let numbers = head.pictures.or(sent.meta.pictures);
        let number = frame_number(&sent.meta).map(|number| number.wrapping_add(head.frame_offset));
        if let Some(before) = before.filter(|_| is_intact) {
            let step = head.timestamp.wrapping_sub(before.head.timestamp);
            assert!((1..1 << 31).contains(&step), "{note}: time goes on");
            assert!(
                made.reference.is_none() || before.layer == made.layer,
                "{note}"
            );
            if let (Some(numbers), Some(before)) = (numbers, before.numbers)
                && numbers.codec == PictureCodec::Vp8
                && arrival == Arrival::InOrder
            {
                let step = numbers.picture_id.wrapping_sub(before.picture_id) & 0x7fff;
                assert_eq!(step, 1, "{note}: pictures are counted one after the other");
            }
            if let (Some(number), Some(before)) = (number, before.frame) {
                let step = number.wrapping_sub(before);
                assert!(
                    (1..0x8000).contains(&step),
                    "{note}: frames are counted on: {step}"
                );
            }
        }
        before = Some(Before {
            head: *head,
            layer: made.layer,
            numbers,
            frame: number,
        });
        next_seq = picture.last().map(|(last, _)| last.seq + 1);
        at += picture.len();
    }
}

/// The packets of one picture that follow each other without a gap.
fn stretch(packets: &[(Rewritten, Sent)]) -> &[(Rewritten, Sent)] {
    let key = |sent: &Sent| (sent.made.source, sent.made.layer, sent.made.picture);
    let Some((head, first)) = packets.first() else {
        return packets;
    };
    let same = packets.iter().zip(head.seq..);
    let same = same.take_while(|((rewritten, sent), seq)| {
        // A key picture may be sent again, to begin with it anew.
        let begins_anew = sent.meta.keyframe_start && *seq > head.seq;
        rewritten.seq == *seq && key(sent) == key(first) && !begins_anew
    });
    &packets[..same.count()]
}

/// The highest spatial layer of a picture all of whose frames are there up to that; `None` where
/// something is missing.
fn whole(picture: &[(Rewritten, Sent)], arrival: Arrival, note: &str) -> Option<u8> {
    let timestamp = picture.first()?.0.timestamp;
    let (mut spatial, mut index) = (0, 0);
    for (place, (rewritten, sent)) in picture.iter().enumerate() {
        if (sent.spatial, sent.index) != (spatial, index) {
            return None;
        }
        assert_eq!(rewritten.timestamp, timestamp, "{note}");
        if arrival == Arrival::InOrder {
            let is_last = place + 1 == picture.len();
            assert_eq!(rewritten.marker, is_last, "{note}: its end is marked");
        }
        index += 1;
        if index == sent.count {
            (spatial, index) = (spatial + 1, 0);
        }
    }
    spatial.checked_sub(1).filter(|_| index == 0)
}

/// Pictures of a run, and the most time that passes before each.
const ROUNDS: usize = 300;
const MS: Duration = Duration::from_millis(1);
const TIME_MAX: Duration = Duration::from_millis(9);
const _: () = assert!(
    ROUNDS as u128 * TIME_MAX.as_millis() < limits::KEYFRAME_WAIT_MAX.as_millis(),
    "what cannot be decoded is sent to nobody who waits"
);

/// Temporal layers of pictures, one after the other.
const ORDERS: [&[u8]; 3] = [&[0], &[0, 1], &[0, 2, 1, 2]];

const OFFER: &str = include_str!("../../../../../tests/corpus/sdp/chrome-watch.sdp");

/// A track of a viewer that takes what Chromium does.
pub(super) fn track(kind: MediaKind) -> EgressTrack {
    let offer = Offer::parse(OFFER, &Limits::default()).expect("a recorded offer");
    let plan = judge(&offer, Role::Subscribe, &Capabilities::default()).expect("supported");
    let wanted = |track: &&TrackPlan| track.kind.name() == kind.as_str();
    let plan = plan.tracks().find(wanted).expect("both kinds").clone();
    let ssrcs = SenderSsrcs {
        main: 1,
        rtx: Some(2),
    };
    let start = Start {
        seq: 0xffff,
        repair_seq: 0xffff,
        timestamp: 7_000,
    };
    EgressTrack::new(&plan, ssrcs, start)
}

/// A publisher's video in one codec.
pub(crate) fn published(name: &str, pt: u8) -> Vec<TrackDescription> {
    vec![TrackDescription {
        kind: MediaKind::Video,
        codecs: vec![CodecDescription {
            pt,
            name: name.to_owned(),
            clock_rate: 90_000,
            channels: None,
            fmtp: String::new(),
        }],
        rids: Vec::new(),
    }]
}

/// A packet of a single layer, with a picture of its own.
pub(super) fn meta(now: Instant, pt: u8, ssrc: u32, seq: u64, keyframe_start: bool) -> PacketMeta {
    PacketMeta {
        track: 0,
        kind: MediaKind::Video,
        layer: 0,
        pt,
        marker: true,
        keyframe_start,
        ssrc,
        run: 0,
        seq,
        timestamp: (seq as u32).wrapping_mul(3_000),
        captured_at: now,
        arrived_at: now,
        pictures: None,
        scale: None,
        extensions: PassedExtensions::default(),
    }
}

/// What becomes of a packet, as `forward` has it.
pub(super) fn offer_to(track: &mut EgressTrack, meta: &PacketMeta) -> Option<Rewritten> {
    let tracks = published("VP8", 100);
    let taken = track.takes(meta);
    taken.then(|| track.rewrite(meta.arrived_at, Epoch(1), &tracks, meta).ok())?
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::super::tests::start;
    use super::*;

    /// Every way there is to cut a stream into layers.
    fn patterns() -> Vec<Pattern> {
        let mut patterns = Vec::new();
        for told in [Told::Vp8, Told::Vp9, Told::Dependency] {
            // L1T1 to L3T3: every frame needs those below it in its picture. Where only those of key
            // pictures do (L2T1_KEY and so on) what is sent is the same and needs less.
            let spatials = if told == Told::Vp8 { 1..=1 } else { 1..=3 };
            for (spatials, temporals) in spatials.flat_map(|s| (1..=3).map(move |t| (s, t))) {
                patterns.push(Pattern {
                    layers: 1,
                    spatials,
                    temporals,
                    told,
                });
            }
            let simulcast = (2..=4).flat_map(|layers| (1..=3).map(move |t| (layers, t)));
            patterns.extend(simulcast.map(|(layers, temporals)| Pattern {
                layers,
                spatials: 1,
                temporals,
                told,
            }));
        }
        patterns
    }

    /// All patterns with several seeds; how many packets were sent.
    fn play_all(arrival: Arrival) -> usize {
        let mut count = 0;
        for (pattern, seed) in patterns()
            .into_iter()
            .flat_map(|p| (0..12).map(move |s| (p, s)))
        {
            let mut rng = StdRng::seed_from_u64(seed);
            let note = format!("seed {seed}");
            count += play(start(), &mut rng, (pattern, arrival), &note);
        }
        count
    }

    #[test]
    fn whatever_is_wished_in_order_everything_sent_can_be_decoded_and_nothing_is_missing() {
        let count = play_all(Arrival::InOrder);
        assert!(count > 50_000, "most seeds send a lot: {count}");
    }

    #[test]
    fn losses_reordering_and_copies_never_show_what_cannot_be_decoded_or_take_time_far_back() {
        let count = play_all(Arrival::Anyhow);
        assert!(count > 20_000, "most seeds send a lot: {count}");
    }

    #[test]
    fn temporal_layers_that_were_left_out_come_back_without_a_key_picture() {
        for told in [Told::Vp8, Told::Vp9, Told::Dependency] {
            let pattern = Pattern {
                layers: 1,
                spatials: 1,
                temporals: 3,
                told,
            };
            let mut rng = StdRng::seed_from_u64(7);
            let mut source = Source::new(start(), &mut rng, 0, pattern);
            let mut track = track(MediaKind::Video);
            let mut shares = Vec::new();
            for temporal in [2, 0, 1, 2] {
                track.aim_within(Limit {
                    spatial: u8::MAX,
                    temporal,
                });
                let mut sent = 0;
                for _ in 0..80 {
                    source.now += Duration::from_millis(33);
                    let packets = source.picture(&mut rng, 0, false);
                    let taken = packets
                        .iter()
                        .map(|p| offer_to(&mut track, &p.meta).is_some());
                    // All or nothing of a picture.
                    let taken: Vec<bool> = taken.collect();
                    assert!(taken.iter().all(|&one| one == taken[0]), "{told:?}");
                    sent += u32::from(taken[0]);
                    assert_eq!(track.awaits(), 0, "{told:?}: no key picture is needed");
                }
                shares.push(sent);
            }
            assert_eq!(&shares[..2], [80, 20], "{told:?}");
            assert!((36..=40).contains(&shares[2]), "{told:?}: {shares:?}");
            assert!((70..=80).contains(&shares[3]), "{told:?}: {shares:?}");
        }
    }
}
