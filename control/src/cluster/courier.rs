//! Calls to other servers: one pool of connections, and an end to everything.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, timeout_at};

/// Speaks HTTP to nodes and to the store.
#[derive(Clone)]
pub(crate) struct Courier {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// Nobody listens there: the request was not sent.
    Refused,
    /// No connection: the request was not sent.
    Unreachable,
    /// It took too long; the request may have been carried out.
    TimedOut,
    /// The answer broke off, or is none.
    Broken,
    /// The answer is larger than was allowed.
    TooLarge,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CallError::Refused => "nobody listens there",
            CallError::Unreachable => "it cannot be reached",
            CallError::TimedOut => "it did not answer in time",
            CallError::Broken => "its answer is broken",
            CallError::TooLarge => "its answer is too large",
        })
    }
}

impl std::error::Error for CallError {}

impl CallError {
    /// Whether the request certainly was not carried out.
    pub(crate) fn is_unsent(self) -> bool {
        matches!(self, CallError::Refused | CallError::Unreachable)
    }
}

impl Courier {
    /// One that trusts the certificates in `ca_file`, or those of the system.
    ///
    /// # Errors
    /// `InvalidInput` for a file that cannot be used.
    pub(crate) fn new(ca_file: Option<&Path>) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        match ca_file {
            Some(path) => read_roots(path, &mut roots).map_err(|why| {
                let why = format!("cluster.ca_file {}: {why}", path.display());
                io::Error::new(io::ErrorKind::InvalidInput, why)
            })?,
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut http = HttpConnector::new();
        http.set_connect_timeout(Some(CONNECT_WITHIN));
        http.set_nodelay(true);
        // What waits for the next word on a connection, a watch or an event stream, hears of its
        // end though nothing is sent there: after a partition it would wait for long else.
        http.set_keepalive(Some(KEEPALIVE_AFTER));
        http.set_keepalive_interval(Some(KEEPALIVE_EVERY));
        http.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        http.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(connector);
        Ok(Courier { client })
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// [`CallError`]; nothing is tried twice.
    pub(crate) async fn call(
        &self,
        method: Method,
        url: &Uri,
        headers: HeaderMap,
        body: Bytes,
        deadline: Instant,
    ) -> Result<hyper::Response<Incoming>, CallError> {
        let mut request = hyper::Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = url.clone();
        *request.headers_mut() = headers;
        let agent = HeaderValue::from_static(concat!("whitewater/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        match timeout_at(deadline, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if is_refusal(&error) => Err(CallError::Refused),
            Ok(Err(error)) if error.is_connect() => Err(CallError::Unreachable),
            Ok(Err(_)) => Err(CallError::Broken),
            Err(_) => Err(CallError::TimedOut),
        }
    }

    /// Sends a request and takes in the whole answer.
    ///
    /// # Errors
    /// [`CallError`].
    pub(crate) async fn exchange(
        &self,
        method: Method,
        url: &Uri,
        headers: HeaderMap,
        body: Bytes,
        size_max: usize,
        deadline: Instant,
    ) -> Result<hyper::Response<Bytes>, CallError> {
        let response = self.call(method, url, headers, body, deadline).await?;
        let (parts, body) = response.into_parts();
        let body = collect(body, size_max, deadline).await?;
        Ok(hyper::Response::from_parts(parts, body))
    }
}

/// Takes in a whole body.
///
/// # Errors
/// `TooLarge` above `size_max` bytes, `TimedOut`, `Broken`.
pub(crate) async fn collect(
    mut body: Incoming,
    size_max: usize,
    deadline: Instant,
) -> Result<Bytes, CallError> {
    if body.size_hint().lower() > size_max as u64 {
        return Err(CallError::TooLarge);
    }
    let mut whole = BytesMut::new();
    loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(CallError::TimedOut),
            Ok(None) => return Ok(whole.freeze()),
            Ok(Some(Err(_))) => return Err(CallError::Broken),
            Ok(Some(Ok(frame))) => frame,
        };
        let Some(data) = frame.data_ref() else {
            continue;
        };
        if whole.len() + data.len() > size_max {
            return Err(CallError::TooLarge);
        }
        whole.extend_from_slice(data);
    }
}

/// Whether the kernel said that nobody listens, in whatever the error is wrapped.
fn is_refusal(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if kind == Some(io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn read_roots(path: &Path, roots: &mut RootCertStore) -> Result<(), String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("it has no certificate".to_owned());
    }
    Ok(())
}

const CONNECT_WITHIN: Duration = Duration::from_millis(1000);
/// A connection over which nothing came for this long is asked whether it is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(2);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(1);
/// Questions in vain after which it is not.
const KEEPALIVE_RETRIES: u32 = 3;
/// Shorter than servers wait for the next request.
const IDLE_MAX: Duration = Duration::from_secs(20);
const IDLE_CONNECTIONS_MAX: usize = 64;
