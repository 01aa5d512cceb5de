//! `/api/drain`: taking the node out of service without taking the picture from anybody.
//!
//! From the start of a drain on offers are answered 503, and players that listen are asked to come
//! again elsewhere. Sessions that are left at the deadline are ended. The end of the process begins
//! in the same way.

use std::time::Duration;

use hyper::header::CONTENT_TYPE;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use whitewater_model::{Counts, Drain, Error, Purpose};

use crate::context::Context;
use crate::http::body::{self, read_json};
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::http::response::{Response, empty, full, json};
use crate::negotiate;

/// What a drain is to be like; unknown members are left.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wish {
    #[serde(default, deserialize_with = "body::whole")]
    deadline_seconds: Option<u32>,
    reconnect_url: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reconnect_url: Option<String>,
    sessions: Left,
}

/// Sessions that are left.
#[derive(Serialize)]
struct Left {
    publish: usize,
    subscribe: usize,
    pending: usize,
    closing: usize,
}

/// `/api/drain`: GET looks, POST begins or changes, DELETE takes back.
pub(crate) async fn serve(context: &Context, request: &mut Request) -> Result<Response, Problem> {
    match request.method {
        Method::POST => {
            let wish = read_wish(context, request).await?;
            let template = template(context, wish.reconnect_url)?;
            let patience = patience(wish.deadline_seconds)?;
            if is_ending(context) {
                return Err(ending());
            }
            begin(context, Purpose::Maintenance, patience, template);
            Ok(full(
                StatusCode::ACCEPTED,
                "application/json",
                render(context),
            ))
        }
        Method::DELETE => {
            take_back(context)?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        _ => Ok(json(render(context))),
    }
}

/// Refuses what is only for a node in service.
///
/// # Errors
/// 503 while it drains.
pub(crate) fn refuse(context: &Context) -> Result<(), Problem> {
    if context.registry().is_draining() {
        return Err(Error::Draining.into());
    }
    Ok(())
}

/// The process is about to end: players that listen have `drain_max` to leave. Who does not listen
/// is not waited for.
pub(crate) async fn before_the_end(context: &Context) {
    let patience = context.config.drain_max;
    let earlier = context.events.away_template();
    let template = earlier.or_else(|| context.config.redirects.play.clone());
    begin(context, Purpose::Shutdown, patience, template);
    let deadline = Instant::now() + patience;
    while context.events.departures_left(context) > 0 && Instant::now() < deadline {
        sleep(LOOK_EVERY).await;
    }
}

/// Waits until no session is left, `drain_max` at most.
pub(crate) async fn until_empty(context: &Context) {
    let deadline = Instant::now() + context.config.drain_max;
    loop {
        // Links tell the servers that they were clients of.
        let left = sum(&context.registry().counts()) + context.cascades.len();
        if left == 0 {
            return;
        }
        if Instant::now() >= deadline {
            tracing::warn!(left, "sessions left at the end of the drain");
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}

fn begin(context: &Context, purpose: Purpose, patience: Duration, template: Option<String>) {
    let _one = context.drain_changes.lock();
    let counts = context.act(|registry, now| {
        registry.begin_drain(purpose, patience, now);
        registry.counts()
    });
    tracing::info!(?purpose, ?patience, left = sum(&counts), "draining");
    context.events.send_away(template);
}

fn take_back(context: &Context) -> Result<(), Problem> {
    let _one = context.drain_changes.lock();
    // Not locked for longer: players are looked at before the registry elsewhere.
    let taken_back = context.registry().cancel_drain();
    if taken_back {
        context.events.let_stay();
        tracing::info!("the drain was taken back");
        return Ok(());
    }
    if is_ending(context) {
        return Err(ending());
    }
    Err(Problem::not_found("the server does not drain"))
}

fn is_ending(context: &Context) -> bool {
    let drain = context.registry().drain();
    drain.is_some_and(|drain| drain.purpose == Purpose::Shutdown)
}

fn ending() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "the server ends: nothing changes that any more",
    )
}

/// No body asks for what is usual.
async fn read_wish(context: &Context, request: &mut Request) -> Result<Wish, Problem> {
    if request.headers.contains_key(CONTENT_TYPE) {
        return read_json(context, request).await;
    }
    let limits = &context.config.limits;
    let body = request
        .read_body(limits.json_size_max, limits.body_timeout)
        .await?;
    if body.is_empty() {
        return Ok(Wish::default());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "the Content-Type has to be application/json",
    ))
}

fn patience(seconds: Option<u32>) -> Result<Duration, Problem> {
    let seconds = seconds.unwrap_or(DEADLINE_S);
    if seconds > DEADLINE_S_MAX {
        return Err(Problem::unprocessable(format!(
            "deadlineSeconds is at most {DEADLINE_S_MAX}, a day"
        )));
    }
    Ok(Duration::from_secs(seconds.into()))
}

fn template(context: &Context, url: Option<String>) -> Result<Option<String>, Problem> {
    let Some(url) = url.filter(|url| !url.is_empty()) else {
        return Ok(context.config.redirects.play.clone());
    };
    if url.len() > URL_LEN_MAX || !negotiate::is_url_template(&url) {
        return Err(Problem::unprocessable(
            "reconnectUrl is an absolute http or https URL without a password, as \
             https://b.example/whep/{stream}",
        ));
    }
    Ok(Some(url))
}

fn render(context: &Context) -> Vec<u8> {
    let reconnect_url = context.events.away_template();
    let registry = context.registry();
    let counts = registry.counts();
    let drain = registry.drain();
    drop(registry);
    let shown = Shown {
        state: state(drain, sum(&counts)),
        started_at: drain.map(|drain| drain.since.unix_ms),
        deadline_at: drain.map(|drain| drain.deadline.unix_ms),
        reconnect_url,
        sessions: Left {
            publish: counts.publishers,
            subscribe: counts.viewers,
            pending: counts.pending,
            closing: counts.closing,
        },
    };
    // Strings and numbers always serialise.
    serde_json::to_vec(&shown).unwrap_or_default()
}

fn state(drain: Option<Drain>, left: usize) -> &'static str {
    match drain {
        None => "serving",
        Some(_) if left > 0 => "draining",
        Some(_) => "drained",
    }
}

fn sum(counts: &Counts) -> usize {
    counts.publishers + counts.viewers + counts.pending + counts.closing
}

/// Where nothing else is asked for: longer than any player needs, shorter than people wait.
const DEADLINE_S: u32 = 30;
const DEADLINE_S_MAX: u32 = 86_400;
const URL_LEN_MAX: usize = 2048;
const LOOK_EVERY: Duration = Duration::from_millis(20);
