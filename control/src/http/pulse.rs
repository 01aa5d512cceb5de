//! Whether a connection is still used.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use hyper::header::CONTENT_TYPE;
use tokio::time::Instant;

use super::response::{Body, Response};

/// What a connection's requests do, and how long it may go on without a change of that.
pub(super) struct Pulse {
    state: Mutex<State>,
    /// For the first request.
    first_within: Duration,
    /// Between requests.
    idle_max: Duration,
    /// For a request with its answer, beyond `idle_max`.
    request_max: Duration,
}

struct State {
    asked: bool,
    /// Requests whose answer is not written.
    open: usize,
    /// Those of them which are event streams.
    lasting: usize,
    changed_at: Instant,
}

impl Pulse {
    pub(super) fn new(
        first_within: Duration,
        idle_max: Duration,
        request_max: Duration,
    ) -> Arc<Self> {
        Arc::new(Pulse {
            state: Mutex::new(State {
                asked: false,
                open: 0,
                lasting: 0,
                changed_at: Instant::now(),
            }),
            first_within,
            idle_max,
            request_max,
        })
    }

    /// A request begins; it ends when the answer that the guard is put into is written, or when
    /// the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.change(|state| {
            state.asked = true;
            state.open += 1;
        });
        Busy {
            pulse: self.clone(),
            lasts: false,
        }
    }

    /// When to look again; `None` when the connection has been of no use for too long.
    pub(super) fn look_again_at(&self, now: Instant) -> Option<Instant> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.lasting > 0 {
            return Some(now + self.idle_max);
        }
        let max = match (state.asked, state.open) {
            (false, _) => self.first_within,
            (true, 0) => self.idle_max,
            (true, _) => self.idle_max + self.request_max,
        };
        Some(state.changed_at + max).filter(|until| *until > now)
    }

    fn change(&self, how: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        how(&mut state);
        state.changed_at = Instant::now();
    }
}

/// One request that is being served.
pub(super) struct Busy {
    pulse: Arc<Pulse>,
    lasts: bool,
}

impl Busy {
    /// Goes along with the answer until all of it is written.
    pub(super) fn with(mut self, response: Response) -> Response {
        let content_type = response.headers().get(CONTENT_TYPE);
        if content_type.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
            self.lasts = true;
            self.pulse.change(|state| state.lasting += 1);
        }
        response.map(|body| Watched { body, _busy: self }.boxed_unsync())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let lasts = self.lasts;
        self.pulse.change(|state| {
            state.open -= 1;
            state.lasting -= usize::from(lasts);
        });
    }
}

struct Watched {
    body: Body,
    _busy: Busy,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::response::{empty, full};
    use hyper::StatusCode;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_connection_lasts_as_long_as_it_is_used() {
        let pulse = Pulse::new(SECOND, 5 * SECOND, 20 * SECOND);
        let in_seconds = |count| Instant::now() + SECOND * count;
        let lasts = |count| pulse.look_again_at(in_seconds(count)).is_some();
        assert!(lasts(0));
        assert!(!lasts(2), "no request yet");
        let busy = pulse.begin();
        assert!(lasts(24));
        assert!(!lasts(26), "a request that never ends");
        drop(busy.with(empty(StatusCode::NO_CONTENT)));
        assert!(lasts(4));
        assert!(!lasts(6), "idle for too long");
        let again = pulse.begin();
        assert!(lasts(24), "used again");
        drop(again);
    }

    #[test]
    fn an_event_stream_lasts() {
        let pulse = Pulse::new(SECOND, 5 * SECOND, 20 * SECOND);
        let hour = Instant::now() + 3600 * SECOND;
        let events = full(StatusCode::OK, "text/event-stream", "x");
        let events = pulse.begin().with(events);
        assert_eq!(pulse.look_again_at(hour), Some(hour + 5 * SECOND));
        drop(events);
        assert_eq!(pulse.look_again_at(hour), None);
    }
}
