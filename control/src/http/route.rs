//! What a node's routes and a manager's have in common: the table, what is looked at before any of
//! them is served, and what every answer carries.

use std::net::SocketAddr;

use http_body::Body as _;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, StatusCode};

use super::cors::{self, Openness};
use super::problem::Problem;
use super::request::Request;
use super::response::{Response, empty};
use super::site::Site;
use super::{media_type, origin};

/// What may be done with a route, and by whom: the same wherever it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// For `Allow`.
    methods: &'static str,
    readers: Readers,
    /// What a body is to be.
    body: Body,
}

/// Whose browsers may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readers {
    /// Pages of every origin: WHIP, WHEP and sessions.
    Anyone,
    /// People and their tools that look after the server.
    Management,
}

/// What OPTIONS says of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Unsaid,
    /// POST takes an offer.
    Offer,
    /// PATCH takes a fragment.
    Fragment,
}

impl Shape {
    /// Where offers are posted.
    pub(crate) const ENDPOINT: Shape = Shape {
        body: Body::Offer,
        ..Shape::anyones("GET, HEAD, POST, OPTIONS")
    };
    /// A session.
    pub(crate) const SESSION: Shape = Shape {
        body: Body::Fragment,
        ..Shape::anyones("GET, HEAD, POST, PATCH, DELETE, OPTIONS")
    };
    /// A viewer's choice of layers.
    pub(crate) const LAYER: Shape = Shape::anyones("GET, HEAD, POST, DELETE, OPTIONS");
    /// Where events are asked for.
    pub(crate) const EVENTS: Shape = Shape::anyones("POST, OPTIONS");
    /// A stream of events.
    pub(crate) const EVENT_STREAM: Shape = Shape::anyones("GET, DELETE, OPTIONS");
    /// For those who watch over processes.
    pub(crate) const PROBE: Shape = Shape::anyones("GET, HEAD, OPTIONS");
    /// Something to be looked at.
    pub(crate) const VIEW: Shape = Shape::management("GET, HEAD, OPTIONS");
    /// The same, and added to.
    pub(crate) const LIST: Shape = Shape::management("GET, HEAD, POST, OPTIONS");
    /// Something that is made, looked at and taken away.
    pub(crate) const THING: Shape = Shape::management("GET, HEAD, POST, DELETE, OPTIONS");
    /// Something that is only taken away.
    pub(crate) const ENTRY: Shape = Shape::management("DELETE, OPTIONS");
    /// Something that is only asked for.
    pub(crate) const CALL: Shape = Shape::management("POST, OPTIONS");

    /// Of pages of every origin.
    pub(crate) const fn anyones(methods: &'static str) -> Shape {
        Shape {
            methods,
            readers: Readers::Anyone,
            body: Body::Unsaid,
        }
    }

    const fn management(methods: &'static str) -> Shape {
        Shape {
            methods,
            readers: Readers::Management,
            body: Body::Unsaid,
        }
    }

    /// The header by which OPTIONS says what a body is to be, and what it says.
    fn takes(self) -> Option<(HeaderName, &'static str)> {
        match self.body {
            Body::Unsaid => None,
            Body::Offer => Some((ACCEPT_POST, media_type::SDP)),
            Body::Fragment => Some((ACCEPT_PATCH, media_type::FRAGMENT)),
        }
    }
}

/// What a path names.
pub(crate) trait Route: Copy {
    /// What may be done with it, and by whom.
    fn shape(self) -> Shape;

    /// For `Allow`.
    fn methods(self) -> &'static str {
        self.shape().methods
    }

    /// What people and their tools use to look after the server, other than WHIP, WHEP and
    /// sessions, which pages of every origin may use.
    fn is_management(self) -> bool {
        self.shape().readers == Readers::Management
    }

    /// Refuses what has no meaning here.
    fn check_method(self, method: &Method) -> Result<(), Problem> {
        let mut methods = self.methods().split(", ");
        if methods.any(|allowed| allowed == method.as_str()) {
            return Ok(());
        }
        let why = "this method has no meaning here";
        Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, why).with(ALLOW, self.methods()))
    }

    /// RFC 9725 §4.2: 200 with what POST takes; the same answer serves preflights.
    fn options(self) -> Response {
        let mut response = empty(StatusCode::OK);
        let headers = response.headers_mut();
        headers.insert(ALLOW, HeaderValue::from_static(self.methods()));
        if let Some((name, kind)) = self.shape().takes() {
            headers.insert(name, HeaderValue::from_static(kind));
        }
        response
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

/// Finds routes by paths, with and without a slash at the end.
pub(crate) struct Table<R>(matchit::Router<R>);

impl<R: Route> Table<R> {
    /// Of patterns that are constants: tests match every one of them.
    pub(crate) fn new(routes: &[(&str, R)]) -> Self {
        let mut table = matchit::Router::new();
        for (path, route) in routes {
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
        Table(table)
    }

    /// The route of a path, with what stands in the place of its parameters. What a listener does
    /// not have is as if there were no such route.
    ///
    /// # Errors
    /// When a page or host may not do this.
    pub(crate) fn find<'a>(
        &'a self,
        site: &impl Site,
        scope: Scope,
        target: &'a str,
        request: &Request,
    ) -> Result<Option<(R, matchit::Params<'a, 'a>)>, Problem> {
        let Ok(found) = self.0.at(target) else {
            return Ok(None);
        };
        let route = *found.value;
        if route.is_management() {
            if scope == Scope::Public {
                return Ok(None);
            }
            let host = origin::host(request.uri(), &request.headers);
            origin::check(site.config(), &request.method, host, &request.headers)?;
        }
        Ok(Some((route, found.params)))
    }

    /// The route of a path.
    #[cfg(test)]
    pub(crate) fn at(&self, path: &str) -> Option<R> {
        self.0.at(path).map(|found| *found.value).ok()
    }
}

/// A request as it came, and the path it is for.
pub(crate) fn open(
    site: &impl Site,
    peer: SocketAddr,
    request: hyper::Request<Incoming>,
) -> (String, Request) {
    let target = request.uri().path().to_owned();
    let proxies = &site.config().trusted_proxies;
    (target, Request::new(request, peer.ip(), proxies))
}

/// What came of it, as an answer.
pub(crate) async fn close(
    site: &impl Site,
    target: &str,
    request: &mut Request,
    outcome: Result<Response, Problem>,
) -> Response {
    let mut response = match outcome {
        Ok(response) => response,
        Err(problem) => {
            let problem = count_miss(site, target, request, problem);
            request.skip_body().await;
            problem.into()
        }
    };
    finish(site, target, request, &mut response);
    response
}

/// RFC 9725 §5: session URLs cannot be searched for.
fn count_miss(site: &impl Site, target: &str, request: &Request, problem: Problem) -> Problem {
    if !target.starts_with(SESSIONS) || problem.status() != StatusCode::NOT_FOUND {
        return problem;
    }
    let charged = site.limiter().charge_miss(request.source);
    charged.err().unwrap_or(problem)
}

/// What every answer carries.
fn finish(site: &impl Site, target: &str, request: &Request, response: &mut Response) {
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

const SESSIONS: &str = "/session/";

pub(crate) const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
pub(crate) const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
