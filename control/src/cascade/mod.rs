//! Streams that come from other servers (WHEP) or go there (WHIP), this node being the client.
//!
//! Each is a *link*: a task that brings a session about, brings it about again when it breaks, and
//! ends the far session when nobody wants it any more. What a link may call is decided in
//! [`far`]; that streams never come back to where they have been, by [`way`].

mod failure;
mod far;
mod link;
mod restart;
pub(crate) mod way;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use whitewater_link::{CloseReason, SessionId, SessionState};
use whitewater_model::{Error, NodeId, StreamName};

use crate::auth::Grant;
use crate::context::{Context, now};
use crate::http::problem::Problem;
use crate::outbound::Url;
use crate::random;
use failure::Failure;
use far::Caller;
use link::Link;

/// Where a stream goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// It comes here, from a WHEP URL.
    Pull,
    /// It goes to a WHIP URL.
    Push,
}

impl Direction {
    /// The word for it in logs and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Direction::Pull => "pull",
            Direction::Push => "push",
        }
    }
}

/// What a caller of the API wants.
pub(crate) struct Wish {
    pub(crate) direction: Direction,
    pub(crate) url: String,
    pub(crate) token: Option<String>,
}

/// What the data plane told of a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct News {
    state: SessionState,
    closed: Option<CloseReason>,
    uncarried: bool,
}

/// All links of this node.
pub(crate) struct Cascades {
    /// What this node is called in the way of a stream.
    pub(crate) node: NodeId,
    caller: Caller,
    starts: mpsc::Sender<Start>,
    book: Mutex<Book>,
    /// Attempts that succeeded, and those that failed by [`Failure::LABELS`].
    succeeded: AtomicU64,
    failed: [AtomicU64; Failure::LABELS.len()],
}

/// A link that is to be kept up, and who waits for it.
pub(crate) struct Start {
    link: Link,
    told: oneshot::Sender<Result<(), Problem>>,
    id: u64,
}

#[derive(Default)]
struct Book {
    links: HashMap<u64, Entry>,
    serial: u64,
    sessions: HashMap<SessionId, watch::Sender<News>>,
}

struct Entry {
    stream: StreamName,
    direction: Direction,
    url: String,
    standing: Standing,
    end: watch::Sender<bool>,
}

/// How a link stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) phase: Phase,
    /// Why there is no session, or the last one ended.
    pub(crate) failure: Option<&'static str>,
    /// Attempts in vain since the last session was connected.
    pub(crate) failures: u32,
}

/// What a link is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A session is being made, or waits for its first packet.
    Connecting,
    /// Media can flow.
    Connected,
    /// Between two attempts.
    Resting,
}

impl Phase {
    /// The word for it in the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Phase::Connecting => "connecting",
            Phase::Connected => "connected",
            Phase::Resting => "resting",
        }
    }
}

/// A link as it is told.
pub(crate) struct View {
    pub(crate) direction: Direction,
    /// Without what may be secret.
    pub(crate) url: String,
    pub(crate) standing: Standing,
}

impl Entry {
    /// Whether a wish is for what this link does. One stream comes from one server, and is pushed to
    /// one URL once.
    fn is_for(&self, stream: &StreamName, direction: Direction, url: &str) -> bool {
        let same_way = match direction {
            Direction::Pull => true,
            Direction::Push => self.url == url,
        };
        self.stream == *stream && self.direction == direction && same_way && !*self.end.borrow()
    }
}

/// A link's place in the book.
struct Seat {
    context: Arc<Context>,
    id: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.context.cascades.leave(self.id);
    }
}

impl Cascades {
    /// None yet, and the end their task takes.
    ///
    /// # Errors
    /// When the kernel has no random bits.
    pub(crate) fn new(config: &crate::Cascade) -> io::Result<(Self, mpsc::Receiver<Start>)> {
        let node = random::bits().map(NodeId);
        let node = node.ok_or_else(|| io::Error::other("the kernel gives no random bits"))?;
        let (starts, receiver) = mpsc::channel(STARTS_MAX);
        let cascades = Cascades {
            node,
            caller: Caller::new(config),
            starts,
            book: Mutex::default(),
            succeeded: AtomicU64::new(0),
            failed: Default::default(),
        };
        Ok((cascades, receiver))
    }

    /// Keeps the links up, for as long as it is polled.
    pub(crate) async fn run(context: Arc<Context>, mut starts: mpsc::Receiver<Start>) {
        let mut links = JoinSet::new();
        loop {
            tokio::select! {
                start = starts.recv() => match start {
                    Some(Start { link, told, id }) => {
                        let context = context.clone();
                        links.spawn(async move {
                            let _seat = Seat { context: context.clone(), id };
                            link.keep(context, told).await;
                        });
                    }
                    None => return,
                },
                Some(ended) = links.join_next() => if ended.is_err_and(|error| error.is_panic()) {
                    tracing::error!("a link to another server panicked");
                },
            }
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.book().links.len()
    }

    /// How many there are in each direction.
    pub(crate) fn counts(&self) -> [(Direction, usize); 2] {
        let book = self.book();
        [Direction::Pull, Direction::Push].map(|direction| {
            let links = book.links.values();
            let count = links.filter(|entry| entry.direction == direction).count();
            (direction, count)
        })
    }

    /// Attempts by what came of them.
    pub(crate) fn attempts(&self) -> Vec<(&'static str, u64)> {
        let succeeded = ("succeeded", self.succeeded.load(Ordering::Relaxed));
        let failed = Failure::LABELS.iter().zip(&self.failed);
        let failed = failed.map(|(label, count)| (*label, count.load(Ordering::Relaxed)));
        std::iter::once(succeeded).chain(failed).collect()
    }

    /// The stream was destroyed: its links end, also those between two sessions.
    pub(crate) fn end_of(&self, stream: &StreamName) {
        let book = self.book();
        for entry in book.links.values().filter(|entry| entry.stream == *stream) {
            entry.end.send_replace(true);
        }
    }

    /// The server goes away.
    pub(crate) fn end_all(&self) {
        for entry in self.book().links.values() {
            entry.end.send_replace(true);
        }
    }

    /// The data plane's word on a session, which may be one of a link.
    pub(crate) fn hear_state(&self, session: SessionId, state: SessionState) {
        self.hear(session, |news| news.state = state);
    }

    /// As [`hear_state`](Self::hear_state), at its end.
    pub(crate) fn hear_closed(&self, session: SessionId, reason: CloseReason) {
        self.hear(session, |news| news.closed = Some(reason));
    }

    /// As [`hear_state`](Self::hear_state), when a publisher's codecs cannot be sent.
    pub(crate) fn hear_uncarried(&self, session: SessionId) {
        self.hear(session, |news| news.uncarried = true);
    }

    fn hear(&self, session: SessionId, change: impl FnOnce(&mut News)) {
        if let Some(news) = self.book().sessions.get(&session) {
            news.send_modify(change);
        }
    }

    fn listen(&self, session: SessionId) -> watch::Receiver<News> {
        let (news, receiver) = watch::channel(News {
            state: SessionState::New,
            closed: None,
            uncarried: false,
        });
        self.book().sessions.insert(session, news);
        receiver
    }

    fn forget(&self, session: SessionId) {
        self.book().sessions.remove(&session);
    }

    fn count(&self, failure: Option<&Failure>) {
        let Some(failure) = failure else {
            self.succeeded.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let labels = Failure::LABELS.iter().zip(&self.failed);
        for (_, count) in labels.filter(|(label, _)| **label == failure.label()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The links of a stream, the oldest first.
    pub(crate) fn of(&self, stream: &StreamName) -> Vec<View> {
        let book = self.book();
        let mut found: Vec<_> = book
            .links
            .iter()
            .filter(|(_, entry)| entry.stream == *stream && !*entry.end.borrow())
            .collect();
        found.sort_by_key(|(id, _)| **id);
        let view = |(_, entry): (&u64, &Entry)| View {
            direction: entry.direction,
            url: entry.url.clone(),
            standing: entry.standing,
        };
        found.into_iter().map(view).collect()
    }

    /// A link that lost its session and tries for another one gives way to a newer wish, which may
    /// be for another server, and is tried at once.
    async fn make_way(&self, stream: &StreamName, direction: Direction, url: &str) {
        let ended: Vec<_> = {
            let book = self.book();
            let tries = |entry: &&Entry| {
                let standing = entry.standing;
                standing.phase != Phase::Connected && standing.failure.is_some()
            };
            let same = book.links.values();
            let same = same.filter(|entry| entry.is_for(stream, direction, url));
            same.filter(tries)
                .map(|entry| {
                    entry.end.send_replace(true);
                    entry.end.subscribe()
                })
                .collect()
        };
        for mut ended in ended {
            // Its entry goes when its task ends, and the other end of this with it.
            let left = async { while ended.changed().await.is_ok() {} };
            let _ = timeout(WAY_MADE_WITHIN, left).await;
        }
    }

    /// A link stands otherwise now.
    fn note(&self, id: u64, change: impl FnOnce(&mut Standing)) {
        if let Some(entry) = self.book().links.get_mut(&id) {
            change(&mut entry.standing);
        }
    }

    fn leave(&self, id: u64) {
        self.book().links.remove(&id);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Brings a stream here or takes it away, as the wish says; the link lives on when this returns.
///
/// # Errors
/// Why it is not, in words for the caller.
pub(crate) async fn start(
    context: &Context,
    stream: &StreamName,
    wish: Wish,
    grant: Grant,
) -> Result<(), Problem> {
    let url = Url::parse(&wish.url);
    if let Ok(url) = &url {
        let shown = link::shown(url);
        context
            .cascades
            .make_way(stream, wish.direction, &shown)
            .await;
    }
    look(context, stream, wish.direction)?;
    let field = match wish.direction {
        Direction::Pull => "sourceUrl",
        Direction::Push => "targetUrl",
    };
    let url = url.map_err(|why| Problem::bad_request(format!("{field}: {why}")))?;
    let token = wish.token.as_deref().map(far::authorization);
    let token = token.transpose().map_err(Problem::bad_request)?;
    let shown = link::shown(&url);
    let (end, ended) = watch::channel(false);
    let id = enter(context, stream, wish.direction, &shown, end)?;
    let link = Link {
        id,
        stream: stream.clone(),
        direction: wish.direction,
        url,
        shown,
        token,
        grant,
        end: ended,
    };
    let (told, result) = oneshot::channel();
    let start = Start { link, told, id };
    if context.cascades.starts.try_send(start).is_err() {
        context.cascades.leave(id);
        return Err(Problem::overloaded(
            "too many links to other servers begin now",
        ));
    }
    match result.await {
        // The link goes on, or has left the book itself.
        Ok(result) => result,
        // Its task ended: so does the server.
        Err(_) => Err(Error::Draining.into()),
    }
}

/// What can be said before anybody is called.
fn look(context: &Context, stream: &StreamName, direction: Direction) -> Result<(), Problem> {
    let view = context.registry().stream(stream, now());
    match (direction, view) {
        (Direction::Push, None) => Err(Error::NoSuchStream.into()),
        (Direction::Pull, Some(view)) if !view.publish.sessions.is_empty() => Err(Problem::new(
            StatusCode::CONFLICT,
            "the stream has a publisher already",
        )),
        _ => Ok(()),
    }
}

/// A link's entry in the book.
fn enter(
    context: &Context,
    stream: &StreamName,
    direction: Direction,
    url: &str,
    end: watch::Sender<bool>,
) -> Result<u64, Problem> {
    let mut book = context.cascades.book();
    let mut links = book.links.values();
    if links.any(|entry| entry.is_for(stream, direction, url)) {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "there is such a link already",
        ));
    }
    if book.links.len() >= context.config.cascade.links_max {
        let max = context.config.cascade.links_max;
        return Err(Problem::overloaded(format!(
            "the limit cascade.links_max of {max} is reached"
        )));
    }
    book.serial += 1;
    let id = book.serial;
    let entry = Entry {
        stream: stream.clone(),
        direction,
        url: url.to_owned(),
        standing: Standing {
            phase: Phase::Connecting,
            failure: None,
            failures: 0,
        },
        end,
    };
    book.links.insert(id, entry);
    Ok(id)
}

/// How long a link may take to give way.
const WAY_MADE_WITHIN: Duration = Duration::from_secs(1);
/// Links that begin at the same moment.
const STARTS_MAX: usize = 64;
