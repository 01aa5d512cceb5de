//! The WHEP endpoint (draft-ietf-wish-whep).

use hyper::{Method, StatusCode};
use whitewater_model::{Side, StreamName};

use crate::context::Context;
use crate::drain;
use crate::http::media_type::SDP;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::http::response::{Response, full};
use crate::negotiate;

pub(crate) async fn serve(
    context: &Context,
    stream: &StreamName,
    request: &mut Request,
) -> Result<Response, Problem> {
    if request.method == Method::POST {
        return negotiate::post(context, Side::Subscribe, stream, request).await;
    }
    drain::refuse(context)?;
    // WHEP §4.2: a player that probes a URL knows it by this content type.
    Ok(full(StatusCode::OK, SDP, ""))
}
