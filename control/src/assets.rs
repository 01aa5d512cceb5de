//! The embedded page.

use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, HeaderValue, IF_NONE_MATCH,
    REFERRER_POLICY, X_FRAME_OPTIONS,
};
use hyper::{Method, StatusCode};

use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::http::response::{Response, empty, full};

struct Asset {
    name: &'static str,
    etag: &'static str,
    bytes: &'static [u8],
}

/// The files of `control/web`, sorted by name.
static ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets_table.rs"));

/// Answers what no other route of a node takes.
pub(crate) fn serve(target: &str, request: &Request) -> Result<Response, Problem> {
    let name = match target {
        "/" => "index.html",
        _ => target.strip_prefix('/').unwrap_or_default(),
    };
    if name.starts_with(MANAGER) {
        return Err(Problem::not_found("nothing is here"));
    }
    serve_file(name, request)
}

/// Answers what no other route of a manager takes.
pub(crate) fn serve_manager(target: &str, request: &Request) -> Result<Response, Problem> {
    match target {
        "/" => serve_file("manager.html", request),
        // What both pages use, and that of the routes.
        "/favicon.svg" | "/style.css" | "/manager.js" | "/manager.tree.js" | "/manager.css"
        | "/docs.html" | "/docs.js" | "/docs.css" => {
            serve_file(target.strip_prefix('/').unwrap_or_default(), request)
        }
        _ => Err(Problem::not_found("nothing is here")),
    }
}

fn serve_file(name: &str, request: &Request) -> Result<Response, Problem> {
    let Ok(index) = ASSETS.binary_search_by(|asset| asset.name.cmp(name)) else {
        return Err(Problem::not_found("nothing is here"));
    };
    let asset = &ASSETS[index];
    if request.method == Method::OPTIONS {
        let mut response = empty(StatusCode::OK);
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static(METHODS));
        return Ok(response);
    }
    if request.method != Method::GET && request.method != Method::HEAD {
        return Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "this method has no meaning here",
        )
        .with(ALLOW, METHODS));
    }
    let mut response = if is_known(request, asset.etag) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        full(StatusCode::OK, content_type(asset.name), asset.bytes)
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, HeaderValue::from_static(asset.etag));
    // The names never change: ask each time, mostly to hear 304.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(CSP));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    Ok(response)
}

/// RFC 9110 §13.1.2: weak comparison.
fn is_known(request: &Request, etag: &str) -> bool {
    let values = request.headers.get_all(IF_NONE_MATCH).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim())
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// What the files of the manager's page start with.
const MANAGER: &str = "manager.";
const METHODS: &str = "GET, HEAD, OPTIONS";
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                   img-src 'self' data:; media-src 'self' blob: mediastream:; \
                   connect-src 'self' http: https:; base-uri 'none'; form-action 'none'; \
                   frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_for_the_search() {
        assert!(ASSETS.is_sorted_by_key(|asset| asset.name));
    }
}
