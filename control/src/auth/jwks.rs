//! Fetches the issuer's keys in the background, so that no request ever waits for another server.
//!
//! It is done at start, every `jwks_interval`, and sooner when a token names a key that is not
//! known; who sends no token cannot make it happen.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::guard::Guard;
use super::key::Keys;
use crate::Auth;

/// Knows where the keys are.
pub(crate) struct Fetcher {
    url: Url,
    interval: Duration,
    tls: TlsConnector,
}

/// An address keys may be fetched from: https, or http to this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Url {
    is_https: bool,
    host: String,
    port: u16,
    /// As the `Host` header has it.
    authority: String,
    path: String,
}

impl Fetcher {
    /// `None` when no URL is configured.
    ///
    /// # Errors
    /// `InvalidInput` for a URL or a file of certificates that cannot be used.
    pub(crate) fn new(config: &Auth) -> io::Result<Option<Self>> {
        let Some(text) = &config.jwks_url else {
            return Ok(None);
        };
        let refused = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
        let url = Url::parse(text).map_err(|why| refused(format!("auth.jwks_url: {why}")))?;
        let mut roots = RootCertStore::empty();
        if let Some(path) = &config.jwks_ca_file {
            read_roots(path, &mut roots)
                .map_err(|why| refused(format!("auth.jwks_ca_file {}: {why}", path.display())))?;
        } else if url.is_https {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(refused(
                    "auth.jwks_url: this machine has no root certificates; install its package \
                     ca-certificates, or set auth.jwks_ca_file"
                        .to_owned(),
                ));
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Some(Fetcher {
            url,
            interval: config.jwks_interval,
            tls: Arc::new(tls).into(),
        }))
    }

    /// Keeps the guard's keys fresh, for as long as it is polled.
    pub(crate) async fn run(self, guard: Arc<Guard>) {
        let mut failing = false;
        loop {
            match self.fetch_keys().await {
                Ok(keys) => {
                    guard.count_fetch(true);
                    guard.take_fetched(keys);
                    if failing {
                        tracing::info!("keys of tokens are fetched again");
                    }
                    failing = false;
                }
                Err(why) => {
                    guard.count_fetch(false);
                    if failing {
                        tracing::debug!(%why, "keys of tokens cannot be fetched");
                    } else {
                        tracing::warn!(%why, "keys of tokens cannot be fetched; those that were stay");
                    }
                    failing = true;
                }
            }
            let rest = if failing {
                self.interval.min(RETRY)
            } else {
                self.interval
            };
            let pause = rest.min(PAUSE);
            sleep(pause).await;
            // A wish that came meanwhile is fulfilled now, as one.
            let _ = timeout(rest - pause, guard.wants_keys.notified()).await;
        }
    }

    async fn fetch_keys(&self) -> Result<Keys, Failure> {
        let text = timeout(FETCH_WITHIN, self.fetch())
            .await
            .map_err(|_| Failure::new("it took longer than 10 s"))??;
        let keys = Keys::parse(&text).map_err(Failure::new)?;
        keys.check().map_err(Failure::new)?;
        Ok(keys)
    }

    async fn fetch(&self) -> Result<Bytes, Failure> {
        let mut url = self.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            match self.ask(&url).await? {
                Answer::Found(text) => return Ok(text),
                Answer::Elsewhere(location) => url = url.join(&location)?,
            }
        }
        Err(Failure::new("it was redirected too often"))
    }

    async fn ask(&self, url: &Url) -> Result<Answer, Failure> {
        let stream = url.connect().await?;
        if !url.is_https {
            return exchange(stream, url).await;
        }
        let name = ServerName::try_from(url.host.clone()).map_err(Failure::new)?;
        let stream = self.tls.connect(name, stream).await;
        exchange(stream.map_err(Failure::new)?, url).await
    }
}

enum Answer {
    Found(Bytes),
    Elsewhere(String),
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    url: &Url,
) -> Result<Answer, Failure> {
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(Failure::new)?;
    // Ends with this function.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = Request::get(url.path.as_str())
        .header(HOST, url.authority.as_str())
        .header(ACCEPT, "application/jwk-set+json, application/json")
        .header(
            USER_AGENT,
            concat!("whitewater/", env!("CARGO_PKG_VERSION")),
        )
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(Failure::new)?;
    let response = sender.send_request(request).await.map_err(Failure::new)?;
    let status = response.status();
    if status.is_redirection() {
        let location = response.headers().get(LOCATION);
        let location = location.and_then(|location| location.to_str().ok());
        let location = location.ok_or_else(|| Failure::new("a redirect leads nowhere"))?;
        return Ok(Answer::Elsewhere(location.to_owned()));
    }
    if status != StatusCode::OK {
        return Err(Failure::new(format!("the answer is {status}")));
    }
    let body = Limited::new(response.into_body(), BODY_SIZE_MAX).collect();
    let body = body.await.map_err(Failure::new)?;
    Ok(Answer::Found(body.to_bytes()))
}

impl Url {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let uri: Uri = text.parse().map_err(|_| "it is no URL")?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it does not begin with https://"),
        };
        let authority = uri.authority().ok_or("it has no host")?;
        if authority.as_str().contains('@') {
            return Err("it has a user name");
        }
        let host = authority.host();
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let url = Url {
            is_https,
            host: bare.unwrap_or(host).to_owned(),
            port: authority
                .port_u16()
                .unwrap_or(if is_https { 443 } else { 80 }),
            authority: authority.to_string(),
            path: uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
        };
        // On the way anybody could put his own keys in.
        if !is_https && !url.is_here() {
            return Err("http is for this machine only: keys of others come by https");
        }
        Ok(url)
    }

    /// Where a redirect leads.
    fn join(&self, location: &str) -> Result<Self, Failure> {
        if location.starts_with('/') && !location.starts_with("//") {
            let scheme = if self.is_https { "https" } else { "http" };
            let whole = format!("{scheme}://{}{location}", self.authority);
            return Url::parse(&whole).map_err(Failure::new);
        }
        let url = Url::parse(location)
            .map_err(|why| Failure::new(format!("it is redirected, and there {why}")))?;
        if self.is_https && !url.is_https {
            return Err(Failure::new("it is redirected from https to http"));
        }
        Ok(url)
    }

    fn is_here(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        address.map_or(self.host == "localhost", |ip| {
            ip.to_canonical().is_loopback()
        })
    }

    async fn connect(&self) -> Result<TcpStream, Failure> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port));
        let mut last = Failure::new("its host has no address");
        for address in found.await.map_err(Failure::new)? {
            if !self.is_https && !address.ip().to_canonical().is_loopback() {
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Failure::new(error),
            }
        }
        Err(last)
    }
}

fn read_roots(path: &std::path::Path, roots: &mut RootCertStore) -> Result<(), String> {
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

/// Why keys did not come, for the log.
#[derive(Debug)]
struct Failure(String);

impl Failure {
    fn new(why: impl ToString) -> Self {
        Failure(why.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A set of keys is a few kilobytes; some have certificates in it.
const BODY_SIZE_MAX: usize = 256 * 1024;
const REDIRECTS_MAX: usize = 3;
/// From the first packet to the last byte, redirects included.
const FETCH_WITHIN: Duration = Duration::from_secs(10);
/// After a failure.
const RETRY: Duration = Duration::from_secs(5);
/// The least time between two fetches, however many tokens name keys that are not known.
const PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_by_https_or_from_this_machine() {
        for (text, host, port, path) in [
            (
                "https://id.example/keys?v=2",
                "id.example",
                443,
                "/keys?v=2",
            ),
            ("https://id.example:8443", "id.example", 8443, "/"),
            ("https://[2001:db8::1]/k", "2001:db8::1", 443, "/k"),
            ("http://127.0.0.1:81/k", "127.0.0.1", 81, "/k"),
            ("http://127.9.9.9/k", "127.9.9.9", 80, "/k"),
            ("http://[::1]:81/k", "::1", 81, "/k"),
            ("http://localhost:81/k", "localhost", 81, "/k"),
        ] {
            let url = Url::parse(text).expect(text);
            assert_eq!((url.host.as_str(), url.port), (host, port), "{text}");
            assert_eq!(url.path, path);
        }
        for text in [
            "",
            "keys",
            "/keys",
            "id.example/keys",
            "ftp://id.example/",
            "file:///etc/passwd",
            "http://id.example/keys",
            "http://127.0.0.1.evil.example/",
            "http://localhost.evil.example/",
            "http://10.0.0.1/",
            "http://0.0.0.0/",
            "https://user:secret@id.example/",
            "https://127.0.0.1@id.example/",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_redirect_never_leads_from_https_to_http() {
        let start = Url::parse("https://id.example:8443/a").expect("a URL");
        let there = |location: &str| start.join(location).map(|url| (url.authority, url.path));
        let found = |authority: &str, path: &str| (authority.to_owned(), path.to_owned());
        assert_eq!(there("/b?c").ok(), Some(found("id.example:8443", "/b?c")));
        assert_eq!(
            there("https://other.example/b").ok(),
            Some(found("other.example", "/b"))
        );
        for location in [
            "http://id.example:8443/a",
            "http://127.0.0.1/a",
            "//other.example/",
            "b",
            "",
        ] {
            assert!(there(location).is_err(), "{location}");
        }
    }
}
