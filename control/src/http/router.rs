//! From a path to what it names, and from there to the handler.

use std::sync::OnceLock;

use http_body::Body as _;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_REQUEST_METHOD, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, HeaderName, HeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, StatusCode};
use whitewater_link::{Locality, SessionId};
use whitewater_model::StreamName;

use super::cors::{self, Openness};
use super::problem::Problem;
use super::request::Request;
use super::response::{Response, empty};
use super::site::Site;
use super::{media_type, openapi, origin, path};
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

impl Route {
    /// For `Allow`.
    pub(super) fn methods(self) -> &'static str {
        match self {
            Route::Whip | Route::Whep => "GET, HEAD, POST, OPTIONS",
            Route::Session => "GET, HEAD, POST, PATCH, DELETE, OPTIONS",
            Route::Layer | Route::Stream | Route::Drain => "GET, HEAD, POST, DELETE, OPTIONS",
            Route::Events => "POST, OPTIONS",
            Route::Cascade | Route::Revocations => "GET, HEAD, POST, OPTIONS",
            Route::Revocation => "DELETE, OPTIONS",
            Route::EventStream => "GET, DELETE, OPTIONS",
            Route::StreamList
            | Route::StreamEvents
            | Route::Strategy
            | Route::Info
            | Route::OpenApi
            | Route::Docs
            | Route::Metrics
            | Route::Healthz
            | Route::Readyz => "GET, HEAD, OPTIONS",
        }
    }

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

    /// What people and their tools use to look after the server, other than WHIP, WHEP and
    /// sessions, which pages of every origin may use.
    fn is_management(self) -> bool {
        match self {
            Route::Whip
            | Route::Whep
            | Route::Session
            | Route::Layer
            | Route::Events
            | Route::EventStream
            | Route::Healthz
            | Route::Readyz => false,
            Route::StreamList
            | Route::Stream
            | Route::StreamEvents
            | Route::Strategy
            | Route::Info
            | Route::OpenApi
            | Route::Docs
            | Route::Cascade
            | Route::Drain
            | Route::Revocations
            | Route::Revocation
            | Route::Metrics => true,
        }
    }

    fn allows(self, method: &Method) -> bool {
        let mut methods = self.methods().split(", ");
        methods.any(|allowed| allowed == method.as_str())
    }
}

/// Which routes a listener has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All of them.
    Whole,
    /// All but the management API, which another listener has.
    Public,
}

/// Answers one request, whatever it is.
pub(crate) async fn serve(
    context: &Context,
    scope: Scope,
    peer: std::net::SocketAddr,
    request: hyper::Request<Incoming>,
) -> Response {
    let target = request.uri().path().to_owned();
    let mut request = Request::new(request, peer.ip(), &context.config.trusted_proxies);
    let mut response = match dispatch(context, scope, &target, &mut request).await {
        Ok(response) => response,
        Err(problem) => {
            let problem = count_miss(context, &target, &request, problem);
            request.skip_body().await;
            problem.into()
        }
    };
    finish(context, &target, &request, &mut response);
    response
}

async fn dispatch(
    context: &Context,
    scope: Scope,
    target: &str,
    request: &mut Request,
) -> Result<Response, Problem> {
    let Ok(found) = table().at(target) else {
        return assets::serve(target, request);
    };
    let route = *found.value;
    if route.is_management() && scope == Scope::Public {
        // As if there were no such route.
        return assets::serve(target, request);
    }
    if route.is_management() {
        let host = origin::host(&request.uri, &request.headers);
        origin::check(&context.config, &request.method, host, &request.headers)?;
    }
    // Browsers ask before they send credentials (Fetch standard, "CORS-preflight fetch").
    if request.method == Method::OPTIONS {
        let mut response = options(route);
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
    if !route.allows(&request.method) {
        return Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "this method has no meaning here",
        )
        .with(ALLOW, route.methods()));
    }
    let stream = |key| path::stream_name(found.params.get(key).unwrap_or_default());
    let published = || {
        let app = found.params.get("app");
        path::scoped_name(app, found.params.get("stream").unwrap_or_default())
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
            let (stream, session) = session_of(&found.params)?;
            session::serve(context, &stream, session, request).await
        }
        Route::Layer => {
            let (stream, session) = session_of(&found.params)?;
            live777::layer(context, &stream, session, request).await
        }
        Route::Events => {
            let (stream, session) = session_of(&found.params)?;
            events::create(context, &stream, session, request).await
        }
        Route::EventStream => {
            let (stream, session) = session_of(&found.params)?;
            let id = found.params.get("id").unwrap_or_default().parse();
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
            auth::revocations(context, found.params.get("id"), request).await
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

/// RFC 9725 §5: session URLs cannot be searched for.
fn count_miss(context: &Context, target: &str, request: &Request, problem: Problem) -> Problem {
    if !target.starts_with(SESSIONS) || problem.status() != StatusCode::NOT_FOUND {
        return problem;
    }
    let charged = context.limiter.charge_miss(request.source);
    charged.err().unwrap_or(problem)
}

fn session_of(params: &matchit::Params<'_, '_>) -> Result<(StreamName, SessionId), Problem> {
    let stream = path::stream_name(params.get("stream").unwrap_or_default())?;
    let session = params.get("session").unwrap_or_default().parse();
    // What cannot be an id of ours names no session.
    let session = session.map_err(|_| Problem::from(whitewater_model::Error::NoSuchSession))?;
    Ok((stream, session))
}

/// RFC 9725 §4.2: 200 with what POST takes; the same answer serves preflights.
fn options(route: Route) -> Response {
    let mut response = empty(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(route.methods()));
    match route {
        Route::Whip | Route::Whep => {
            headers.insert(ACCEPT_POST, HeaderValue::from_static(media_type::SDP));
        }
        Route::Session => {
            headers.insert(ACCEPT_PATCH, HeaderValue::from_static(media_type::FRAGMENT));
        }
        _ => {}
    }
    response
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

/// What every answer carries.
pub(crate) fn finish(site: &impl Site, target: &str, request: &Request, response: &mut Response) {
    site.counters().count(response.status());
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A page's own address may have a token in it; other hosts need not hear it.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    let openness = if is_media_route(target) {
        Openness::Anyone
    } else {
        Openness::Listed
    };
    cors::apply(
        openness,
        &site.config().allowed_origins,
        &request.headers,
        response.headers_mut(),
    );
    let no_content = response.status() == StatusCode::NO_CONTENT
        || response.status() == StatusCode::NOT_MODIFIED;
    if let Some(size) = response.body().size_hint().exact()
        && !no_content
    {
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(size));
    }
    if request.method == Method::HEAD {
        *response.body_mut() = Empty::new().boxed_unsync();
    }
}

/// Errors under these paths are for the same readers as the routes themselves.
fn is_media_route(target: &str) -> bool {
    let prefixes = [
        "/whip/",
        "/whep/",
        SESSIONS,
        "/api/whip/",
        "/api/whep/",
        "/streammanager/",
    ];
    let of_app = ["/whip/endpoint/", "/whep/endpoint/"];
    prefixes.iter().any(|prefix| target.starts_with(prefix))
        || of_app.iter().any(|part| target.contains(part))
}

fn table() -> &'static matchit::Router<Route> {
    static TABLE: OnceLock<matchit::Router<Route>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = matchit::Router::new();
        for (path, route) in ROUTES {
            // The patterns are constants; the tests below match every one of them.
            for path in [(*path).to_owned(), format!("{path}/")] {
                if let Err(error) = table.insert(path, *route) {
                    debug_assert!(false, "{error}");
                }
            }
        }
        table
    })
}

const SESSIONS: &str = "/session/";

pub(crate) const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
pub(crate) const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_found_with_and_without_a_trailing_slash() {
        for (path, route) in ROUTES {
            let path = path.replace(['{', '}'], "");
            assert_eq!(
                table().at(&path).map(|found| *found.value).ok(),
                Some(*route)
            );
            let path = format!("{path}/");
            assert_eq!(
                table().at(&path).map(|found| *found.value).ok(),
                Some(*route)
            );
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
            let found = table().at(path);
            assert!(found.is_err(), "{path}");
        }
    }
}
