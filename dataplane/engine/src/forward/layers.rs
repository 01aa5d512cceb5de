//! The layers of a publisher's track: which source is which, and what each of them carries now.

use std::time::{Duration, Instant};

use str0m::media::Rid;
use whitewater_link::{LAYERS_MAX, LayerInfo, LayerState, Scale};
use whitewater_rtp::dependency::{Frame, Structure};
use whitewater_rtp::ext::DependencyDescriptor;
use whitewater_rtp::payload::{Codec, PictureSize};
use whitewater_sdp::TrackPlan;

use super::arrivals::{Arrivals, Keyframes};
use super::checks::PictureCheck;
use super::ingress::SourceClock;
use super::keyframe::KeyframeThrottle;
use super::presence::Presence;
use crate::limits;

/// One encoding of a publisher's track.
#[derive(Debug, Default)]
pub struct IngressLayer {
    /// The rids its packets may say (RFC 8853 §5.1: alternatives); none where a source needs none.
    rids: Vec<String>,
    /// Its source, where the offer named it.
    announced: Option<u32>,
    /// The source media last came from.
    pub ssrc: Option<u32>,
    /// Its last payload type.
    pub pt: Option<u8>,
    /// Key frame requests passed up.
    pub throttle: KeyframeThrottle,
    /// Its sender reports.
    pub clock: SourceClock,
    /// How its packets come.
    pub arrivals: Arrivals,
    /// Its key frames.
    pub keys: Keyframes,
    /// How its pictures are made.
    pub pictures: PictureCheck,
    meter: Meter,
    /// Whether its sender was told to leave it out.
    presence: Presence,
    /// Of its temporal layers, once there are several.
    temporals: Option<Box<TemporalMeter>>,
    size: Option<PictureSize>,
    /// Whether its packets describe themselves (dependency descriptor): that goes before the payload.
    is_described: bool,
    /// What the dependency descriptors of its packets refer to.
    structure: Option<Structure>,
}

impl IngressLayer {
    /// The layers of a track as planned: by what another node says, by rid, else by the group of
    /// sources, else one.
    pub fn planned(plan: &TrackPlan) -> Vec<IngressLayer> {
        let by_rid = plan.simulcast.iter().map(|layer| IngressLayer {
            rids: layer
                .alternatives
                .iter()
                .map(|(id, _)| id.clone())
                .collect(),
            ..IngressLayer::default()
        });
        let by_source = plan.sim_ssrcs.iter().map(|&ssrc| IngressLayer {
            announced: Some(ssrc),
            ..IngressLayer::default()
        });
        let by_lane = plan.lanes.iter().flatten().map(|lane| IngressLayer {
            rids: vec![lane.rid.clone()],
            announced: Some(lane.ssrc),
            ..IngressLayer::default()
        });
        let mut layers: Vec<IngressLayer> = by_lane.take(LAYERS_MAX).collect();
        if layers.is_empty() {
            layers = by_rid.take(LAYERS_MAX).collect();
        }
        if layers.is_empty() {
            layers = by_source.take(LAYERS_MAX).collect();
        }
        if layers.is_empty() {
            layers.push(IngressLayer::default());
        }
        layers
    }

    /// What the layers of a track are called; nothing where there is one.
    pub fn names(plan: &TrackPlan) -> Vec<String> {
        let layers = IngressLayer::planned(plan);
        if layers.len() < 2 {
            return Vec::new();
        }
        let name = |(index, layer): (usize, IngressLayer)| {
            let rid = layer.rids.into_iter().next();
            rid.unwrap_or_else(|| index.to_string())
        };
        layers.into_iter().enumerate().map(name).collect()
    }

    /// Whether a source is this layer's.
    pub fn is(&self, ssrc: u32, rid: Option<Rid>) -> bool {
        match (&self.announced, rid) {
            (Some(announced), _) => *announced == ssrc,
            (None, Some(rid)) if !self.rids.is_empty() => {
                // As str0m spells them.
                self.rids
                    .iter()
                    .any(|known| Rid::from(known.as_str()) == rid)
            }
            (None, _) => self.rids.is_empty(),
        }
    }

    /// Whether it is told by rid.
    pub fn is_named(&self) -> bool {
        !self.rids.is_empty()
    }

    /// Whether its packets may say this rid.
    pub fn has_rid(&self, rid: &str) -> bool {
        self.rids.iter().any(|known| known == rid)
    }

    /// Whether a decoder can start at a packet. A dependency descriptor says so of payloads that are
    /// encrypted too, where reading them would find key frames anywhere: once one with a structure
    /// came, the descriptors alone count (AV1 RTP payload format 1.0 appendix A.2: it comes with every
    /// start).
    #[inline]
    pub fn begins_key(
        &mut self,
        codec: Option<Codec>,
        payload: &[u8],
        descriptor: Option<&[u8]>,
    ) -> bool {
        if let Some(said) = descriptor.and_then(DependencyDescriptor::parse) {
            let begins = said.start_of_frame && said.has_structure;
            self.is_described |= begins;
            if self.is_described {
                return begins;
            }
        }
        codec.is_some_and(|codec| codec.is_key_frame_start(payload))
    }

    /// What a packet's dependency descriptor says of its frame.
    pub fn frame(&mut self, descriptor: Option<&[u8]>) -> Option<Frame> {
        let descriptor = descriptor?;
        if let Some(structure) = Structure::parse(descriptor) {
            self.structure = Some(structure);
        }
        self.structure.as_ref()?.frame(descriptor)
    }

    /// The sizes of its spatial layers, smallest first, as far as a dependency descriptor or else the
    /// last key frame told them.
    pub fn sizes(&self) -> impl Iterator<Item = PictureSize> {
        let described = self.structure.as_ref().map_or(&[][..], Structure::sizes);
        let own = self.size.filter(|_| described.is_empty());
        described.iter().copied().chain(own)
    }

    /// Counts a packet of `size` bytes.
    #[inline]
    pub fn note(&mut self, now: Instant, size: usize, marker: bool) {
        self.meter.note(now, size, marker);
    }

    /// Its sender was told to leave it out: it can be had as it was.
    pub fn leave_out(&mut self, known: LayerState) {
        self.presence = Presence::LeftOut(known);
        self.meter = Meter::default();
    }

    /// Its sender was told to send it again.
    pub fn call_back(&mut self, now: Instant) {
        if let Presence::LeftOut(known) = self.presence {
            self.presence = Presence::CalledBack(known, now);
            self.meter = Meter::default();
        }
    }

    /// Whether its sender was told to leave it out.
    pub fn is_left_out(&self) -> bool {
        matches!(self.presence, Presence::LeftOut(_))
    }

    /// Its source, as announced or as heard.
    pub fn source(&self) -> Option<u32> {
        self.announced.or(self.ssrc)
    }

    /// Counts a packet that tells its temporal layer.
    #[inline]
    pub fn note_scale(&mut self, now: Instant, size: usize, scale: Scale) {
        if scale.temporal > 0 || self.temporals.is_some() {
            let meter = self.temporals.get_or_insert_default();
            meter.note(now, size, scale);
        }
    }

    /// Its temporal layers as they were at the last look, each with those below it; one where it has
    /// none that are told apart. `whole` is what all of them carry.
    pub fn temporal_states(&self, whole: LayerState) -> Vec<LayerState> {
        let several = self.temporals.as_ref().filter(|_| whole.temporal_count > 1);
        let Some(meter) = several else {
            return vec![whole];
        };
        let mut states = vec![whole; usize::from(whole.temporal_count).min(LAYERS_MAX)];
        for (state, &(bitrate_bps, frames_per_second)) in states.iter_mut().zip(&meter.sums) {
            state.bitrate_bps = bitrate_bps;
            state.frames_per_second = frames_per_second;
        }
        states
    }

    /// The size of its pictures, as far as a key frame told.
    pub fn size(&self) -> Option<PictureSize> {
        self.size
    }

    /// A key frame told its size.
    pub fn note_size(&mut self, size: Option<PictureSize>) {
        if size.is_some() {
            self.size = size;
        }
    }
}

/// What all layers of a track carry now. To be called every [`limits::LAYER_TICK`].
pub fn states(now: Instant, layers: &mut [IngressLayer]) -> [LayerState; LAYERS_MAX] {
    // A screen that stands still sends nothing on any layer: silence is what others do not share.
    let newest = layers.iter().filter_map(|layer| layer.meter.heard_at).max();
    let mut states = [LayerState::default(); LAYERS_MAX];
    for (state, layer) in states.iter_mut().zip(layers) {
        let (bitrate_bps, frames_per_second) = layer.meter.tick();
        let since = |at| newest.map(|newest| newest.saturating_duration_since(at));
        let behind = layer.meter.heard_at.and_then(since);
        let temporals = layer.temporals.as_mut().map(|meter| meter.tick());
        let (temporal_count, temporal_percent) = temporals.unwrap_or_default();
        let size = layer.sizes().last();
        *state = LayerState {
            is_active: behind.is_some_and(|behind| behind <= limits::LAYER_SILENT_AFTER),
            bitrate_bps,
            width: size.map_or(0, |size| size.width),
            height: size.map_or(0, |size| size.height),
            frames_per_second,
            temporal_count,
            temporal_percent,
        };
        layer.presence.settle(now, state);
    }
    states
}

/// The temporal layers of one simulcast layer.
#[derive(Debug, Default)]
struct TemporalMeter {
    meters: [Meter; LAYERS_MAX],
    /// Bits and frames a second at the last tick, of each with all below it.
    sums: [(u64, u16); LAYERS_MAX],
}

impl TemporalMeter {
    fn note(&mut self, now: Instant, size: usize, scale: Scale) {
        let place = usize::from(scale.temporal).min(LAYERS_MAX - 1);
        if let Some(meter) = self.meters.get_mut(place) {
            meter.note(now, size, scale.ends_frame);
        }
    }

    /// How many there are, and what each takes with those below it, in percent.
    fn tick(&mut self) -> (u8, [u8; LAYERS_MAX]) {
        let (mut count, mut below) = (0, (0, 0));
        for ((meter, sum), place) in self.meters.iter_mut().zip(&mut self.sums).zip(1..) {
            if meter.heard_at.is_some() {
                count = place;
            }
            let (bits, frames) = meter.tick();
            below = (below.0 + bits, below.1 + frames);
            *sum = below;
        }
        (count, percent_of(below.0, &self.sums))
    }
}

/// What each takes of a whole that is so many bits a second.
fn percent_of(whole_bps: u64, sums: &[(u64, u16); LAYERS_MAX]) -> [u8; LAYERS_MAX] {
    let percent = |&(bps, _): &(u64, u16)| (bps * 100).checked_div(whole_bps);
    sums.each_ref()
        .map(|sum| percent(sum).and_then(|percent| u8::try_from(percent).ok()))
        .map(Option::unwrap_or_default)
}

/// The layers inside one scalable stream.
#[derive(Debug, Default)]
pub struct ScaleMeter {
    /// By spatial and temporal layer.
    meters: [[Meter; LAYERS_MAX]; LAYERS_MAX],
    sizes: [Option<PictureSize>; LAYERS_MAX],
    /// Bits and frames a second at the last tick, of each with all below it.
    sums: [[(u64, u16); LAYERS_MAX]; LAYERS_MAX],
    states: [LayerState; LAYERS_MAX],
}

impl ScaleMeter {
    /// Counts a packet of `size` bytes.
    pub fn note(&mut self, now: Instant, size: usize, scale: Scale) {
        let place = |id: u8| usize::from(id).min(LAYERS_MAX - 1);
        let row = self.meters.get_mut(place(scale.spatial));
        if let Some(meter) = row.and_then(|row| row.get_mut(place(scale.temporal))) {
            meter.note(now, size, scale.ends_frame);
        }
    }

    /// A key picture told the sizes of its spatial layers.
    pub fn note_sizes(&mut self, sizes: impl Iterator<Item = PictureSize>) {
        for (known, size) in self.sizes.iter_mut().zip(sizes) {
            *known = Some(size);
        }
    }

    /// What each spatial layer carries now, with those below. To be called every
    /// [`limits::LAYER_TICK`].
    pub fn tick(&mut self) -> [LayerState; LAYERS_MAX] {
        let all = self.meters.iter().flatten();
        let newest = all.filter_map(|meter| meter.heard_at).max();
        let heard = |t: usize, meters: &[[Meter; LAYERS_MAX]; LAYERS_MAX]| {
            meters
                .iter()
                .any(|row| row.get(t).is_some_and(|m| m.heard_at.is_some()))
        };
        let temporal_count = (0..LAYERS_MAX).filter(|&t| heard(t, &self.meters)).count();
        let mut below = [(0, 0); LAYERS_MAX];
        let rows = self.meters.iter_mut().zip(&mut self.sums).zip(&self.sizes);
        for (((row, sums), size), state) in rows.zip(&mut self.states) {
            let last = row.iter().filter_map(|meter| meter.heard_at).max();
            let behind = newest.zip(last).map(|(newest, last)| newest - last);
            let mut whole = (0, 0);
            for ((meter, sum), lower) in row.iter_mut().zip(&mut *sums).zip(&mut below) {
                let (bits, frames) = meter.tick();
                whole = (whole.0 + bits, whole.1 + frames);
                lower.0 += whole.0;
                *sum = (lower.0, whole.1);
            }
            let (bitrate_bps, _) = below.last().copied().unwrap_or_default();
            let percent = percent_of(bitrate_bps, sums);
            let is_split = temporal_count > 1;
            *state = LayerState {
                is_active: behind.is_some_and(|behind| behind <= limits::LAYER_SILENT_AFTER),
                bitrate_bps,
                width: size.map_or(0, |size| size.width),
                height: size.map_or(0, |size| size.height),
                frames_per_second: whole.1,
                temporal_count: u8::try_from(temporal_count).unwrap_or(0),
                temporal_percent: if is_split { percent } else { [0; LAYERS_MAX] },
            };
        }
        self.states
    }

    /// The layers as they were at the last tick, if there are several.
    pub fn infos(&self) -> Vec<LayerInfo> {
        let mut infos = Vec::new();
        let known = self.states.iter().zip(&self.sums).zip(0..);
        for ((state, sums), spatial_id) in known.filter(|((state, _), _)| state.is_active) {
            let temporals = (0..state.temporal_count).zip(sums);
            infos.extend(
                temporals.map(
                    |(temporal_id, &(bitrate_bps, frames_per_second))| LayerInfo {
                        rid: None,
                        spatial_id,
                        temporal_id,
                        state: LayerState {
                            bitrate_bps,
                            frames_per_second,
                            ..*state
                        },
                    },
                ),
            );
        }
        if infos.len() > 1 { infos } else { Vec::new() }
    }
}

/// Whether anything but a number is another one.
pub fn differ_in_shape(one: &[LayerState; LAYERS_MAX], other: &[LayerState; LAYERS_MAX]) -> bool {
    let shape = |state: &LayerState| {
        (
            state.is_active,
            state.width,
            state.height,
            state.temporal_count,
        )
    };
    one.iter().map(shape).ne(other.iter().map(shape))
}

/// Bytes and frames of the last second.
#[derive(Debug, Default)]
struct Meter {
    heard_at: Option<Instant>,
    bytes: [u32; TICKS],
    frames: [u16; TICKS],
    at: usize,
    /// Ticks that were measured, up to all of them: the first second is not over yet.
    measured: u32,
}

impl Meter {
    #[inline]
    fn note(&mut self, now: Instant, size: usize, marker: bool) {
        self.heard_at = Some(now);
        if let (Some(bytes), Some(frames)) =
            (self.bytes.get_mut(self.at), self.frames.get_mut(self.at))
        {
            *bytes = bytes.saturating_add(u32::try_from(size).unwrap_or(u32::MAX));
            *frames = frames.saturating_add(u16::from(marker));
        }
    }

    /// A tick is over: bits and frames a second.
    fn tick(&mut self) -> (u64, u16) {
        if self.heard_at.is_none() {
            return (0, 0);
        }
        self.measured = (self.measured + 1).min(TICKS as u32);
        let bytes: u64 = self.bytes.iter().copied().map(u64::from).sum();
        let frames: u32 = self.frames.iter().copied().map(u32::from).sum();
        let span = u64::from(self.measured);
        let bitrate_bps = bytes * 8 * TICKS as u64 / span;
        let frames = u64::from(frames) * TICKS as u64 / span;
        self.at = (self.at + 1) % TICKS;
        if let (Some(bytes), Some(frames)) =
            (self.bytes.get_mut(self.at), self.frames.get_mut(self.at))
        {
            (*bytes, *frames) = (0, 0);
        }
        (bitrate_bps, u16::try_from(frames).unwrap_or(u16::MAX))
    }
}

/// Ticks in the second that is measured over.
const TICKS: usize = 8;
const _: () = assert!(
    limits::LAYER_TICK.as_millis() * TICKS as u128 == 1_000,
    "the meter measures over a second"
);
const _: () = assert!(
    limits::LAYER_TICK.as_millis() < Duration::from_millis(500).as_millis(),
    "a layer that fell silent is noticed soon"
);

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(rids: &[&str], announced: Option<u32>) -> IngressLayer {
        IngressLayer {
            rids: rids.iter().map(|&rid| rid.to_owned()).collect(),
            announced,
            ..IngressLayer::default()
        }
    }

    #[test]
    fn a_source_is_told_by_rid_by_announcement_or_by_being_the_only_one() {
        let by_rid = layer(&["h", "g"], None);
        let rid = |rid: &str| Some(Rid::from(rid));
        assert!(by_rid.is(1, rid("h")) && by_rid.is(2, rid("g")));
        assert!(!by_rid.is(1, rid("l")) && !by_rid.is(1, None));
        let by_source = layer(&[], Some(7));
        assert!(by_source.is(7, None) && by_source.is(7, rid("h")) && !by_source.is(8, None));
        let only = layer(&[], None);
        assert!(only.is(9, None) && only.is(9, rid("h")));
    }

    #[test]
    fn a_second_is_measured_and_what_is_older_forgotten() {
        let mut now = Instant::now();
        let mut layers = [layer(&["l"], None), layer(&["h"], None)];
        let mut last = states(now, &mut layers);
        assert_eq!(last[0], LayerState::default(), "nothing came");
        for _ in 0..TICKS * 3 {
            layers[0].note(now, 1_000, true);
            layers[1].note(now, 4_000, false);
            layers[1].note(now, 4_000, true);
            now += limits::LAYER_TICK;
            last = states(now, &mut layers);
            // From the first tick on, not only after a second.
            let told: Vec<u64> = last[..2].iter().map(|state| state.bitrate_bps).collect();
            assert_eq!(told, [64_000, 512_000]);
            assert_eq!(last[1].frames_per_second, 8);
            assert!(last[0].is_active && last[1].is_active && !last[2].is_active);
        }
        for _ in 0..TICKS {
            layers[0].note(now, 1_000, true);
            now += limits::LAYER_TICK;
            last = states(now, &mut layers);
        }
        assert_eq!(last[1].bitrate_bps, 0);
        assert!(
            last[0].is_active && !last[1].is_active,
            "it fell silent alone"
        );
        for _ in 0..TICKS {
            last = states(now, &mut layers);
        }
        assert!(last[0].is_active, "all are silent");
    }

    #[test]
    fn a_change_of_numbers_is_no_change_of_shape() {
        let mut layers = [layer(&["l"], None), layer(&["h"], None)];
        let silent = states(Instant::now(), &mut layers);
        layers[0].note(Instant::now(), 1_000, true);
        let one = states(Instant::now(), &mut layers);
        assert!(differ_in_shape(&silent, &one));
        let mut other = one;
        other[0].bitrate_bps += 1;
        other[0].frames_per_second += 1;
        assert!(!differ_in_shape(&one, &other));
        let (width, height) = (640, 360);
        layers[0].note_size(Some(PictureSize { width, height }));
        layers[0].note_size(None);
        let sized = states(Instant::now(), &mut layers);
        assert_eq!((sized[0].width, sized[0].height), (640, 360));
        assert!(differ_in_shape(&one, &sized));
    }

    #[test]
    fn layers_inside_a_stream_are_told_with_those_they_need() {
        let mut meter = ScaleMeter::default();
        let mut now = Instant::now();
        assert!(meter.infos().is_empty());
        for _ in 0..TICKS {
            for (spatial, temporal, size) in [(0, 0, 100), (0, 1, 50), (1, 0, 400), (1, 1, 200)] {
                let scale = Scale {
                    spatial,
                    temporal,
                    switches_up: false,
                    opens: 0,
                    ends_frame: true,
                    is_discardable: false,
                };
                meter.note(now, size, scale);
            }
            now += limits::LAYER_TICK;
            meter.tick();
        }
        let (width, height) = (640, 360);
        meter.note_sizes([PictureSize { width, height }].into_iter());
        let states = meter.tick();
        assert_eq!((states[0].width, states[1].width), (640, 0));
        assert!(states[1].is_active && !states[2].is_active);
        assert_eq!(states[1].temporal_count, 2);
        meter.tick();
        let infos = meter.infos();
        let ids: Vec<_> = infos
            .iter()
            .map(|info| (info.spatial_id, info.temporal_id))
            .collect();
        assert_eq!(ids, [(0, 0), (0, 1), (1, 0), (1, 1)]);
        // 100, 50, 400 and 200 bytes eight times a second, of which two ticks passed without any.
        let rates: Vec<_> = infos
            .iter()
            .map(|info| info.state.bitrate_bps / 48)
            .collect();
        assert_eq!(rates, [100, 150, 500, 750]);
        assert_eq!(states[1].bitrate_bps / 56, 750);
    }

    #[test]
    fn the_temporal_layers_of_simulcast_layers_are_told_with_those_they_need() {
        let mut now = Instant::now();
        let mut layers = [layer(&["l"], None), layer(&["h"], None)];
        let mut last = states(now, &mut layers);
        for _ in 0..TICKS {
            layers[0].note(now, 400, true);
            for (temporal, size) in [(0, 500), (2, 100), (1, 300), (2, 100)] {
                layers[1].note(now, size, true);
                let scale = Scale {
                    spatial: 0,
                    temporal,
                    switches_up: false,
                    opens: 0,
                    ends_frame: true,
                    is_discardable: false,
                };
                layers[1].note_scale(now, size, scale);
            }
            now += limits::LAYER_TICK;
            last = states(now, &mut layers);
        }
        assert_eq!(last[0].temporal_count, 0, "it has none");
        assert_eq!(layers[0].temporal_states(last[0]).len(), 1);
        assert_eq!(last[1].temporal_count, 3);
        assert_eq!(last[1].temporal_percent, [50, 80, 100, 100]);
        let told = layers[1].temporal_states(last[1]);
        let told: Vec<_> = told
            .iter()
            .map(|state| (state.bitrate_bps, state.frames_per_second))
            .collect();
        assert_eq!(told, [(32_000, 8), (51_200, 16), (64_000, 32)]);
    }

    #[test]
    fn a_stream_of_one_layer_has_none_to_tell() {
        let mut meter = ScaleMeter::default();
        let scale = Scale {
            spatial: 0,
            temporal: 0,
            switches_up: false,
            opens: 0,
            ends_frame: true,
            is_discardable: false,
        };
        meter.note(Instant::now(), 100, scale);
        assert_eq!(meter.tick()[0].temporal_count, 1);
        assert!(meter.infos().is_empty());
        // More than are told apart count as the highest that is.
        meter.note(
            Instant::now(),
            100,
            Scale {
                spatial: 7,
                temporal: 7,
                ..scale
            },
        );
        assert!(meter.tick()[LAYERS_MAX - 1].is_active);
    }
}
