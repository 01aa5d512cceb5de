//! Whether a layer comes, or could be had where its sender leaves it out because it was told to.

use std::time::Instant;

use whitewater_link::LayerState;

use crate::limits;

/// What of a layer's silence is our own doing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Presence {
    /// Nothing: it counts as what comes of it.
    #[default]
    AsHeard,
    /// It is not sent, and was this before.
    LeftOut(LayerState),
    /// It was asked for again, and may be on its way.
    CalledBack(LayerState, Instant),
}

impl Presence {
    /// What is told of the layer, of which `state` was measured.
    pub(super) fn settle(&mut self, now: Instant, state: &mut LayerState) {
        match *self {
            Presence::AsHeard => {}
            Presence::LeftOut(known) => *state = known,
            Presence::CalledBack(known, at) => {
                let waited = now.saturating_duration_since(at);
                // By then it is measured over a second, if it came.
                if waited >= limits::LAYER_BACK_WITHIN {
                    *self = Presence::AsHeard;
                } else {
                    *state = known;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_layer_that_is_left_out_can_be_had_until_it_does_not_come_back() {
        let known = LayerState {
            is_active: true,
            bitrate_bps: 900_000,
            ..LayerState::default()
        };
        let now = Instant::now();
        let settled = |presence: &mut Presence, at| {
            let mut state = LayerState::default();
            presence.settle(at, &mut state);
            state
        };
        let mut presence = Presence::LeftOut(known);
        assert_eq!(
            settled(&mut presence, now + Duration::from_secs(600)),
            known
        );

        let mut presence = Presence::CalledBack(known, now);
        let soon = now + limits::LAYER_BACK_WITHIN / 2;
        assert_eq!(settled(&mut presence, soon), known);
        let late = now + limits::LAYER_BACK_WITHIN;
        assert!(!settled(&mut presence, late).is_active, "measured");
        assert!(matches!(presence, Presence::AsHeard));
    }
}
