//! Fetches the issuer's keys in the background, so that no request ever waits for another server.
//!
//! It is done at start, every `jwks_interval`, and sooner when a token names a key that is not
//! known; who sends no token cannot make it happen.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{ACCEPT, LOCATION};
use hyper::{Request, StatusCode};
use tokio::time::{sleep, timeout};

use super::guard::Guard;
use super::key::Keys;
use crate::Auth;
use crate::outbound::{self, Connector, Failure, Url};

/// Knows where the keys are: https, or http to this machine.
pub(crate) struct Fetcher {
    url: Url,
    interval: Duration,
    tls: Option<Connector>,
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
        let url = parse(text).map_err(|why| refused(format!("auth.jwks_url: {why}")))?;
        let ca_file = config.jwks_ca_file.as_deref();
        let tls = match ca_file {
            None if !url.is_https => None,
            None => Some(Connector::new(None).map_err(|why| {
                refused(format!("auth.jwks_url: {why}, or set auth.jwks_ca_file"))
            })?),
            Some(_) => Some(
                Connector::new(ca_file)
                    .map_err(|why| refused(format!("auth.jwks_ca_file {why}")))?,
            ),
        };
        Ok(Some(Fetcher {
            url,
            interval: config.jwks_interval,
            tls,
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
                Answer::Elsewhere(location) => url = elsewhere(&url, &location)?,
            }
        }
        Err(Failure::new("it was redirected too often"))
    }

    async fn ask(&self, url: &Url) -> Result<Answer, Failure> {
        let found = tokio::net::lookup_host((url.host.as_str(), url.port));
        let found = found.await.map_err(Failure::new)?;
        let addresses: Vec<_> = found
            .filter(|address| url.is_https || address.ip().to_canonical().is_loopback())
            .collect();
        let stream = outbound::open(url, &addresses, self.tls.as_ref()).await?;
        let request = Request::get("/")
            .header(ACCEPT, "application/jwk-set+json, application/json")
            .body(Bytes::new().into())
            .map_err(Failure::new)?;
        let reply = outbound::send(stream, url, request, BODY_SIZE_MAX).await?;
        if reply.status.is_redirection() {
            let location = reply.headers.get(LOCATION);
            let location = location.and_then(|location| location.to_str().ok());
            let location = location.ok_or_else(|| Failure::new("a redirect leads nowhere"))?;
            return Ok(Answer::Elsewhere(location.to_owned()));
        }
        if reply.status != StatusCode::OK {
            return Err(Failure::new(format!("the answer is {}", reply.status)));
        }
        Ok(Answer::Found(reply.body))
    }
}

enum Answer {
    Found(Bytes),
    Elsewhere(String),
}

/// On the way anybody could put his own keys in.
fn parse(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text)?;
    if !url.is_https && !url.is_here() {
        return Err("http is for this machine only: keys of others come by https");
    }
    Ok(url)
}

/// Where a redirect leads.
fn elsewhere(from: &Url, location: &str) -> Result<Url, Failure> {
    let wrong = |why| Failure::new(format!("it is redirected, and there {why}"));
    let to = from.join(location).map_err(wrong)?;
    if from.is_https && !to.is_https {
        return Err(Failure::new("it is redirected from https to http"));
    }
    parse(&to.text()).map_err(wrong)
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
            let url = parse(text).expect(text);
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
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_redirect_never_leads_from_https_to_http() {
        let start = parse("https://id.example:8443/a").expect("a URL");
        let there =
            |location: &str| elsewhere(&start, location).map(|url| (url.authority, url.path));
        let found = |authority: &str, path: &str| (authority.to_owned(), path.to_owned());
        assert_eq!(there("/b?c").ok(), Some(found("id.example:8443", "/b?c")));
        assert_eq!(
            there("https://other.example/b").ok(),
            Some(found("other.example", "/b"))
        );
        for location in [
            "http://id.example:8443/a",
            "http://127.0.0.1/a",
            "ftp://id.example/",
            "",
        ] {
            assert!(there(location).is_err(), "{location}");
        }
    }
}
