//! The layers of a video track, and which of them a viewer wants.

/// Layers of one video track that are told apart; an offer of more is answered with these.
pub const LAYERS_MAX: usize = 4;

/// All layers of a track, one bit each.
pub const LAYERS_ALL: u8 = (1 << LAYERS_MAX) - 1;

/// What one layer of a video track carries now: a simulcast layer, or a spatial one of a scalable
/// stream together with those below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerState {
    /// Whether it flows while others do.
    pub is_active: bool,
    /// Measured over the last second; 0 while nothing comes.
    pub bitrate_bps: u64,
    /// Pixels across; 0 while no key frame has told.
    pub width: u16,
    /// Pixels down; 0 while no key frame has told.
    pub height: u16,
    /// Measured over the last second.
    pub frames_per_second: u16,
    /// Temporal layers that were seen inside it; 0 where it has none that are told apart.
    pub temporal_count: u8,
    /// What its temporal layers take of the bit rate, each with those below it, in percent; 0 where it
    /// has none that are told apart.
    pub temporal_percent: [u8; LAYERS_MAX],
}

impl LayerState {
    /// Pixels of a picture; 0 while no key frame has told.
    #[must_use]
    pub fn area(&self) -> u32 {
        u32::from(self.width) * u32::from(self.height)
    }
}

/// One layer of a publisher's video.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerInfo {
    /// Of a simulcast layer: its rid (RFC 8852), or its place among the sources of an older client.
    pub rid: Option<String>,
    /// Its place among the others by size, 0 the smallest.
    pub spatial_id: u8,
    /// Its place in time, 0 the slowest; 0 where there is one.
    pub temporal_id: u8,
    /// What it carries, with the layers below that it needs.
    pub state: LayerState,
}

/// What a viewer asks for; what is absent is left to the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only this encoding.
    pub rid: Option<String>,
    /// Only this spatial layer, 0 the smallest.
    pub spatial_id: Option<u32>,
    /// Only this temporal layer, 0 the slowest.
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
    #[must_use]
    pub fn is_automatic(&self) -> bool {
        *self == Selection::default()
    }
}
