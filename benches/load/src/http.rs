//! The WHIP and WHEP client: offers are posted, resources deleted.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Semaphore;

/// An HTTP client with a bearer token.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    token: Option<HeaderValue>,
    turns: Arc<Semaphore>,
}

/// A session the server made.
#[derive(Clone, Debug)]
pub(crate) struct Created {
    pub(crate) answer: String,
    pub(crate) resource: Uri,
}

/// Why there is no session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The server's word.
    Status {
        url: String,
        status: StatusCode,
        detail: String,
    },
    /// No word from the server.
    Unreachable {
        url: String,
        cause: String,
    },
    /// 201, but not as the protocol wants it.
    Misshapen {
        url: String,
        what: &'static str,
    },
    TooManyRedirects {
        url: String,
    },
    TimedOut {
        url: String,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status {
                url,
                status,
                detail,
            } => {
                write!(f, "POST {url}: {status}")?;
                match (status.as_u16(), detail.as_str()) {
                    (_, detail) if !detail.is_empty() => write!(f, ": {detail}"),
                    (401 | 403, _) => f.write_str(": is --token right for this stream?"),
                    _ => Ok(()),
                }
            }
            Self::Unreachable { url, cause } => write!(f, "POST {url}: {cause}"),
            Self::Misshapen { url, what } => write!(f, "POST {url}: {what}"),
            Self::TooManyRedirects { url } => {
                write!(f, "POST {url}: more than {REDIRECTS_MAX} redirects")
            }
            Self::TimedOut { url } => write!(f, "POST {url}: no answer in time"),
        }
    }
}

impl Http {
    /// `token` is sent as `Authorization: Bearer`. `None` when it cannot be.
    pub(crate) fn new(
        token: Option<&str>,
        connector: HttpsConnector<HttpConnector>,
    ) -> Option<Self> {
        let token = match token {
            Some(token) => {
                let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(10))
            .build(connector);
        let turns = Arc::new(Semaphore::new(OFFERS_AT_ONCE));
        Some(Http {
            client,
            token,
            turns,
        })
    }

    /// Posts an offer; waits and asks again where the server says when to (`Retry-After`).
    ///
    /// # Errors
    /// Why there is no session, at `end` at the latest.
    pub(crate) async fn offer(
        &self,
        url: &Uri,
        sdp: &str,
        end: Instant,
    ) -> Result<Created, Refused> {
        let attempt = async {
            loop {
                // A server may allow few connections from one address.
                let turn = self.turns.acquire().await;
                let (at, response) = self.post(url, sdp).await?;
                let wait = retry_after(&response);
                let outcome = created(at, response).await;
                drop(turn);
                match (outcome, wait) {
                    (Err(Refused::Status { .. }), Some(wait)) if Instant::now() + wait < end => {
                        tokio::time::sleep(wait).await;
                    }
                    (outcome, _) => return outcome,
                }
            }
        };
        match tokio::time::timeout_at(end.into(), attempt).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Refused::TimedOut {
                url: url.to_string(),
            }),
        }
    }

    /// Ends a session; whether the server agreed.
    pub(crate) async fn delete(&self, resource: &Uri) -> bool {
        let request = self.request(Method::DELETE, resource, None, Reach::Same);
        let Ok(request) = request else {
            return false;
        };
        let answer = tokio::time::timeout(DELETE_MAX, self.client.request(request)).await;
        let Ok(Ok(response)) = answer else {
            return false;
        };
        // A session that the server ended by itself is gone too.
        let gone = matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::GONE);
        response.status().is_success() || gone
    }

    /// RFC 9725 §4.5: 307 and 308 send the same offer elsewhere.
    async fn post(
        &self,
        url: &Uri,
        sdp: &str,
    ) -> Result<(Uri, Response<hyper::body::Incoming>), Refused> {
        let mut at = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            // The token is for whom it was given to, and for nobody that one sends us to.
            let reach = if at.host() == url.host() && at.scheme() == url.scheme() {
                Reach::Same
            } else {
                Reach::Other
            };
            let unreachable = |cause: String| Refused::Unreachable {
                url: at.to_string(),
                cause,
            };
            let request = self
                .request(Method::POST, &at, Some(sdp), reach)
                .map_err(|error| unreachable(error.to_string()))?;
            let sent = self.client.request(request).await;
            let response = sent.map_err(|error| unreachable(root_cause(&error)))?;
            let redirected = matches!(
                response.status(),
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
            );
            if !redirected {
                return Ok((at, response));
            }
            let to = response.headers().get(LOCATION);
            let to = to.and_then(|to| to.to_str().ok());
            at = to
                .and_then(|to| resolve(&at, to))
                .ok_or(Refused::Misshapen {
                    url: at.to_string(),
                    what: "a redirect without a usable Location",
                })?;
        }
        Err(Refused::TooManyRedirects {
            url: url.to_string(),
        })
    }

    fn request(
        &self,
        method: Method,
        url: &Uri,
        sdp: Option<&str>,
        reach: Reach,
    ) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut builder = Request::builder().method(method).uri(url);
        if let Some(token) = self.token.as_ref().filter(|_| reach == Reach::Same) {
            builder = builder.header(AUTHORIZATION, token);
        }
        if sdp.is_some() {
            builder = builder
                .header(CONTENT_TYPE, "application/sdp")
                .header(ACCEPT, "application/sdp");
        }
        builder.body(Full::from(sdp.unwrap_or_default().to_owned()))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Same,
    Other,
}

/// RFC 9725 §4.2: 201 with the answer and the resource's place.
async fn created(at: Uri, response: Response<hyper::body::Incoming>) -> Result<Created, Refused> {
    let (head, body) = response.into_parts();
    let url = at.to_string();
    let body = Limited::new(body, BODY_SIZE_MAX).collect().await;
    let body = body.map(http_body_util::Collected::to_bytes);
    if head.status != StatusCode::CREATED {
        let body = body.unwrap_or_default();
        return Err(Refused::Status {
            url,
            status: head.status,
            detail: detail(&body),
        });
    }
    let body = body.map_err(|_| Refused::Misshapen {
        url: url.clone(),
        what: "the answer broke off or is longer than any answer needs to be",
    })?;
    let resource = head.headers.get(LOCATION);
    let resource = resource
        .and_then(|to| to.to_str().ok())
        .and_then(|to| resolve(&at, to))
        .ok_or(Refused::Misshapen {
            url,
            what: "201 without a usable Location",
        })?;
    Ok(Created {
        answer: String::from_utf8_lossy(&body).into_owned(),
        resource,
    })
}

/// When to ask again: only where the server is busy, and says so in seconds (RFC 9110 §10.2.3).
fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let busy = matches!(
        response.status(),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    );
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    let seconds: u64 = seconds.trim().parse().ok()?;
    // A second that is rounded down would mean asking without end.
    busy.then_some(Duration::from_secs(seconds.min(3600)).max(Duration::from_millis(100)))
}

/// RFC 9457 §3.1, or the first line of plain text.
fn detail(body: &[u8]) -> String {
    let problem: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let member = |name: &str| {
        let value = problem.as_ref()?.get(name)?.as_str()?;
        Some(value.to_owned())
    };
    let text = member("detail").or_else(|| member("title"));
    let text = text.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(body);
        match text.trim_start().starts_with(['<', '{']) {
            true => String::new(),
            false => text.lines().next().unwrap_or_default().to_owned(),
        }
    });
    let printable = text.chars().filter(|c| !c.is_control());
    printable.take(DETAIL_MAX).collect()
}

/// RFC 3986 §5.2, without the dot segments that no server sends here.
fn resolve(base: &Uri, reference: &str) -> Option<Uri> {
    if let Ok(uri) = reference.parse::<Uri>()
        && uri.scheme().is_some()
    {
        return Some(uri);
    }
    if reference.contains("://") {
        return None;
    }
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    if let Some(rest) = reference.strip_prefix("//") {
        return format!("{scheme}://{rest}").parse().ok();
    }
    let path = match reference.starts_with('/') {
        true => reference.to_owned(),
        false => {
            let (folder, _) = base.path().rsplit_once('/')?;
            format!("{folder}/{reference}")
        }
    };
    format!("{scheme}://{authority}{path}").parse().ok()
}

/// The innermost cause says most: "connection refused" rather than "client error".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

const OFFERS_AT_ONCE: usize = 64;
const REDIRECTS_MAX: usize = 5;
const BODY_SIZE_MAX: usize = 256 * 1024;
const DETAIL_MAX: usize = 300;
const DELETE_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_resolved() {
        let base: Uri = "http://host:7777/whip/cam?x=1".parse().unwrap();
        for (reference, expected) in [
            ("/session/1", "http://host:7777/session/1"),
            ("other", "http://host:7777/whip/other"),
            ("https://b.example/s", "https://b.example/s"),
            ("//b.example:1/s", "http://b.example:1/s"),
        ] {
            assert_eq!(resolve(&base, reference).unwrap(), expected);
        }
        assert_eq!(resolve(&base, "http://[broken"), None);
    }

    #[test]
    fn refusals_say_what_the_server_said() {
        assert_eq!(
            detail(br#"{"title":"No","detail":"no such stream"}"#),
            "no such stream"
        );
        assert_eq!(detail(br#"{"title":"No"}"#), "No");
        assert_eq!(detail(b"plain\nsecond"), "plain");
        assert_eq!(detail(b"<html>"), "");
        assert_eq!(detail(&[b'x'; 1000]).len(), DETAIL_MAX);
        let refused = Refused::Status {
            url: "http://h/whip/x".into(),
            status: StatusCode::UNAUTHORIZED,
            detail: String::new(),
        };
        assert!(refused.to_string().contains("401"), "{refused}");
        assert!(refused.to_string().contains("--token"), "{refused}");
    }

    #[test]
    fn only_a_busy_server_is_asked_again() {
        let answer = |status: u16, after: &str| {
            let response = Response::builder()
                .status(status)
                .header(RETRY_AFTER, after);
            retry_after(&response.body(()).unwrap())
        };
        assert_eq!(answer(503, "2"), Some(Duration::from_secs(2)));
        assert_eq!(answer(429, "0"), Some(Duration::from_millis(100)));
        assert_eq!(answer(404, "2"), None);
        assert_eq!(answer(503, "Fri, 31 Dec 1999 23:59:59 GMT"), None);
    }

    #[test]
    fn a_token_that_is_no_header_is_refused() {
        let connector = crate::tls::connector(None).unwrap();
        assert!(Http::new(Some("a\nb"), connector).is_none());
    }
}
