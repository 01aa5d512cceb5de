//! The server-sent events of the WHEP extensions: a viewer's player hears of its stream.
//!
//! A session's event streams are made by POST, read by long polls and end with the session. A task
//! looks at the streams that somebody listens to and queues what is new; nobody waits for a player.

mod kind;
mod subscription;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::{Method, StatusCode};
use tokio::sync::watch;
use whitewater_link::SessionId;
use whitewater_model::{Error, Side, StreamName};

use kind::{Kind, Wanted};
use subscription::{Next, Subscription};

use crate::auth::{Grant, Guard};
use crate::context::{Context, now};
use crate::dialect::live777;
use crate::http::crowd::Place;
use crate::http::media_type::{self, JSON};
use crate::http::path;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::http::response::{Response, empty};
use crate::negotiate;
use crate::random;
use crate::session;

/// The event streams of all sessions.
#[derive(Default)]
pub(crate) struct Events {
    listening: Mutex<Listening>,
}

#[derive(Default)]
struct Listening {
    watchers: HashMap<SessionId, Watcher>,
    /// Where players are sent, as long as they are sent away.
    away: Option<Away>,
}

/// All players are to leave.
struct Away {
    /// To this URL, with `{stream}` for the stream; none: to where they came in.
    template: Option<String>,
}

impl Away {
    fn url(&self, stream: &StreamName) -> Option<String> {
        let template = self.template.as_ref()?;
        Some(negotiate::fill(template, stream))
    }
}

/// One session that listens.
struct Watcher {
    stream: StreamName,
    /// By the id in their URLs.
    subscriptions: Vec<(SessionId, Arc<Subscription>)>,
}

impl Events {
    /// Looks at what is listened to, for as long as it is polled.
    pub(crate) async fn run(context: Arc<Context>) {
        let mut seen = None;
        let mut looked_at = Instant::now();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let revision = context.registry().revision();
            let at = Instant::now();
            // Bit rates sink without a change of the registry.
            let due = at.saturating_duration_since(looked_at) >= LOOK_ANYWAY;
            if seen != Some(revision) || due {
                seen = Some(revision);
                looked_at = at;
                context.events.look(&context);
            }
        }
    }

    fn look(&self, context: &Context) {
        let mut listening = self.listening();
        let watchers = &mut listening.watchers;
        if watchers.is_empty() {
            return;
        }
        let now = now();
        let registry = context.registry();
        let mut scenes = HashMap::new();
        let mut over = Vec::new();
        watchers.retain(|session, watcher| {
            let live = registry.is_live(*session);
            if !live {
                over.append(&mut watcher.subscriptions);
            } else if !scenes.contains_key(&watcher.stream) {
                let scene = registry.scene(&watcher.stream, now);
                scenes.insert(watcher.stream.clone(), scene);
            }
            live
        });
        drop(registry);
        for (_, subscription) in over {
            subscription.end();
        }
        for watcher in watchers.values() {
            if let Some(Some(scene)) = scenes.get(&watcher.stream) {
                for (_, subscription) in &watcher.subscriptions {
                    subscription.look(scene, now.mono);
                }
            }
        }
    }

    /// Asks one session's player to come again, after it has heard of what led to that.
    pub(crate) fn reconnect(&self, context: &Context, session: SessionId) {
        let listening = self.listening();
        let Some(watcher) = listening.watchers.get(&session) else {
            return;
        };
        let now = now();
        let scene = context.registry().scene(&watcher.stream, now);
        for (_, subscription) in &watcher.subscriptions {
            if let Some(scene) = &scene {
                subscription.look(scene, now.mono);
            }
            subscription.reconnect(None);
        }
    }

    /// Asks all players to leave, and those that listen from now on: to the URL `template` has with
    /// `{stream}` for the stream, or to where they came in.
    pub(crate) fn send_away(&self, template: Option<String>) {
        let mut listening = self.listening();
        let away = Away { template };
        for watcher in listening.watchers.values() {
            let url = away.url(&watcher.stream);
            for (_, subscription) in &watcher.subscriptions {
                subscription.reconnect(url.as_deref());
            }
        }
        listening.away = Some(away);
    }

    /// Nobody is asked to leave any more.
    pub(crate) fn let_stay(&self) {
        self.listening().away = None;
    }

    /// Where players are sent, if they are and there is such a place.
    pub(crate) fn away_template(&self) -> Option<String> {
        self.listening().away.as_ref()?.template.clone()
    }

    /// How many viewers live whose players hear when they are asked to leave.
    pub(crate) fn departures_left(&self, context: &Context) -> usize {
        let listening = self.listening();
        let registry = context.registry();
        let hears = |watcher: &Watcher| {
            let mut subscriptions = watcher.subscriptions.iter();
            subscriptions.any(|(_, subscription)| subscription.hears(Kind::Reconnect))
        };
        let watchers = listening.watchers.iter();
        watchers
            .filter(|(session, watcher)| registry.is_live(**session) && hears(watcher))
            .count()
    }

    fn listening(&self) -> MutexGuard<'_, Listening> {
        self.listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a player is told of the extensions, for the `Link` headers of its session.
pub(crate) fn links(session_url: &str) -> [String; 2] {
    let events = kind::all();
    [
        format!("<{session_url}/events>; rel=\"{EVENTS_REL}\"; events=\"{events}\""),
        format!("<{session_url}/layer>; rel=\"{LAYER_REL}\""),
    ]
}

/// POST of `/session/{stream}/{session}/events`: makes an event stream.
pub(crate) async fn create(
    context: &Context,
    stream: &StreamName,
    session: SessionId,
    request: &mut Request,
) -> Result<Response, Problem> {
    check(context, stream, session, request)?;
    let wanted = read_wanted(context, request).await?;
    // It may have ended while the body came.
    check(context, stream, session, request)?;
    let line = context.registry().video_line(session);
    let id = random::session_id().ok_or_else(Problem::internal)?;
    let subscription = Arc::new(Subscription::new(wanted, line));
    let away = {
        let mut listening = context.events.listening();
        let watcher = listening
            .watchers
            .entry(session)
            .or_insert_with(|| Watcher {
                stream: stream.clone(),
                subscriptions: Vec::new(),
            });
        if watcher.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "the session has as many event streams as it may have",
            )
            .retry_after(RETRY_AFTER));
        }
        watcher.subscriptions.push((id, subscription.clone()));
        listening.away.as_ref().map(|away| away.url(stream))
    };
    let now = now();
    let scene = context.registry().scene(stream, now);
    if let Some(scene) = scene {
        subscription.look(&scene, now.mono);
    }
    if let Some(url) = away {
        subscription.reconnect(url.as_deref());
    }
    let mut response = empty(StatusCode::CREATED);
    let location = format!("/session/{}/{session}/events/{id}", path::encode(stream));
    let location = HeaderValue::from_str(&location).map_err(|_| Problem::internal())?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// `/session/{stream}/{session}/events/{id}`: GET is a long poll, DELETE the end.
pub(crate) fn serve(
    context: &Context,
    stream: &StreamName,
    session: SessionId,
    id: SessionId,
    request: &Request,
) -> Result<Response, Problem> {
    check(context, stream, session, request)?;
    let mut listening = context.events.listening();
    let subscriptions = listening
        .watchers
        .get_mut(&session)
        .map(|watcher| &mut watcher.subscriptions)
        .ok_or_else(gone)?;
    let place = subscriptions.iter().position(|(known, _)| *known == id);
    let place = place.ok_or_else(gone)?;
    if request.method == Method::DELETE {
        let (_, subscription) = subscriptions.swap_remove(place);
        subscription.end();
        return Ok(empty(StatusCode::NO_CONTENT));
    }
    let (_, subscription) = subscriptions.get(place).ok_or_else(gone)?;
    // Before the poll that was open is ended for this one.
    let room = context.event_sources.enter(request.source);
    let room = room.ok_or_else(|| {
        Problem::overloaded("too many event streams of this address are open already")
    })?;
    let last = request.headers.get("last-event-id");
    let last = last.and_then(|last| last.to_str().ok()?.parse().ok());
    let poll = Poll {
        number: subscription.begin(last),
        subscription: subscription.clone(),
        ending: context.ending.subscribe(),
        guard: context.guard.clone(),
        grant: request.grant.clone(),
        greeted: false,
        _room: room,
    };
    let frames = stream::unfold(poll, |mut poll| async move {
        let bytes = poll.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(bytes)), poll))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// A player that listens.
struct Poll {
    number: u64,
    subscription: Arc<Subscription>,
    ending: watch::Receiver<bool>,
    guard: Arc<Guard>,
    grant: Grant,
    greeted: bool,
    /// Free again once nobody listens.
    _room: Place,
}

impl Poll {
    /// The next event or keep-alive; `None` when it is over.
    async fn next(&mut self) -> Option<Bytes> {
        if !std::mem::replace(&mut self.greeted, true) {
            // So that the head leaves at once.
            return Some(KEEP_ALIVE);
        }
        let lost = live777::lost(self.guard.clone(), self.grant.clone());
        tokio::select! {
            event = wait(&self.subscription, self.number) => event,
            _ = self.ending.wait_for(|ending| *ending) => None,
            () = lost => None,
            () = tokio::time::sleep(KEEP_ALIVE_EVERY) => Some(KEEP_ALIVE),
        }
    }
}

async fn wait(subscription: &Subscription, poll: u64) -> Option<Bytes> {
    loop {
        let news = subscription.news().notified();
        tokio::pin!(news);
        // Before it is looked, so that nothing falls between.
        news.as_mut().enable();
        match subscription.take(poll) {
            Next::Event(event) => return Some(event),
            Next::Over => return None,
            Next::Wait => news.await,
        }
    }
}

fn check(
    context: &Context,
    stream: &StreamName,
    session: SessionId,
    request: &Request,
) -> Result<(), Problem> {
    let found = session::find(context, stream, session, request)?;
    if found.side == Side::Publish {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "this session publishes; events are for viewers",
        ));
    }
    Ok(())
}

/// No body asks for all types.
async fn read_wanted(context: &Context, request: &mut Request) -> Result<Wanted, Problem> {
    let limits = &context.config.limits;
    if request.headers.contains_key(CONTENT_TYPE) {
        media_type::expect(&request.headers, &[JSON])?;
    }
    let body = request
        .read_body(limits.json_size_max, limits.body_timeout)
        .await?;
    if body.is_empty() {
        return Ok(Wanted::all());
    }
    media_type::expect(&request.headers, &[JSON])?;
    let names: Vec<String> = serde_json::from_slice(&body)
        .map_err(|_| Problem::bad_request("the body is not a JSON array of event names"))?;
    Wanted::read(&names).map_err(|_| {
        Problem::bad_request(format!(
            "there are no other events than {}",
            kind::all().replace(',', ", ")
        ))
    })
}

fn gone() -> Problem {
    Error::NoSuchSession.into()
}

const EVENTS_REL: &str = "urn:ietf:params:whep:ext:core:server-sent-events";
const LAYER_REL: &str = "urn:ietf:params:whep:ext:core:layer";
/// How soon a change is told.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOK_ANYWAY: Duration = Duration::from_secs(1);
/// Event streams of one session: a player needs one, and one more while it reloads.
const SUBSCRIPTIONS_MAX: usize = 4;
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Below the usual idle limits of proxies.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
const KEEP_ALIVE: Bytes = Bytes::from_static(b":\n\n");
