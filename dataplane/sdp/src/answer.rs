//! The answer, rendered.

use crate::local::Local;
use crate::plan::Plan;

/// Renders the answer to the offer that led to `plan`.
#[must_use]
pub fn render_answer(plan: &Plan, local: &Local) -> String {
    let _ = (plan, local);
    String::new()
}
