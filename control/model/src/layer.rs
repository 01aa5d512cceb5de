//! The layers of a stream's video, and whether they are what a viewer wants.

use whitewater_link::{LayerInfo, Selection};

/// One encoding of a stream's video, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// The simulcast encoding's rid.
    pub rid: Option<String>,
    /// The spatial layer, 0 the smallest.
    pub spatial_id: u32,
    /// The temporal layer, 0 the slowest.
    pub temporal_id: u32,
    /// What is sent now; 0 when nothing is.
    pub bitrate_bps: u64,
    /// Pixels across, where known.
    pub width: Option<u32>,
    /// Pixels down, where known.
    pub height: Option<u32>,
}

impl Layer {
    /// Whether it is within what is asked for. A size that is not known is within any.
    pub fn meets(&self, selection: &Selection) -> bool {
        let is = |wanted: Option<u32>, found: u32| wanted.is_none_or(|wanted| wanted == found);
        let within = |max: Option<u32>, found: Option<u32>| {
            max.zip(found).is_none_or(|(max, found)| found <= max)
        };
        (selection.rid.is_none() || selection.rid == self.rid)
            && is(selection.spatial_id, self.spatial_id)
            && is(selection.temporal_id, self.temporal_id)
            && within(selection.spatial_id_max, Some(self.spatial_id))
            && within(selection.temporal_id_max, Some(self.temporal_id))
            && within(selection.width_max, self.width)
            && within(selection.height_max, self.height)
    }
}

impl From<&LayerInfo> for Layer {
    fn from(info: &LayerInfo) -> Self {
        let side = |pixels: u16| (pixels > 0).then_some(u32::from(pixels));
        let state = info.state;
        Layer {
            rid: info.rid.clone(),
            spatial_id: info.spatial_id.into(),
            temporal_id: info.temporal_id.into(),
            bitrate_bps: if state.is_active {
                state.bitrate_bps
            } else {
                0
            },
            width: side(state.width),
            height: side(state.height),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_taken_if_it_meets_all_that_is_asked() {
        let layer = Layer {
            rid: Some("h".to_owned()),
            spatial_id: 1,
            temporal_id: 2,
            bitrate_bps: 1_000_000,
            width: Some(1280),
            height: None,
        };
        let base = Selection::default;
        let rid = |rid: &str| Some(rid.to_owned());
        for (selection, taken) in [
            (base(), true),
            (
                Selection {
                    rid: rid("h"),
                    ..base()
                },
                true,
            ),
            (
                Selection {
                    rid: rid("l"),
                    ..base()
                },
                false,
            ),
            (
                Selection {
                    spatial_id: Some(1),
                    ..base()
                },
                true,
            ),
            (
                Selection {
                    spatial_id: Some(0),
                    ..base()
                },
                false,
            ),
            (
                Selection {
                    temporal_id: Some(2),
                    ..base()
                },
                true,
            ),
            (
                Selection {
                    temporal_id: Some(3),
                    ..base()
                },
                false,
            ),
            (
                Selection {
                    spatial_id_max: Some(1),
                    ..base()
                },
                true,
            ),
            (
                Selection {
                    spatial_id_max: Some(0),
                    ..base()
                },
                false,
            ),
            (
                Selection {
                    temporal_id_max: Some(1),
                    ..base()
                },
                false,
            ),
            (
                Selection {
                    width_max: Some(1280),
                    ..base()
                },
                true,
            ),
            (
                Selection {
                    width_max: Some(1279),
                    ..base()
                },
                false,
            ),
            (
                Selection {
                    height_max: Some(1),
                    ..base()
                },
                true,
            ),
            (
                Selection {
                    rid: rid("h"),
                    spatial_id: Some(0),
                    ..base()
                },
                false,
            ),
        ] {
            assert_eq!(layer.meets(&selection), taken, "{selection:?}");
        }
    }

    #[test]
    fn what_does_not_flow_has_no_bit_rate_and_what_is_not_known_no_size() {
        let mut info = LayerInfo {
            rid: Some("h".to_owned()),
            spatial_id: 2,
            temporal_id: 1,
            state: whitewater_link::LayerState {
                is_active: true,
                bitrate_bps: 900,
                width: 640,
                height: 0,
                frames_per_second: 30,
                temporal_count: 0,
                temporal_percent: [0; 4],
            },
        };
        let layer = Layer::from(&info);
        assert_eq!((layer.rid.as_deref(), layer.spatial_id), (Some("h"), 2));
        assert_eq!(layer.temporal_id, 1);
        assert_eq!(
            (layer.bitrate_bps, layer.width, layer.height),
            (900, Some(640), None)
        );
        info.state.is_active = false;
        assert_eq!(Layer::from(&info).bitrate_bps, 0);
    }
}
