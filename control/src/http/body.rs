//! JSON bodies.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize as _, Deserializer};
use serde_json::Number;
use serde_json::error::Category;

use super::media_type::{self, JSON};
use super::problem::Problem;
use super::request::Request;
use crate::HttpLimits;
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
    read_json_within(&context.config.limits, request).await
}

/// The same, with the limits of any site.
///
/// # Errors
/// Those of [`read_json`].
pub(crate) async fn read_json_within<T: DeserializeOwned>(
    limits: &HttpLimits,
    request: &mut Request,
) -> Result<T, Problem> {
    media_type::expect(&request.headers, &[JSON])?;
    let bytes = request
        .read_body(limits.json_size_max, limits.body_timeout)
        .await?;
    serde_json::from_slice(&bytes).map_err(|error| match error.classify() {
        Category::Data => Problem::unprocessable(format!("the JSON does not fit: {error}")),
        _ => Problem::bad_request(format!("the body is not JSON: {error}")),
    })
}

/// A whole number, for `deserialize_with`: `2.0` and `2e0` are as whole as `2` (JSON Schema core
/// §6.3). Null is none.
///
/// # Errors
/// For other values, those that `T` does not hold, and those above 2^53 that are written with a
/// fraction or an exponent.
pub(crate) fn whole<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    const FLOAT_EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let Some(number) = Option::<Number>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let of_float = || {
        let value = number.as_f64()?;
        let exact = value.fract() == 0.0 && (0.0..=FLOAT_EXACT_MAX).contains(&value);
        exact.then_some(value as u64)
    };
    let value = number.as_u64().or_else(of_float);
    value
        .and_then(|value| T::try_from(value).ok())
        .map(Some)
        .ok_or_else(|| D::Error::custom("not a whole number of this member's size"))
}

/// The same of a member that has to be there.
///
/// # Errors
/// Those of [`whole`], and null.
pub(crate) fn whole_given<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    whole(deserializer)?.ok_or_else(|| D::Error::custom("null is no number"))
}
