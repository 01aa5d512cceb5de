//! Scalable video: which of the layers inside one stream go to a viewer.
//!
//! A picture of VP9 has a frame for each spatial layer, and pictures belong to temporal layers
//! (RFC 9628 §3). What lies above a viewer's layer is left out of its numbering. Going down is possible
//! at every picture; going up only where the decoder lacks nothing: in space at a key picture, in time
//! at a picture that says so.

use whitewater_link::Scale;
use whitewater_rtp::payload::vp9;

/// One viewer's place in a scalable stream.
#[derive(Clone, Copy, Debug)]
pub struct ScaleGate {
    target: Limit,
    now: Limit,
    /// What was decided for the latest pictures, by timestamp.
    pictures: [Option<Picture>; PICTURES],
    at: usize,
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
        }
    }
}

impl ScaleGate {
    /// Chooses the layers to be sent; true if that is another choice than before.
    pub fn aim(&mut self, target: Limit) -> bool {
        let is_news = self.target != target;
        self.target = target;
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
    }

    /// Whether the chosen spatial layer has to wait for a key picture.
    pub fn awaits_key(&self) -> bool {
        self.now.spatial < self.target.spatial
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
        if let Some(picture) = self.picture(timestamp) {
            if key && !picture.is_cut {
                // Its first packet came late.
                picture.limit = target;
                self.now = target;
            }
            return self
                .picture(timestamp)
                .map_or(target, |picture| picture.limit);
        }
        self.now = if key { target } else { self.now.min(target) };
        let is_up = scale.temporal > self.now.temporal && scale.temporal <= target.temporal;
        if is_up && scale.switches_up {
            self.now.temporal = scale.temporal;
        }
        let picture = Picture {
            timestamp,
            limit: self.now,
            is_cut: false,
        };
        if let Some(place) = self.pictures.get_mut(self.at) {
            *place = Some(picture);
        }
        self.at = (self.at + 1) % PICTURES;
        self.now
    }

    fn picture(&mut self, timestamp: u32) -> Option<&mut Picture> {
        let mut known = self.pictures.iter_mut().flatten();
        known.find(|picture| picture.timestamp == timestamp)
    }
}

fn ends_picture(limit: Limit, scale: Scale) -> bool {
    scale.ends_frame && scale.spatial == limit.spatial
}

/// Where a VP9 packet belongs; `None` where it does not say.
pub fn read(codec: whitewater_rtp::Codec, payload: &[u8]) -> Option<Scale> {
    if codec != whitewater_rtp::Codec::Vp9 {
        return None;
    }
    let descriptor = vp9::Descriptor::parse(payload)?;
    let layer = descriptor.layer?;
    Some(Scale {
        spatial: layer.spatial_id,
        temporal: layer.temporal_id,
        switches_up: layer.switching_up_point,
        ends_frame: descriptor.end_of_frame,
    })
}

/// Pictures remembered, for packets that come late or again: half a second.
const PICTURES: usize = 16;

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
                    ends_frame: last,
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
            ends_frame: true,
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
            ends_frame: false,
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
