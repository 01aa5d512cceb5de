//! One request as the handlers see it.

use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, EXPECT, HeaderMap};
use hyper::{Method, StatusCode, Uri};
use tokio::time::{Instant, timeout_at};
use whitewater_link::Locality;

use super::problem::Problem;
use super::source;
use crate::Network;
use crate::auth::{self, Grant};

pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    /// Without the token that may have been in it.
    pub(crate) query: String,
    /// As it was sent.
    pub(super) uri: Uri,
    /// The TCP peer.
    peer: IpAddr,
    /// The client, as far as is known.
    pub(crate) source: IpAddr,
    /// Who asks, and what they may do.
    pub(crate) grant: Grant,
    body: Incoming,
    body_touched: bool,
}

impl Request {
    /// Until the guard has seen it, it may do nothing.
    pub(crate) fn new(
        request: hyper::Request<Incoming>,
        peer: IpAddr,
        trusted_proxies: &[Network],
    ) -> Self {
        let (parts, body) = request.into_parts();
        Request {
            method: parts.method,
            query: auth::redact(parts.uri.query().unwrap_or_default()),
            source: source::client(peer, &parts.headers, trusted_proxies),
            headers: parts.headers,
            uri: parts.uri,
            peer,
            grant: Grant::nothing(),
            body,
            body_touched: false,
        }
    }

    /// The target as it was sent; a token may be in it.
    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Where the peer sits. One that another host sent through a proxy on this host is remote.
    pub(crate) fn locality(&self) -> Locality {
        if self.peer.to_canonical().is_loopback() && !source::is_relayed(&self.headers) {
            Locality::Loopback
        } else {
            Locality::Remote
        }
    }

    /// Reads the body into memory.
    ///
    /// # Errors
    /// 413 above `size_max` bytes, 408 when it takes longer than `within`, 400 when it breaks off.
    pub(crate) async fn read_body(
        &mut self,
        size_max: usize,
        within: Duration,
    ) -> Result<Bytes, Problem> {
        let announced = self.body.size_hint().lower();
        if announced > size_max as u64 {
            self.skip_body().await;
            return Err(too_large(size_max));
        }
        self.body_touched = true;
        let deadline = Instant::now() + within;
        let mut whole = BytesMut::new();
        loop {
            let frame = match timeout_at(deadline, self.body.frame()).await {
                Err(_) => return Err(too_slow()),
                Ok(None) => return Ok(whole.freeze()),
                Ok(Some(Err(_))) => return Err(Problem::bad_request("the body broke off")),
                Ok(Some(Ok(frame))) => frame,
            };
            let Some(data) = frame.data_ref() else {
                continue;
            };
            if whole.len() + data.len() > size_max {
                drop(whole);
                self.skip_body().await;
                return Err(too_large(size_max));
            }
            whole.extend_from_slice(data);
        }
    }

    /// Like [`read_body`](Self::read_body), for texts.
    ///
    /// # Errors
    /// Also 400 when the body is not UTF-8.
    pub(crate) async fn read_text(
        &mut self,
        size_max: usize,
        within: Duration,
    ) -> Result<String, Problem> {
        let bytes = self.read_body(size_max, within).await?;
        String::from_utf8(bytes.into())
            .map_err(|_| Problem::bad_request("the body is not valid UTF-8"))
    }

    /// Reads on for a while and forgets what comes, so that a client which is still sending gets
    /// to read its answer instead of a reset.
    pub(crate) async fn skip_body(&mut self) {
        // Who waits for "100 Continue" has not begun to send.
        if self.headers.contains_key(EXPECT) && !self.body_touched {
            return;
        }
        let deadline = Instant::now() + SKIP_WITHIN;
        let mut skipped = 0;
        while skipped < SKIP_SIZE_MAX
            && let Ok(Some(Ok(frame))) = timeout_at(deadline, self.body.frame()).await
        {
            skipped += frame.data_ref().map_or(0, Bytes::len);
        }
    }
}

fn too_large(size_max: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the body has more than {size_max} bytes"),
    )
}

fn too_slow() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took too long").with(CONNECTION, "close")
}

const SKIP_WITHIN: Duration = Duration::from_secs(1);
const SKIP_SIZE_MAX: usize = 8 * 1024 * 1024;
