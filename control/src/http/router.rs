//! From a path to what it names, and from there to the handler.

use std::sync::OnceLock;

use hyper::Method;
use hyper::body::Incoming;
use hyper::header::ACCESS_CONTROL_REQUEST_METHOD;
use whitewater_link::{Locality, SessionId};
use whitewater_model::StreamName;

use super::problem::Problem;
use super::request::Request;
use super::response::Response;
use super::route::{self, Route as _, Scope, Shape, Table};
use super::{openapi, path};
use crate::MetricsAccess;
use crate::auth::{self, Rights};
use crate::context::{Context, now};
use crate::dialect::live777;
use crate::{assets, drain, events, health, metrics, negotiate, random, session, whep, whip};

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Whip,
    Whep,
    Session,
    Layer,
    Events,
    EventStream,
    StreamList,
    Stream,
    StreamEvents,
    Strategy,
    Info,
    OpenApi,
    Docs,
    Cascade,
    Drain,
    Revocations,
    Revocation,
    Metrics,
    Healthz,
    Readyz,
}

pub(super) const ROUTES: &[(&str, Route)] = &[
    ("/whip/{stream}", Route::Whip),
    ("/whep/{stream}", Route::Whep),
    ("/{app}/whip/endpoint/{stream}", Route::Whip),
    ("/{app}/whep/endpoint/{stream}", Route::Whep),
    ("/session/{stream}/{session}", Route::Session),
    ("/session/{stream}/{session}/layer", Route::Layer),
    ("/session/{stream}/{session}/events", Route::Events),
    (
        "/session/{stream}/{session}/events/{id}",
        Route::EventStream,
    ),
    ("/api/streams", Route::StreamList),
    ("/api/streams/{stream}", Route::Stream),
    ("/api/sse/streams", Route::StreamEvents),
    ("/api/strategy", Route::Strategy),
    ("/api/info", Route::Info),
    ("/api/openapi.json", Route::OpenApi),
    ("/api/docs", Route::Docs),
    ("/api/cascade/{stream}", Route::Cascade),
    ("/api/drain", Route::Drain),
    ("/api/auth/revocations", Route::Revocations),
    ("/api/auth/revocations/{id}", Route::Revocation),
    ("/metrics", Route::Metrics),
    ("/healthz", Route::Healthz),
    ("/readyz", Route::Readyz),
];

impl route::Route for Route {
    fn shape(self) -> Shape {
        match self {
            Route::Whip | Route::Whep => Shape::ENDPOINT,
            Route::Session => Shape::SESSION,
            Route::Layer => Shape::LAYER,
            Route::Events => Shape::EVENTS,
            Route::EventStream => Shape::EVENT_STREAM,
            Route::Stream | Route::Drain => Shape::THING,
            Route::Cascade | Route::Revocations => Shape::LIST,
            Route::Revocation => Shape::ENTRY,
            Route::StreamList
            | Route::StreamEvents
            | Route::Strategy
            | Route::Info
            | Route::OpenApi
            | Route::Docs
            | Route::Metrics => Shape::VIEW,
            Route::Healthz | Route::Readyz => Shape::PROBE,
        }
    }
}

impl Route {
    /// Asks for no credentials: for those who watch over processes, and the page before its reader
    /// has typed any in.
    pub(super) fn is_open(self) -> bool {
        matches!(
            self,
            Route::OpenApi | Route::Docs | Route::Healthz | Route::Readyz
        )
    }

    /// Tells what the server is and how it fares: `auth.metrics` says to whom.
    fn is_telling(self) -> bool {
        matches!(self, Route::Info | Route::Metrics)
    }
}

/// Answers one request, whatever it is.
pub(crate) async fn serve(
    context: &Context,
    scope: Scope,
    peer: std::net::SocketAddr,
    request: hyper::Request<Incoming>,
) -> Response {
    let (target, mut request) = route::open(context, peer, request);
    let outcome = dispatch(context, scope, &target, &mut request).await;
    route::close(context, &target, &mut request, outcome).await
}

async fn dispatch(
    context: &Context,
    scope: Scope,
    target: &str,
    request: &mut Request,
) -> Result<Response, Problem> {
    let Some((route, params)) = table().find(context, scope, target, request)? else {
        return assets::serve(target, request);
    };
    // Browsers ask before they send credentials (Fetch standard, "CORS-preflight fetch").
    if request.method == Method::OPTIONS {
        let mut response = route.options();
        if context.config.links_on_options {
            tell_servers(context, route, request, &mut response);
        }
        return Ok(response);
    }
    let is_free = route.is_open() || route.is_telling() && tells(context, request);
    if !is_free {
        let query = request.uri.query().unwrap_or_default();
        request.grant = context.guard.admit(&request.headers, query, now())?;
        let principal = &request.grant.principal;
        let limiter = &context.limiter;
        limiter.charge(&request.method, request.source, principal)?;
    }
    route.check_method(&request.method)?;
    let stream = |key| path::stream_name(params.get(key).unwrap_or_default());
    let published = || {
        let app = params.get("app");
        path::scoped_name(app, params.get("stream").unwrap_or_default())
    };
    match route {
        Route::Whip => {
            let stream = published()?;
            request.grant.on(&stream, Rights::PUBLISH)?;
            whip::serve(context, &stream, request).await
        }
        Route::Whep => {
            let stream = published()?;
            request.grant.on(&stream, Rights::SUBSCRIBE)?;
            whep::serve(context, &stream, request).await
        }
        Route::Session => {
            let (stream, session) = session_of(&params)?;
            session::serve(context, &stream, session, request).await
        }
        Route::Layer => {
            let (stream, session) = session_of(&params)?;
            live777::layer(context, &stream, session, request).await
        }
        Route::Events => {
            let (stream, session) = session_of(&params)?;
            events::create(context, &stream, session, request).await
        }
        Route::EventStream => {
            let (stream, session) = session_of(&params)?;
            let id = params.get("id").unwrap_or_default().parse();
            let id = id.map_err(|_| Problem::from(whitewater_model::Error::NoSuchSession))?;
            events::serve(context, &stream, session, id, request)
        }
        Route::StreamList => {
            request.grant.on_all(Rights::ADMIN)?;
            live777::list(context, request)
        }
        Route::Stream => {
            let stream = stream("stream")?;
            match request.method {
                Method::POST => request.grant.on_all(Rights::ADMIN)?,
                Method::DELETE => request.grant.on(&stream, Rights::ADMIN)?,
                _ => request.grant.on(&stream, Rights::ANY)?,
            }
            live777::stream(context, &stream, request)
        }
        Route::StreamEvents => {
            request.grant.on_all(Rights::ADMIN)?;
            live777::events(context, request)
        }
        Route::Strategy => {
            request.grant.on_all(Rights::ADMIN)?;
            Ok(live777::strategy(context))
        }
        Route::Info | Route::Metrics => {
            if !is_free {
                request.grant.on_all(Rights::ADMIN)?;
            }
            Ok(tell(context, route))
        }
        Route::OpenApi => Ok(openapi::serve()),
        Route::Docs => assets::serve("/docs.html", request),
        Route::Cascade => {
            let stream = stream("stream")?;
            request.grant.on(&stream, Rights::ADMIN)?;
            live777::cascade(context, &stream, request).await
        }
        Route::Drain => {
            request.grant.on_all(Rights::ADMIN)?;
            drain::serve(context, request).await
        }
        Route::Revocations | Route::Revocation => {
            request.grant.on_all(Rights::ADMIN)?;
            auth::revocations(context, params.get("id"), request).await
        }
        Route::Healthz => Ok(health::alive()),
        Route::Readyz => health::ready(context),
    }
}

/// Whether this client may see the metrics without asking further.
fn tells(context: &Context, request: &Request) -> bool {
    match context.config.auth.metrics {
        MetricsAccess::Open => true,
        MetricsAccess::Local => request.locality() == Locality::Loopback,
        MetricsAccess::Manage => false,
    }
}

fn tell(context: &Context, route: Route) -> Response {
    match route {
        Route::Metrics => metrics::serve(context),
        _ => live777::info(context),
    }
}

fn session_of(params: &matchit::Params<'_, '_>) -> Result<(StreamName, SessionId), Problem> {
    let stream = path::stream_name(params.get("stream").unwrap_or_default())?;
    let session = params.get("session").unwrap_or_default().parse();
    // What cannot be an id of ours names no session.
    let session = session.map_err(|_| Problem::from(whitewater_model::Error::NoSuchSession))?;
    Ok((stream, session))
}

/// RFC 9725 §4.6 lets OPTIONS tell the servers as well. A preflight comes without credentials from
/// any page's visitor, so it is not told; nor is anybody who could not POST.
fn tell_servers(context: &Context, route: Route, request: &Request, response: &mut Response) {
    let query = request.uri.query().unwrap_or_default();
    let is_preflight = request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if !matches!(route, Route::Whip | Route::Whep)
        || is_preflight
        || context.guard.admit(&request.headers, query, now()).is_err()
    {
        return;
    }
    // Bound to nothing but this answer.
    if let Some(name) = random::session_id() {
        negotiate::tell_servers(context, name, response.headers_mut());
    }
}

fn table() -> &'static Table<Route> {
    static TABLE: OnceLock<Table<Route>> = OnceLock::new();
    TABLE.get_or_init(|| Table::new(ROUTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_found_with_and_without_a_trailing_slash() {
        for (path, route) in ROUTES {
            let path = path.replace(['{', '}'], "");
            assert_eq!(table().at(&path), Some(*route));
            assert_eq!(table().at(&format!("{path}/")), Some(*route));
        }
    }

    #[test]
    fn other_paths_are_not() {
        for path in [
            "/",
            "/whip",
            "/whip/",
            "/whip/a/b",
            "/session/a",
            "/api",
            "/api/streams/a/b",
        ] {
            assert_eq!(table().at(path), None, "{path}");
        }
    }
}
