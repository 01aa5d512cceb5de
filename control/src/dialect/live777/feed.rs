//! The stream list, rendered once for everybody who asks for it.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::render;
use crate::auth::{Grant, Guard};
use crate::context::{Context, now};
use crate::http::crowd::{Crowd, Place};
use crate::http::problem::Problem;
use crate::http::response::Response;

/// Keeps the last rendering and hands it out.
pub(crate) struct Feed {
    cache: Mutex<Option<Arc<Snapshot>>>,
    pushes: watch::Sender<Option<Arc<Snapshot>>>,
}

/// The stream list at one revision of the registry.
pub(crate) struct Snapshot {
    revision: u64,
    /// Name and JSON, sorted by name.
    streams: Vec<(String, Bytes)>,
    /// The JSON array of all.
    whole: Bytes,
    /// The same as one event.
    event: Bytes,
}

impl Default for Feed {
    fn default() -> Self {
        Feed {
            cache: Mutex::new(None),
            pushes: watch::Sender::new(None),
        }
    }
}

impl Feed {
    /// The list as it is now. Rendered anew only when something changed.
    pub(crate) fn current(&self, context: &Context) -> Arc<Snapshot> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let registry = context.registry();
        let revision = registry.revision();
        if let Some(snapshot) = cache.as_ref().filter(|cached| cached.revision == revision) {
            return snapshot.clone();
        }
        let views = registry.streams(now());
        drop(registry);
        context.counters.count_rendering();
        let streams = views
            .iter()
            .map(|view| (view.name.to_string(), Bytes::from(render::stream(view))))
            .collect();
        let snapshot = Arc::new(Snapshot::new(revision, streams));
        *cache = Some(snapshot.clone());
        snapshot
    }

    /// Tells the event clients of changes, for as long as it is polled.
    pub(crate) async fn run(context: Arc<Context>) {
        let feed = &context.feed;
        let mut told = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let revision = context.registry().revision();
            if feed.pushes.receiver_count() == 0 || told == Some(revision) {
                continue;
            }
            let snapshot = feed.current(&context);
            told = Some(snapshot.revision);
            feed.pushes.send_replace(Some(snapshot));
            tokio::time::sleep(EVENT_GAP - LOOK_EVERY).await;
        }
    }
}

impl Snapshot {
    fn new(revision: u64, streams: Vec<(String, Bytes)>) -> Self {
        let whole = join(streams.iter().map(|(_, json)| json));
        Snapshot {
            revision,
            event: event(&whole),
            streams,
            whole,
        }
    }

    /// The JSON array of the streams that are `wanted`, of all when none is named.
    pub(super) fn list(&self, wanted: &[String]) -> Bytes {
        if wanted.is_empty() {
            return self.whole.clone();
        }
        let chosen = self.streams.iter();
        join(
            chosen
                .filter(|(name, _)| wanted.contains(name))
                .map(|(_, json)| json),
        )
    }

    fn event(&self, wanted: &[String]) -> Bytes {
        if wanted.is_empty() {
            self.event.clone()
        } else {
            event(&self.list(wanted))
        }
    }
}

/// One client of the event stream.
struct Client {
    wanted: Vec<String>,
    /// What comes first, at once.
    first: Option<Arc<Snapshot>>,
    pushes: watch::Receiver<Option<Arc<Snapshot>>>,
    ending: watch::Receiver<bool>,
    guard: Arc<Guard>,
    grant: Grant,
    sent: Bytes,
    sent_revision: u64,
    sent_at: Instant,
    _places: (OwnedSemaphorePermit, [Place; 2]),
}

impl Client {
    /// The next event or keep-alive; `None` when the server goes away or the client has to.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(self.send(&first).unwrap_or_default());
        }
        let mut ending = self.ending.clone();
        let unwelcome = lost(self.guard.clone(), self.grant.clone());
        tokio::select! {
            event = self.next_event() => event,
            _ = ending.wait_for(|ending| *ending) => None,
            () = unwelcome => None,
        }
    }

    async fn next_event(&mut self) -> Option<Bytes> {
        tokio::time::sleep_until(self.sent_at + EVENT_GAP).await;
        let keep_alive_at = Instant::now().max(self.sent_at) + KEEP_ALIVE;
        loop {
            tokio::select! {
                changed = self.pushes.changed() => changed.ok()?,
                () = tokio::time::sleep_until(keep_alive_at) => {
                    return Some(Bytes::from_static(b":\n\n"));
                }
            }
            let snapshot = self.pushes.borrow_and_update().clone();
            if let Some(event) = snapshot.and_then(|snapshot| self.send(&snapshot)) {
                return Some(event);
            }
        }
    }

    /// The event for a snapshot, unless the client has it already.
    fn send(&mut self, snapshot: &Snapshot) -> Option<Bytes> {
        let event = snapshot.event(&self.wanted);
        if snapshot.revision <= self.sent_revision && !self.sent.is_empty() || event == self.sent {
            return None;
        }
        self.sent_revision = snapshot.revision;
        self.sent_at = Instant::now();
        self.sent = event.clone();
        Some(event)
    }
}

/// The answer to a client that wants events.
pub(super) fn events(
    context: &Context,
    wanted: Vec<String>,
    grant: &Grant,
    source: IpAddr,
) -> Result<Response, Problem> {
    let permit = context
        .sse_clients
        .clone()
        .try_acquire_owned()
        .map_err(|_| Problem::overloaded("too many clients listen already"))?;
    let place = |sources: &Arc<Crowd>| {
        let place = sources.enter(source);
        place.ok_or_else(|| Problem::overloaded("too many clients of this address listen already"))
    };
    let places = [place(&context.sse_sources)?, place(&context.event_sources)?];
    let client = Client {
        wanted,
        // Subscribed first, so that no change falls between.
        pushes: context.feed.pushes.subscribe(),
        first: Some(context.feed.current(context)),
        ending: context.ending.subscribe(),
        guard: context.guard.clone(),
        grant: grant.clone(),
        sent: Bytes::new(),
        sent_revision: 0,
        sent_at: Instant::now(),
        _places: (permit, places),
    };
    let frames = stream::unfold(client, |mut client| async move {
        let bytes = client.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(bytes)), client))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// Waits until the grant has ended or was taken back.
pub(crate) async fn lost(guard: Arc<Guard>, grant: Grant) {
    let mut changes = guard.changes();
    let standing = async {
        while guard.stands(grant.authority.as_ref(), now()) {
            // The sender lives as long as the guard.
            let _ = changes.changed().await;
        }
    };
    match grant.until() {
        Some(until) => {
            let _ = tokio::time::timeout_at(Instant::from_std(until), standing).await;
        }
        None => standing.await,
    }
}

fn join<'a>(parts: impl Iterator<Item = &'a Bytes>) -> Bytes {
    let mut whole = BytesMut::from(&b"["[..]);
    for (index, part) in parts.enumerate() {
        if index > 0 {
            whole.put_u8(b',');
        }
        whole.put_slice(part);
    }
    whole.put_u8(b']');
    whole.freeze()
}

/// JSON has no line breaks of its own, so it is one `data` line.
fn event(json: &Bytes) -> Bytes {
    let mut event = BytesMut::with_capacity(json.len() + 8);
    event.put_slice(b"data: ");
    event.put_slice(json);
    event.put_slice(b"\n\n");
    event.freeze()
}

/// How soon a change is seen.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The least time between two events.
const EVENT_GAP: Duration = Duration::from_secs(1);
/// Below the usual idle limits of proxies.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

const _: () = assert!(LOOK_EVERY.as_millis() < EVENT_GAP.as_millis());
