//! From a path at the manager to what it names, and from there to the handler.

use std::net::SocketAddr;
use std::sync::OnceLock;

use hyper::body::Incoming;
use hyper::{Method, StatusCode};
use whitewater_model::{Side, StreamName};

use super::{Manager, admin, drain, lists, login, openapi, place, proxy, red5};
use crate::auth::Rights;
use crate::context::now;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::http::response::{Response, empty, full};
use crate::http::route::{self, Route as _, Scope, Shape, Table};
use crate::http::{media_type, path};
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

impl route::Route for Route {
    fn shape(self) -> Shape {
        match self {
            Route::Whip | Route::Whep | Route::WhipOn | Route::WhepOn => Shape::ENDPOINT,
            Route::Session => Shape::SESSION,
            Route::Layer => Shape::LAYER,
            Route::Events => Shape::EVENTS,
            Route::EventStream => Shape::EVENT_STREAM,
            Route::Red5 => Shape::anyones("GET, HEAD, DELETE, OPTIONS"),
            Route::Drain | Route::Stream => Shape::THING,
            Route::Login | Route::Token => Shape::CALL,
            Route::Nodes
            | Route::Streams
            | Route::Cascades
            | Route::Info
            | Route::OpenApi
            | Route::Docs
            | Route::Metrics => Shape::VIEW,
            Route::Healthz | Route::Readyz => Shape::PROBE,
        }
    }
}

impl Route {
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
}

/// Answers one request, whatever it is.
pub(super) async fn serve(
    manager: &Manager,
    scope: Scope,
    peer: SocketAddr,
    request: hyper::Request<Incoming>,
) -> Response {
    let (target, mut request) = route::open(manager, peer, request);
    let outcome = dispatch(manager, scope, &target, &mut request).await;
    route::close(manager, &target, &mut request, outcome).await
}

async fn dispatch(
    manager: &Manager,
    scope: Scope,
    target: &str,
    request: &mut Request,
) -> Result<Response, Problem> {
    let Some((route, params)) = table().find(manager, scope, target, request)? else {
        return assets::serve_manager(target, request);
    };
    // Browsers ask before they send credentials (Fetch standard, "CORS-preflight fetch").
    if request.method == Method::OPTIONS {
        return Ok(match route {
            Route::Red5 => red5::options(params.get("rest").unwrap_or_default()),
            route => route.options(),
        });
    }
    if !route.is_open() {
        let query = request.uri().query().unwrap_or_default();
        request.grant = manager.guard.admit(&request.headers, query, now())?;
    }
    let principal = &request.grant.principal;
    let limiter = &manager.limiter;
    limiter.charge(&request.method, request.source, principal)?;
    route.check_method(&request.method)?;
    let part = |key: &str| params.get(key).unwrap_or_default();
    match route {
        Route::Whip | Route::WhipOn | Route::Whep | Route::WhepOn => {
            let stream = path::scoped_name(params.get("app"), part("stream"))?;
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
            for end in ["", "/"] {
                let path = path.replace(['{', '}', '*'], "") + end;
                assert_eq!(table().at(&path), Some(*route), "{path}");
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
            assert_eq!(table().at(path), None, "{path}");
        }
    }
}
