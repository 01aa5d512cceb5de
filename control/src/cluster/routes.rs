//! From a path at the manager to what it names, and from there to the handler.

use std::net::SocketAddr;
use std::sync::OnceLock;

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, StatusCode};
use whitewater_model::{Side, StreamName};

use super::{Manager, admin, drain, lists, login, openapi, place, proxy, red5};
use crate::auth::Rights;
use crate::context::now;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::http::response::{Response, empty, full};
use crate::http::router::{self, ACCEPT_PATCH, ACCEPT_POST, Scope};
use crate::http::{media_type, origin, path};
use crate::{assets, health};

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Whip,
    Whep,
    WhipOn,
    WhepOn,
    Session,
    Layer,
    Events,
    EventStream,
    Nodes,
    Drain,
    Streams,
    Stream,
    Cascades,
    Login,
    Token,
    Info,
    OpenApi,
    Docs,
    Red5,
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
    ("/api/whip/{alias}/{stream}", Route::WhipOn),
    ("/api/whep/{alias}/{stream}", Route::WhepOn),
    ("/api/nodes", Route::Nodes),
    ("/api/nodes/{alias}/drain", Route::Drain),
    ("/api/streams", Route::Streams),
    ("/api/streams/{stream}", Route::Stream),
    ("/api/cascades", Route::Cascades),
    ("/api/login", Route::Login),
    ("/api/token", Route::Token),
    ("/api/info", Route::Info),
    ("/api/openapi.json", Route::OpenApi),
    ("/api/docs", Route::Docs),
    ("/streammanager/api/{version}/{*rest}", Route::Red5),
    ("/metrics", Route::Metrics),
    ("/healthz", Route::Healthz),
    ("/readyz", Route::Readyz),
];

impl Route {
    /// For `Allow`.
    pub(super) fn methods(self) -> &'static str {
        match self {
            Route::Whip | Route::Whep | Route::WhipOn | Route::WhepOn => "GET, HEAD, POST, OPTIONS",
            Route::Session => "GET, HEAD, POST, PATCH, DELETE, OPTIONS",
            Route::Layer | Route::Drain | Route::Stream => "GET, HEAD, POST, DELETE, OPTIONS",
            Route::EventStream => "GET, DELETE, OPTIONS",
            Route::Events | Route::Login | Route::Token => "POST, OPTIONS",
            Route::Red5 => "GET, HEAD, DELETE, OPTIONS",
            Route::Nodes
            | Route::Streams
            | Route::Cascades
            | Route::Info
            | Route::OpenApi
            | Route::Docs
            | Route::Metrics
            | Route::Healthz
            | Route::Readyz => "GET, HEAD, OPTIONS",
        }
    }

    /// Asks for no credentials.
    pub(super) fn is_open(self) -> bool {
        matches!(
            self,
            Route::Login
                | Route::Info
                | Route::OpenApi
                | Route::Docs
                | Route::Red5
                | Route::Metrics
                | Route::Healthz
                | Route::Readyz
        )
    }

    /// For those who look after the cluster, and their page.
    fn is_management(self) -> bool {
        match self {
            Route::Whip
            | Route::Whep
            | Route::WhipOn
            | Route::WhepOn
            | Route::Session
            | Route::Layer
            | Route::Events
            | Route::EventStream
            | Route::Red5
            | Route::Healthz
            | Route::Readyz => false,
            Route::Nodes
            | Route::Drain
            | Route::Streams
            | Route::Stream
            | Route::Cascades
            | Route::Login
            | Route::Token
            | Route::Info
            | Route::OpenApi
            | Route::Docs
            | Route::Metrics => true,
        }
    }

    fn allows(self, method: &Method) -> bool {
        let mut methods = self.methods().split(", ");
        methods.any(|allowed| allowed == method.as_str())
    }
}

/// Answers one request, whatever it is.
pub(super) async fn serve(
    manager: &Manager,
    scope: Scope,
    peer: SocketAddr,
    request: hyper::Request<Incoming>,
) -> Response {
    let target = request.uri().path().to_owned();
    let proxies = &manager.config.http.trusted_proxies;
    let mut request = Request::new(request, peer.ip(), proxies);
    let mut response = match dispatch(manager, scope, &target, &mut request).await {
        Ok(response) => response,
        Err(problem) => {
            let problem = count_miss(manager, &target, &request, problem);
            request.skip_body().await;
            problem.into()
        }
    };
    router::finish(manager, &target, &request, &mut response);
    response
}

async fn dispatch(
    manager: &Manager,
    scope: Scope,
    target: &str,
    request: &mut Request,
) -> Result<Response, Problem> {
    let Ok(found) = table().at(target) else {
        return assets::serve_manager(target, request);
    };
    let route = *found.value;
    if route.is_management() && scope == Scope::Public {
        // As if there were no such route.
        return assets::serve_manager(target, request);
    }
    if route.is_management() {
        let host = origin::host(request.uri(), &request.headers);
        origin::check(
            &manager.config.http,
            &request.method,
            host,
            &request.headers,
        )?;
    }
    // Browsers ask before they send credentials (Fetch standard, "CORS-preflight fetch").
    if request.method == Method::OPTIONS {
        return Ok(options(route));
    }
    if !route.is_open() {
        let query = request.uri().query().unwrap_or_default();
        request.grant = manager.guard.admit(&request.headers, query, now())?;
    }
    let principal = &request.grant.principal;
    let limiter = &manager.limiter;
    limiter.charge(&request.method, request.source, principal)?;
    if !route.allows(&request.method) {
        return Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "this method has no meaning here",
        )
        .with(ALLOW, route.methods()));
    }
    let part = |key: &str| found.params.get(key).unwrap_or_default();
    match route {
        Route::Whip | Route::WhipOn | Route::Whep | Route::WhepOn => {
            let stream = path::scoped_name(found.params.get("app"), part("stream"))?;
            let is_forced = matches!(route, Route::WhipOn | Route::WhepOn);
            let forced = is_forced.then(|| lists::alias(part("alias"))).transpose()?;
            let side = match route {
                Route::Whip | Route::WhipOn => Side::Publish,
                _ => Side::Subscribe,
            };
            request.grant.on(&stream, side.into())?;
            media(manager, side, &stream, forced, request).await
        }
        Route::Session | Route::Layer | Route::Events | Route::EventStream => {
            let stream = path::stream_name(part("stream"))?;
            let rest = match route {
                Route::Layer => "/layer".to_owned(),
                Route::Events => "/events".to_owned(),
                Route::EventStream => format!("/events/{}", part("id")),
                _ => String::new(),
            };
            proxy::session(manager, &stream, part("session"), &rest, request).await
        }
        Route::Nodes => {
            request.grant.on_all(Rights::ADMIN)?;
            Ok(lists::nodes(manager))
        }
        Route::Drain => {
            request.grant.on_all(Rights::ADMIN)?;
            drain::serve(manager, &lists::alias(part("alias"))?, request).await
        }
        Route::Streams => {
            request.grant.on_all(Rights::ADMIN)?;
            lists::streams(manager, request)
        }
        Route::Stream => stream_route(manager, part("stream"), request).await,
        Route::Cascades => {
            request.grant.on_all(Rights::ADMIN)?;
            Ok(lists::cascades(manager))
        }
        Route::Login => login::login(manager, request).await,
        Route::Token => login::token(manager, request).await,
        Route::Info => Ok(lists::info(manager)),
        Route::OpenApi => Ok(openapi::serve()),
        Route::Docs => assets::serve_manager("/docs.html", request),
        Route::Red5 => Ok(red5::serve(manager, part("version"), part("rest"), request).await),
        Route::Metrics => Ok(lists::metrics(manager)),
        Route::Healthz => Ok(health::alive()),
        Route::Readyz => lists::ready(manager),
    }
}

async fn media(
    manager: &Manager,
    side: Side,
    stream: &StreamName,
    forced: Option<whitewater_model::cluster::NodeName>,
    request: &mut Request,
) -> Result<Response, Problem> {
    match (&request.method, side) {
        (&Method::POST, _) => place::post(manager, side, stream, forced, request).await,
        // RFC 9725 §4.1: GET is answered with success and nothing in it.
        (_, Side::Publish) => Ok(empty(StatusCode::NO_CONTENT)),
        // WHEP §4.2: a player that probes a URL knows it by this content type.
        (_, Side::Subscribe) => Ok(full(StatusCode::OK, media_type::SDP, "")),
    }
}

async fn stream_route(
    manager: &Manager,
    name: &str,
    request: &Request,
) -> Result<Response, Problem> {
    let stream = path::stream_name(name)?;
    match request.method {
        Method::POST => {
            request.grant.on_all(Rights::ADMIN)?;
            admin::create(manager, &stream, request).await
        }
        Method::DELETE => {
            request.grant.on(&stream, Rights::ADMIN)?;
            admin::destroy(manager, &stream).await
        }
        _ => {
            request.grant.on(&stream, Rights::ANY)?;
            Ok(lists::stream(manager, stream.as_str()))
        }
    }
}

/// RFC 9725 §5: session URLs cannot be searched for.
fn count_miss(manager: &Manager, target: &str, request: &Request, problem: Problem) -> Problem {
    if !target.starts_with("/session/") || problem.status() != StatusCode::NOT_FOUND {
        return problem;
    }
    let charged = manager.limiter.charge_miss(request.source);
    charged.err().unwrap_or(problem)
}

/// RFC 9725 §4.2: 200 with what POST takes; the same answer serves preflights.
fn options(route: Route) -> Response {
    let mut response = empty(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(route.methods()));
    match route {
        Route::Whip | Route::Whep | Route::WhipOn | Route::WhepOn => {
            headers.insert(ACCEPT_POST, HeaderValue::from_static(media_type::SDP));
        }
        Route::Session => {
            let fragment = HeaderValue::from_static(media_type::FRAGMENT);
            headers.insert(ACCEPT_PATCH, fragment);
        }
        _ => {}
    }
    response
}

fn table() -> &'static matchit::Router<Route> {
    static TABLE: OnceLock<matchit::Router<Route>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = matchit::Router::new();
        for (path, route) in ROUTES {
            // The patterns are constants; the test below matches every one of them.
            let mut paths = vec![(*path).to_owned()];
            if !path.contains('*') {
                paths.push(format!("{path}/"));
            }
            for path in paths {
                if let Err(error) = table.insert(path, *route) {
                    debug_assert!(false, "{error}");
                }
            }
        }
        table
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_found_with_and_without_a_trailing_slash() {
        for (path, route) in ROUTES {
            for end in ["", "/"] {
                let path = path.replace(['{', '}', '*'], "") + end;
                let found = table().at(&path).map(|found| *found.value).ok();
                assert_eq!(found, Some(*route), "{path}");
            }
        }
        for path in [
            "/",
            "/whip",
            "/whip/a/b",
            "/session/a",
            "/api",
            "/api/nodes/a",
        ] {
            assert!(table().at(path).is_err(), "{path}");
        }
    }
}
