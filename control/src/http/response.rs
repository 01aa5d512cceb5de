use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;
pub(crate) type Response = hyper::Response<Body>;

/// No body and no word about one.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Empty::new().boxed_unsync());
    *response.status_mut() = status;
    response
}

/// A body of known size, so that it goes out with Content-Length and never chunked.
pub(crate) fn full(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

pub(crate) fn json(body: impl Into<Bytes>) -> Response {
    full(StatusCode::OK, "application/json", body)
}
