//! Counter-offers and the answers to them.

use crate::capabilities::Capabilities;
use crate::error::{Malformed, Refusal};
use crate::limits::Limits;
use crate::local::Local;
use crate::plan::{Plan, TrackPlan};

/// Renders an offer of our own, `sendonly` in each section.
#[must_use]
pub fn render_counter_offer(tracks: &[TrackPlan], local: &Local) -> String {
    let _ = (tracks, local);
    String::new()
}

/// Judges the answer to an offer rendered from `tracks`.
///
/// # Errors
/// [`Refusal`]: malformed, or not an answer to that offer.
pub fn judge_answer(
    tracks: &[TrackPlan],
    text: &str,
    limits: &Limits,
    capabilities: &Capabilities,
) -> Result<Plan, Refusal> {
    let _ = (tracks, text, limits, capabilities);
    Err(Malformed::session("not there yet").into())
}
