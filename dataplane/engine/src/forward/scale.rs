//! Scalable video: which of the layers inside one stream go to a viewer.
//!
//! A picture of VP9 or AV1 has a frame for each spatial layer, and pictures belong to temporal layers
//! (RFC 9628 §3, RFC 7741 §4.2, the dependency descriptor). What lies above a viewer's layer is left out
//! of its numbering. Going down is possible at every picture; going up only where the decoder lacks
//! nothing: in space at a key picture, in time at a picture that says so.

use whitewater_link::Scale;
use whitewater_rtp::Codec;
use whitewater_rtp::dependency::Frame;
use whitewater_rtp::payload::{vp8, vp9};
use whitewater_rtp::seq::is_newer_u32;

/// One viewer's place in a scalable stream.
#[derive(Clone, Copy, Debug)]
pub struct ScaleGate {
    target: Limit,
    now: Limit,
    /// What was decided for the latest pictures, by timestamp.
    pictures: [Option<Picture>; PICTURES],
    at: usize,
    /// The newest picture so far.
    newest: Option<u32>,
    /// Pictures left out since one of a chosen layer might have been the way up.
    missed: u8,
}

/// The highest layers that pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Spatial layer.
    pub spatial: u8,
    /// Temporal layer.
    pub temporal: u8,
}

impl Limit {
    /// Everything passes.
    pub const NONE: Self = Limit {
        spatial: u8::MAX,
        temporal: u8::MAX,
    };

    fn min(self, other: Self) -> Self {
        Limit {
            spatial: self.spatial.min(other.spatial),
            temporal: self.temporal.min(other.temporal),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Picture {
    timestamp: u32,
    limit: Limit,
    /// Something of it was left out already.
    is_cut: bool,
}

impl Default for ScaleGate {
    fn default() -> Self {
        ScaleGate {
            target: Limit::NONE,
            now: Limit::NONE,
            pictures: [None; PICTURES],
            at: 0,
            newest: None,
            missed: 0,
        }
    }
}

impl ScaleGate {
    /// Chooses the layers to be sent; true if that is another choice than before.
    pub fn aim(&mut self, target: Limit) -> bool {
        let is_news = self.target != target;
        self.target = target;
        self.missed = 0;
        is_news
    }

    /// What was chosen.
    pub fn target(&self) -> Limit {
        self.target
    }

    /// Another source begins, with a key picture.
    pub fn restart(&mut self) {
        self.now = self.target;
        self.pictures = [None; PICTURES];
        self.newest = None;
        self.missed = 0;
    }

    /// Spatial and temporal layer up to which pictures pass now; `None` where all do.
    pub fn cut(&self) -> Option<(u8, u8)> {
        (self.now != Limit::NONE).then_some((self.now.spatial, self.now.temporal))
    }

    /// Whether the chosen layer has to wait for a key picture: the spatial one always, the temporal one
    /// where no picture opens the way to it.
    pub fn awaits_key(&self) -> bool {
        self.now.spatial < self.target.spatial || self.missed >= MISSED_MAX
    }

    /// Whether a packet passes, and with which marker bit: the last packet of the highest frame that
    /// passes ends the picture. `key` says that a key picture starts here.
    #[inline]
    pub fn admit(&mut self, timestamp: u32, marker: bool, key: bool, scale: Scale) -> Option<bool> {
        let is_base = (scale.spatial, scale.temporal) == (0, 0);
        if is_base && self.now == Limit::NONE && self.target == Limit::NONE {
            return Some(marker);
        }
        let limit = self.limit_of(timestamp, key, scale);
        if scale.spatial > limit.spatial || scale.temporal > limit.temporal {
            if let Some(picture) = self.picture(timestamp) {
                picture.is_cut = true;
            }
            return None;
        }
        Some(marker || ends_picture(limit, scale))
    }

    /// The marker bit of a packet that is sent again.
    pub fn marker_again(&self, timestamp: u32, marker: bool, scale: Option<Scale>) -> bool {
        let known = self.pictures.iter().flatten();
        let picture = known.into_iter().find(|known| known.timestamp == timestamp);
        let limit = picture.map_or(self.now, |picture| picture.limit);
        marker || scale.is_some_and(|scale| ends_picture(limit, scale))
    }

    fn limit_of(&mut self, timestamp: u32, key: bool, scale: Scale) -> Limit {
        let target = self.target;
        let newest = self.newest;
        if let Some(picture) = self.picture(timestamp) {
            if key && !picture.is_cut && newest == Some(timestamp) {
                // Its first packet came late.
                picture.limit = target;
                self.now = target;
            }
            return self
                .picture(timestamp)
                .map_or(target, |picture| picture.limit);
        }
        // What came before a picture that overtook others was left out for good.
        let is_newest = newest.is_none_or(|newest| is_newer_u32(timestamp, newest));
        self.now = match key && is_newest {
            true => target,
            false => self.now.min(target),
        };
        let opened = if is_newest { self.opened_by(scale) } else { 0 };
        if is_newest {
            self.newest = Some(timestamp);
        }
        if opened > self.now.temporal {
            self.now.temporal = opened.min(target.temporal);
            self.missed = 0;
        }
        let is_missed = scale.temporal > self.now.temporal && scale.temporal <= target.temporal;
        self.missed = match (key, is_missed) {
            (true, _) => 0,
            (false, true) => self.missed.saturating_add(1),
            (false, false) => self.missed,
        };
        // One that was overtaken passes where its neighbours did.
        let known = self.pictures.iter().flatten().filter(|_| !is_newest);
        let limit = known.fold(self.now, |least, picture| least.min(picture.limit));
        let picture = Picture {
            timestamp,
            limit,
            is_cut: false,
        };
        if let Some(place) = self.pictures.get_mut(self.at) {
            *place = Some(picture);
        }
        self.at = (self.at + 1) % PICTURES;
        limit
    }

    /// The temporal layer that a picture is the way to; 0 where it is none.
    fn opened_by(&self, scale: Scale) -> u8 {
        let now = self.now.temporal;
        if scale.temporal <= now {
            // It is decoded itself.
            return scale.opens;
        }
        // It needs what is below it, and what comes after it may need that too.
        let is_next = scale.temporal == now.saturating_add(1);
        let is_wanted = scale.temporal <= self.target.temporal;
        match scale.switches_up && is_next && is_wanted {
            true => scale.temporal,
            false => 0,
        }
    }

    fn picture(&mut self, timestamp: u32) -> Option<&mut Picture> {
        // Nearly always the newest.
        let newest = (self.at + PICTURES - 1) % PICTURES;
        let is_it = |place: Option<&Option<Picture>>| {
            let picture = place.and_then(Option::as_ref);
            picture.is_some_and(|picture| picture.timestamp == timestamp)
        };
        if is_it(self.pictures.get(newest)) {
            return self.pictures.get_mut(newest)?.as_mut();
        }
        let mut known = self.pictures.iter_mut().flatten();
        known.find(|picture| picture.timestamp == timestamp)
    }
}

fn ends_picture(limit: Limit, scale: Scale) -> bool {
    scale.ends_frame && scale.spatial == limit.spatial
}

/// Where a packet belongs, by its payload or else by its dependency descriptor; `None` where neither
/// says.
pub fn read(codec: Codec, payload: &[u8], marker: bool, frame: Option<Frame>) -> Option<Scale> {
    match codec {
        Codec::Vp9 => {
            let descriptor = vp9::Descriptor::parse(payload)?;
            let layer = descriptor.layer?;
            Some(Scale {
                spatial: layer.spatial_id,
                temporal: layer.temporal_id,
                switches_up: layer.switching_up_point,
                opens: 0,
                ends_frame: descriptor.end_of_frame,
                // It tells of what is needed within a picture only.
                is_discardable: false,
            })
        }
        Codec::Vp8 => {
            let descriptor = vp8::Descriptor::parse(payload)?;
            Some(Scale {
                spatial: 0,
                temporal: descriptor.temporal_id?,
                switches_up: descriptor.layer_sync,
                opens: 0,
                ends_frame: marker,
                is_discardable: descriptor.non_reference,
            })
        }
        _ => frame.map(|frame| Scale {
            spatial: frame.spatial,
            temporal: frame.temporal,
            switches_up: false,
            opens: frame.opens,
            ends_frame: frame.is_end,
            is_discardable: frame.is_discardable,
        }),
    }
}

/// Pictures remembered, for packets that come late or again: half a second.
const PICTURES: usize = 16;

/// Pictures of a chosen temporal layer that are left out before the publisher is asked for a key
/// picture: more than any pattern has between two ways up, and some four seconds.
const MISSED_MAX: u8 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const fn limit(spatial: u8, temporal: u8) -> Limit {
        Limit { spatial, temporal }
    }

    /// A picture of three spatial layers, two packets each: which pass, and where it ends.
    fn picture(
        gate: &mut ScaleGate,
        number: u32,
        key: bool,
        temporal: u8,
        up: bool,
    ) -> Vec<(u8, bool)> {
        let mut passed = Vec::new();
        for spatial in 0..3 {
            for last in [false, true] {
                let scale = Scale {
                    spatial,
                    temporal,
                    switches_up: up,
                    opens: 0,
                    ends_frame: last,
                    is_discardable: false,
                };
                let marker = spatial == 2 && last;
                let starts = key && spatial == 0 && !last;
                if let Some(marker) = gate.admit(number * 3_000, marker, starts, scale) {
                    passed.push((spatial, marker));
                }
            }
        }
        passed
    }

    fn up_to(spatial: u8) -> Vec<(u8, bool)> {
        let frames = (0..=spatial).flat_map(|layer| [(layer, false), (layer, layer == spatial)]);
        frames.collect()
    }

    #[test]
    fn without_a_choice_everything_passes_as_it_is() {
        let mut gate = ScaleGate::default();
        for number in 0..20 {
            assert_eq!(picture(&mut gate, number, number == 0, 2, false), up_to(2));
        }
        assert!(!gate.awaits_key());
    }

    #[test]
    fn down_in_space_at_the_next_picture_up_at_the_next_key_picture() {
        let mut gate = ScaleGate::default();
        gate.restart();
        assert_eq!(picture(&mut gate, 0, true, 0, false), up_to(2));
        assert!(gate.aim(limit(0, 7)));
        assert!(!gate.aim(limit(0, 7)));
        assert_eq!(picture(&mut gate, 1, false, 0, false), up_to(0));
        gate.aim(limit(1, 7));
        assert!(gate.awaits_key());
        assert_eq!(
            picture(&mut gate, 2, false, 0, true),
            up_to(0),
            "it would lack the past"
        );
        assert_eq!(picture(&mut gate, 3, true, 0, false), up_to(1));
        assert!(!gate.awaits_key());
        assert_eq!(picture(&mut gate, 4, false, 0, false), up_to(1));
    }

    #[test]
    fn up_in_time_only_where_a_picture_allows_it() {
        // RFC 9628 §4.2: U.
        let mut gate = ScaleGate::default();
        gate.aim(limit(2, 0));
        gate.restart();
        picture(&mut gate, 0, true, 0, false);
        assert!(picture(&mut gate, 1, false, 2, true).is_empty());
        gate.aim(limit(2, 2));
        assert!(!gate.awaits_key(), "no key picture is needed");
        assert!(picture(&mut gate, 2, false, 1, false).is_empty());
        assert_eq!(picture(&mut gate, 3, false, 0, false), up_to(2));
        assert_eq!(picture(&mut gate, 4, false, 1, true), up_to(2));
        assert!(picture(&mut gate, 5, false, 2, false).is_empty(), "not yet");
        assert_eq!(picture(&mut gate, 6, false, 2, true), up_to(2));
        gate.aim(limit(2, 1));
        assert!(picture(&mut gate, 7, false, 2, true).is_empty());
        assert_eq!(picture(&mut gate, 8, false, 1, false), up_to(2));
    }

    #[test]
    fn a_packet_that_comes_late_or_again_is_judged_as_its_picture_was() {
        let mut gate = ScaleGate::default();
        gate.restart();
        picture(&mut gate, 0, true, 0, false);
        picture(&mut gate, 1, false, 0, false);
        gate.aim(limit(0, 7));
        picture(&mut gate, 2, false, 0, false);
        let top = Scale {
            spatial: 2,
            temporal: 0,
            switches_up: false,
            opens: 0,
            ends_frame: true,
            is_discardable: false,
        };
        let base = Scale { spatial: 0, ..top };
        assert_eq!(gate.admit(3_000, true, false, top), Some(true));
        assert_eq!(gate.admit(6_000, true, false, top), None);
        assert!(gate.marker_again(6_000, false, Some(base)));
        assert!(!gate.marker_again(3_000, false, Some(base)));
        assert!(!gate.marker_again(3_000, false, None));
    }

    #[test]
    fn a_key_picture_of_which_something_was_left_out_is_no_way_up() {
        let mut gate = ScaleGate::default();
        gate.aim(limit(0, 7));
        gate.restart();
        picture(&mut gate, 0, true, 0, false);
        gate.aim(limit(2, 7));
        let top = Scale {
            spatial: 2,
            temporal: 0,
            switches_up: false,
            opens: 0,
            ends_frame: false,
            is_discardable: false,
        };
        let base = Scale { spatial: 0, ..top };
        assert_eq!(
            gate.admit(3_000, false, false, top),
            None,
            "it overtook the start"
        );
        assert_eq!(gate.admit(3_000, false, true, base), Some(false));
        assert!(gate.awaits_key());
        // Where the base alone was overtaken nothing is lost.
        assert_eq!(gate.admit(6_000, false, false, base), Some(false));
        assert_eq!(gate.admit(6_000, false, true, base), Some(false));
        assert!(!gate.awaits_key());
        assert_eq!(gate.admit(6_000, false, false, top), Some(false));
    }
}
