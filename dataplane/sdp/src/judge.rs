//! The rules.

use crate::capabilities::{Capabilities, Role};
use crate::error::Unsupported;
use crate::offer::Offer;
use crate::plan::Plan;

/// Applies the rules of WHIP or WHEP to an offer.
///
/// # Errors
/// [`Unsupported`] names the section and the reason.
pub fn judge(offer: &Offer, role: Role, capabilities: &Capabilities) -> Result<Plan, Unsupported> {
    let _ = (offer, role, capabilities);
    Err(Unsupported::session("the rules are not there yet"))
}
