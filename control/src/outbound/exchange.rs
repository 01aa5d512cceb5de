use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{AGENT, Connector, Url};

/// Why there is no answer, for the log.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(why: impl ToString) -> Self {
        Failure(why.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Of a success or a counter-offer; what else is said is not read.
    pub(crate) body: Bytes,
}

/// A byte stream to a server.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects to the first of these addresses that takes the connection; the host's name is only used
/// for TLS, it is not looked up again.
///
/// # Errors
/// The last one's.
pub(crate) async fn open(
    url: &Url,
    addresses: &[SocketAddr],
    tls: Option<&Connector>,
) -> Result<Box<dyn Stream>, Failure> {
    let mut last = Failure::new("its host has no address");
    for address in addresses {
        let stream = match timeout(CONNECT_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                last = Failure::new(error);
                continue;
            }
            Err(_) => {
                last = Failure::new("the connection is not taken");
                continue;
            }
        };
        return match tls.filter(|_| url.is_https) {
            Some(tls) => Ok(Box::new(tls.connect(&url.host, stream).await?)),
            None if url.is_https => Err(Failure::new("there are no certificates to trust it by")),
            None => Ok(Box::new(stream)),
        };
    }
    Err(last)
}

/// Sends one request, whose target is `url`'s, and reads the answer of at most `body_size_max`
/// bytes.
///
/// # Errors
/// What broke off.
pub(crate) async fn send(
    stream: Box<dyn Stream>,
    url: &Url,
    mut request: Request<Full<Bytes>>,
    body_size_max: usize,
) -> Result<Reply, Failure> {
    *request.uri_mut() = url.path.parse().map_err(Failure::new)?;
    let headers = request.headers_mut();
    let host = HeaderValue::try_from(url.authority.as_str()).map_err(Failure::new)?;
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(Failure::new)?;
    // Ends with this function.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let response = sender.send_request(request).await.map_err(Failure::new)?;
    let (parts, body) = response.into_parts();
    // A counter-offer is no success (draft-ietf-wish-whep §4.3.2).
    let is_read = parts.status.is_success() || parts.status == StatusCode::NOT_ACCEPTABLE;
    let body = if is_read {
        let whole = Limited::new(body, body_size_max).collect();
        whole.await.map_err(Failure::new)?.to_bytes()
    } else {
        Bytes::new()
    };
    Ok(Reply {
        status: parts.status,
        headers: parts.headers,
        body,
    })
}

/// One address; others of the same host may still work.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
