//! The WHIP endpoint (RFC 9725).

use hyper::{Method, StatusCode};
use whitewater_model::{Side, StreamName};

use crate::context::Context;
use crate::drain;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::http::response::{Response, empty};
use crate::negotiate;

pub(crate) async fn serve(
    context: &Context,
    stream: &StreamName,
    request: &mut Request,
) -> Result<Response, Problem> {
    if request.method == Method::POST {
        return negotiate::post(context, Side::Publish, stream, request).await;
    }
    drain::refuse(context)?;
    // RFC 9725 §4.1: GET is answered with success and nothing in it.
    Ok(empty(StatusCode::NO_CONTENT))
}
