//! A session whose path is gone: another one is looked for by an ICE restart (RFC 9725 §4.3.3).

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;
use whitewater_link::{CloseReason, SessionId, SessionState};

use super::Phase;
use super::failure::Failure;
use super::link::{Link, Up};
use crate::context::Context;
use crate::http::problem::Problem;
use crate::negotiate;
use crate::plane::{Ask, PatchReply};

impl Link {
    /// Whether a restart finds a path to a server that is not heard of any more; false as soon as it
    /// does not know the session, or once that takes too long.
    pub(super) async fn finds_a_path(&mut self, context: &Context, up: &mut Up) -> bool {
        let is_new = |at: Instant| at.elapsed() < RESTARTS_APART;
        if up.restarted_at.is_some_and(is_new) {
            return false;
        }
        up.restarted_at = Some(Instant::now());
        // Whoever wants another link meanwhile has it.
        context.cascades.note(self.id, |standing| {
            standing.phase = Phase::Connecting;
            standing.failure = Some(CloseReason::PeerLost.as_str());
        });
        let (mut end, mut news) = (self.end.clone(), up.news.clone());
        let searched = async {
            restart(context, up).await?;
            let heard = |news: &super::News| {
                news.state != SessionState::Disconnected || news.closed.is_some()
            };
            let _ = up.news.wait_for(heard).await;
            Ok::<(), Failure>(())
        };
        let found = tokio::select! {
            found = timeout(PATH_WITHIN, searched) => found.unwrap_or(Err(Failure::TimedOut)),
            // What ends is not searched for.
            _ = end.wait_for(|end| *end) => Ok(()),
            _ = news.wait_for(|news| news.closed.is_some()) => Ok(()),
        };
        if found.is_ok() {
            context.cascades.note(self.id, |standing| {
                standing.phase = Phase::Connected;
                standing.failure = None;
            });
        }
        if let Err(why) = &found {
            tracing::debug!(session = ?up.session, %why, "no other path to the server");
        } else {
            tracing::info!(session = ?up.session, "another path to the server");
        }
        found.is_ok()
    }
}

/// New credentials on both sides.
async fn restart(context: &Context, up: &Up) -> Result<(), Failure> {
    let PatchReply::Restarted { fragment, .. } = step(context, up.session, None).await? else {
        return Err(Failure::Here(Problem::internal()));
    };
    let caller = &context.cascades.caller;
    let answer = caller.restart(&up.far, fragment).await?;
    match step(context, up.session, Some(answer)).await? {
        PatchReply::Trickled => Ok(()),
        _ => Err(Failure::Misshapen(
            "its fragment cannot be taken".to_owned(),
        )),
    }
}

/// One step of it in the data plane.
async fn step(
    context: &Context,
    session: SessionId,
    answer: Option<String>,
) -> Result<PatchReply, Failure> {
    let shard = context.registry().shard_of(session);
    let shard = shard.ok_or_else(|| Failure::Here(Problem::internal()))?;
    let gate = context.gates.enter(session).await.map_err(Failure::Here)?;
    let (reply, receiver) = oneshot::channel();
    let ask = Ask::Restart {
        session,
        shard,
        answer,
        reply,
        gate,
    };
    if !context.line.ask(ask) {
        return Err(Failure::NotNow(negotiate::busy()));
    }
    receiver
        .await
        .map_err(|_| Failure::Here(Problem::internal()))
}

/// From the restart to the first word over another path. A new session takes little longer.
const PATH_WITHIN: Duration = Duration::from_secs(3);
/// A path that is lost again so soon is none.
const RESTARTS_APART: Duration = Duration::from_secs(30);
