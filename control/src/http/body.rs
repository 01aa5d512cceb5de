//! JSON bodies.

use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::media_type::{self, JSON};
use super::problem::Problem;
use super::request::Request;
use crate::context::Context;

/// Reads a JSON body.
///
/// # Errors
/// 415 when it is announced as something else, 400 when it is not JSON, 422 when it is not what
/// the route takes, and those of reading.
pub(crate) async fn read_json<T: DeserializeOwned>(
    context: &Context,
    request: &mut Request,
) -> Result<T, Problem> {
    media_type::expect(&request.headers, &[JSON])?;
    let limits = &context.config.limits;
    let bytes = request
        .read_body(limits.json_size_max, limits.body_timeout)
        .await?;
    serde_json::from_slice(&bytes).map_err(|error| match error.classify() {
        Category::Data => Problem::unprocessable(format!("the JSON does not fit: {error}")),
        _ => Problem::bad_request(format!("the body is not JSON: {error}")),
    })
}
