//! The layers of a stream's video, and which of them a viewer wants.

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

/// What a viewer asks for; what is absent is left to the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only this encoding.
    pub rid: Option<String>,
    /// Only this spatial layer.
    pub spatial_id: Option<u32>,
    /// Only this temporal layer.
    pub temporal_id: Option<u32>,
    /// No spatial layer above this one.
    pub spatial_id_max: Option<u32>,
    /// No temporal layer above this one.
    pub temporal_id_max: Option<u32>,
    /// No wider picture.
    pub width_max: Option<u32>,
    /// No higher picture.
    pub height_max: Option<u32>,
}

impl Selection {
    /// Whether everything is left to the server.
    pub fn is_automatic(&self) -> bool {
        *self == Selection::default()
    }

    /// Whether a layer is within what is asked for. A size that is not known is within any.
    pub fn takes(&self, layer: &Layer) -> bool {
        let is = |wanted: Option<u32>, found: u32| wanted.is_none_or(|wanted| wanted == found);
        let within = |max: Option<u32>, found: Option<u32>| {
            max.zip(found).is_none_or(|(max, found)| found <= max)
        };
        (self.rid.is_none() || self.rid == layer.rid)
            && is(self.spatial_id, layer.spatial_id)
            && is(self.temporal_id, layer.temporal_id)
            && within(self.spatial_id_max, Some(layer.spatial_id))
            && within(self.temporal_id_max, Some(layer.temporal_id))
            && within(self.width_max, layer.width)
            && within(self.height_max, layer.height)
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
            assert_eq!(selection.takes(&layer), taken, "{selection:?}");
        }
    }
}
