//! Which of a viewer's payload types can carry a publisher's.

use crate::plan::CodecPlan;

/// How well two payload types fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// The viewer could not decode it.
    None,
    /// The viewer can decode it, though its parameters differ.
    Compatible,
    /// The parameters that matter are the same.
    Exact,
}

/// Whether what `publisher` describes can be sent as what `viewer` describes.
#[must_use]
pub fn codec_match(publisher: &CodecPlan, viewer: &CodecPlan) -> Match {
    let _ = (publisher, viewer);
    Match::None
}

/// Maps each payload type of a publisher to the viewer's best one; RTX ones to RTX ones.
#[must_use]
pub fn map_payload_types(publisher: &[CodecPlan], viewer: &[CodecPlan]) -> [Option<u8>; 128] {
    let _ = (publisher, viewer);
    [None; 128]
}
