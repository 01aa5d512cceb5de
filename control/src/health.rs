//! For whoever starts and balances processes.

use std::time::Duration;

use hyper::StatusCode;

use crate::context::{Context, now};
use crate::drain;
use crate::http::problem::Problem;
use crate::http::response::{Response, full};

/// The process answers.
pub(crate) fn alive() -> Response {
    full(StatusCode::OK, "text/plain; charset=utf-8", "ok\n")
}

/// Every shard lives, new sessions are taken, and tokens can be checked.
pub(crate) fn ready(context: &Context) -> Result<Response, Problem> {
    drain::refuse(context)?;
    if context.guard.waits_for_keys() {
        return Err(Problem::overloaded(
            "no keys of tokens could be fetched yet; the log says why",
        ));
    }
    let at = now().mono;
    let shards = context.line.shards();
    let fresh = |status: &Option<crate::plane::ShardStatus>| {
        status
            .as_ref()
            .is_some_and(|status| at.saturating_duration_since(status.at) <= REPORT_AGE_MAX)
    };
    let fresh_count = shards.iter().filter(|status| fresh(status)).count();
    if fresh_count == shards.len() && context.plane_is_alive() {
        Ok(alive())
    } else {
        Err(Problem::overloaded(format!(
            "{fresh_count} of {} shards reported lately",
            shards.len()
        )))
    }
}

/// Reports come once a second.
const REPORT_AGE_MAX: Duration = Duration::from_secs(3);
