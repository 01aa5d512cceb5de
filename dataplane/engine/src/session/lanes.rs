//! What two nodes know of the layers that pass between them one by one.

use std::time::{Duration, Instant};

use whitewater_link::{LAYERS_MAX, LayerState};
use whitewater_sdp::{MediaKind, Plan, TrackPlan};

use crate::forward::choice::Offered;
use crate::forward::egress::bit;
use crate::forward::layers::IngressLayer;
use crate::limits;

/// The layers that another node is sent one by one.
#[derive(Debug)]
pub struct Lanes {
    /// What they are called, in the publisher's order; none where it had one layer.
    pub names: Vec<String>,
    /// Those the path had no room for, one bit each.
    shed: u8,
    /// Since when it has had room for one of them again.
    fits_since: Option<Instant>,
}

impl Lanes {
    /// As agreed; `None` of a viewer that knows nothing of lanes.
    pub fn planned(plan: &Plan) -> Option<Self> {
        let names = video(plan)?.lanes.as_ref()?.iter();
        Some(Lanes {
            names: names.map(|lane| lane.rid.clone()).collect(),
            shed: 0,
            fits_since: None,
        })
    }

    /// Whether a layer that is not sent now, and fits or does not, is sent from now on. What was
    /// left out for want of room has to fit for a while.
    pub fn admits(&mut self, now: Instant, layer: u8, fits: bool) -> bool {
        if !fits {
            self.fits_since = None;
            self.shed |= bit(layer);
            return false;
        }
        if self.shed & bit(layer) != 0 {
            let since = *self.fits_since.get_or_insert(now);
            if now.saturating_duration_since(since) < limits::LAYER_UP_AFTER {
                return false;
            }
        }
        self.fits_since = None;
        self.shed &= !bit(layer);
        true
    }
}

/// Which of a publisher's layers are asked for, where that is another node: one copy of each that
/// somebody here has use for.
#[derive(Debug, Default)]
pub struct Wishes {
    unused_since: [Option<Instant>; LAYERS_MAX],
    told_at: Option<Instant>,
}

impl Wishes {
    /// `None` of a publisher that sends one layer, or knows nothing of lanes.
    pub fn planned(plan: &Plan) -> Option<Self> {
        let lanes = video(plan)?.lanes.as_ref()?;
        (lanes.len() > 1).then(Wishes::default)
    }

    /// Decides which layers are left out, by which are of use here, one bit each, and what they
    /// carry; true if that is to be told now.
    pub fn settle(
        &mut self,
        now: Instant,
        in_use: u8,
        layers: &mut [IngressLayer],
        states: &[LayerState; LAYERS_MAX],
    ) -> bool {
        let mut wanted = in_use;
        let flowing = (0..).zip(states).filter(|(_, state)| state.is_active);
        if !flowing.clone().any(|(layer, _)| in_use & bit(layer) != 0) {
            // Who comes first finds something, and the link is seen to live.
            let offered = Offered {
                rids: &[],
                count: layers.len(),
                states,
            };
            let smallest = offered.ascending().into_iter().find(|&layer| {
                let state = states.get(usize::from(layer));
                state.is_some_and(|state| state.is_active)
            });
            wanted |= smallest.map_or(0, bit);
        }
        let mut is_news = false;
        for (((index, state), layer), since) in
            (0..).zip(states).zip(layers).zip(&mut self.unused_since)
        {
            if wanted & bit(index) != 0 {
                *since = None;
                is_news |= layer.is_left_out();
                layer.call_back(now);
            } else if state.is_active && !layer.is_left_out() {
                let since = *since.get_or_insert(now);
                if now.saturating_duration_since(since) >= limits::LAYER_UNUSED_FOR {
                    layer.leave_out(*state);
                    is_news = true;
                }
            }
        }
        let is_time = |at| now.saturating_duration_since(at) >= limits::LAYER_WISH_INTERVAL;
        let is_told = is_news || self.told_at.is_none_or(is_time);
        if is_told {
            self.told_at = Some(now);
        }
        is_told
    }
}

fn video(plan: &Plan) -> Option<&TrackPlan> {
    plan.tracks().find(|track| track.kind == MediaKind::Video)
}

const _: () = assert!(
    limits::LAYER_UNUSED_FOR.as_millis() > Duration::from_secs(1).as_millis(),
    "what is left out was measured"
);

#[cfg(test)]
mod tests {
    use super::*;

    fn layers() -> ([IngressLayer; 3], [LayerState; LAYERS_MAX]) {
        let mut states = [LayerState::default(); LAYERS_MAX];
        for (state, bps) in states.iter_mut().zip([900_000, 300_000, 100_000]) {
            (state.is_active, state.bitrate_bps) = (true, bps);
        }
        (Default::default(), states)
    }

    fn left_out(layers: &[IngressLayer]) -> Vec<bool> {
        layers.iter().map(IngressLayer::is_left_out).collect()
    }

    #[test]
    fn a_layer_is_left_out_once_nobody_has_used_it_for_a_while() {
        let (mut layers, states) = layers();
        let mut wishes = Wishes::default();
        let start = Instant::now();
        assert!(
            wishes.settle(start, 0b001, &mut layers, &states),
            "told at once"
        );
        assert_eq!(left_out(&layers), [false; 3]);
        let soon = start + Duration::from_millis(125);
        assert!(!wishes.settle(soon, 0b001, &mut layers, &states), "no news");
        let later = start + limits::LAYER_UNUSED_FOR;
        assert!(wishes.settle(later, 0b001, &mut layers, &states));
        assert_eq!(left_out(&layers), [false, true, true]);
        // Wanted again, if only for a moment: it has its time again.
        let again = later + Duration::from_millis(125);
        assert!(wishes.settle(again, 0b011, &mut layers, &states));
        assert_eq!(left_out(&layers), [false, false, true]);
        let after = again + Duration::from_millis(125);
        wishes.settle(after, 0b001, &mut layers, &states);
        assert_eq!(left_out(&layers), [false, false, true]);
        let end = after + limits::LAYER_UNUSED_FOR;
        wishes.settle(end, 0b001, &mut layers, &states);
        assert_eq!(left_out(&layers), [false, true, true]);
    }

    #[test]
    fn where_nobody_watches_the_smallest_layer_goes_on() {
        let (mut layers, mut states) = layers();
        let mut wishes = Wishes::default();
        let start = Instant::now();
        wishes.settle(start, 0, &mut layers, &states);
        let later = start + limits::LAYER_UNUSED_FOR;
        wishes.settle(later, 0, &mut layers, &states);
        assert_eq!(left_out(&layers), [true, true, false]);
        // It ceases: the next larger one is called back.
        states[2].is_active = false;
        assert!(wishes.settle(later, 0, &mut layers, &states));
        assert_eq!(left_out(&layers), [true, false, false]);
    }

    #[test]
    fn a_layer_that_does_not_flow_is_not_left_out_so_that_it_is_seen_to_return() {
        let (mut layers, mut states) = layers();
        states[0].is_active = false;
        let mut wishes = Wishes::default();
        let start = Instant::now();
        for seconds in 0..10 {
            let now = start + Duration::from_secs(seconds);
            wishes.settle(now, 0b100, &mut layers, &states);
        }
        assert_eq!(left_out(&layers), [false, true, false]);
    }

    #[test]
    fn what_had_no_room_comes_back_once_there_has_been_some_for_a_while() {
        let mut lanes = Lanes {
            names: vec!["h".to_owned(), "l".to_owned()],
            shed: 0,
            fits_since: None,
        };
        let now = Instant::now();
        assert!(lanes.admits(now, 0, true), "wanted for the first time");
        assert!(!lanes.admits(now, 0, false));
        assert!(!lanes.admits(now, 0, true));
        let early = now + limits::LAYER_UP_AFTER / 2;
        assert!(!lanes.admits(early, 0, true));
        assert!(
            !lanes.admits(early, 0, false),
            "and from the beginning again"
        );
        let late = now + limits::LAYER_UP_AFTER;
        assert!(!lanes.admits(late, 0, true));
        assert!(lanes.admits(late + limits::LAYER_UP_AFTER, 0, true));
    }
}
