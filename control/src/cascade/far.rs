//! The client's side of WHIP and WHEP: an offer is posted, its session deleted.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, IF_MATCH, LOCATION, RETRY_AFTER,
};
use hyper::{Method, Request, StatusCode};
use tokio::time::timeout;
use whitewater_link::{AnswerKind, Network, Reach};
use whitewater_model::NodeId;

use super::failure::Failure;
use super::way;
use crate::Cascade;
use crate::http::media_type::{FRAGMENT, SDP};
use crate::outbound::{self, Connector, Reply, Url};

/// Calls other servers, those that may be called.
pub(crate) struct Caller {
    /// Blocks that are allowed though they are not of the internet.
    reach: Reach,
    hosts: Vec<String>,
    ca_file: Option<PathBuf>,
    /// Made when the first https URL is called.
    tls: OnceLock<Result<Connector, String>>,
}

/// A server whose addresses were looked at: they are called, and no others.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) url: Url,
    addresses: Vec<SocketAddr>,
    /// Whether the operator has named it.
    is_named: bool,
}

impl Target {
    /// Whether it is on this host.
    pub(crate) fn is_loopback(&self) -> bool {
        let mut addresses = self.addresses.iter();
        addresses.any(|address| address.ip().is_loopback())
    }

    /// RFC 9110 §15.4: whether the token for `before` is sent here when that leads here. Another
    /// server hears it only if the operator knows that server.
    fn hears_token_of(&self, before: &Target) -> bool {
        self.is_named || self.url.is_same_origin(&before.url)
    }
}

/// A session on another server.
#[derive(Clone, Debug)]
pub(crate) struct FarSession {
    target: Target,
    token: Option<HeaderValue>,
}

impl FarSession {
    /// Its URL.
    pub(crate) fn url(&self) -> &Url {
        &self.target.url
    }
}

/// What a POST led to.
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) answer: String,
    /// Whether that answers our offer, or is an offer in its place.
    pub(crate) kind: AnswerKind,
    pub(crate) session: FarSession,
    /// The way its stream has come, where it says so.
    pub(crate) way: Vec<NodeId>,
    /// Where its candidates may be.
    pub(crate) reach: Reach,
}

impl Caller {
    pub(crate) fn new(config: &Cascade) -> Self {
        Caller {
            reach: Reach {
                allowed: config.networks.clone(),
            },
            hosts: config.hosts.clone(),
            ca_file: config.ca_file.clone(),
            tls: OnceLock::new(),
        }
    }

    /// Looks a server's addresses up. What is called later is what was looked at here, whatever the
    /// name stands for by then.
    ///
    /// # Errors
    /// When there is none, or none that may be called.
    pub(crate) async fn look_up(&self, url: Url) -> Result<Target, Failure> {
        let found = tokio::net::lookup_host((url.host.as_str(), url.port)).await;
        let found = found.map_err(|error| Failure::Unreachable(error.to_string()))?;
        let canonical = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
        let addresses = found.map(canonical).collect();
        self.judge(url, addresses)
    }

    fn judge(&self, url: Url, found: Vec<SocketAddr>) -> Result<Target, Failure> {
        if found.is_empty() {
            return Err(Failure::Unreachable("its host has no address".to_owned()));
        }
        let by_name = self.names_host(&url.host);
        let mut addresses = found;
        addresses.retain(|address| by_name || self.reach.allows(address.ip()));
        addresses.truncate(ADDRESSES_MAX);
        if addresses.is_empty() {
            return Err(Failure::Blocked);
        }
        let mut ips = addresses.iter().map(SocketAddr::ip);
        let is_named = by_name || ips.all(|ip| self.reach.names(ip));
        Ok(Target {
            url,
            addresses,
            is_named,
        })
    }

    fn names_host(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
    }

    /// Where the candidates of a server's answer may be: where it may be itself.
    fn reach_of(&self, target: &Target) -> Reach {
        let mut reach = self.reach.clone();
        if self.names_host(&target.url.host) {
            let own = target.addresses.iter().map(|at| Network::host(at.ip()));
            reach.allowed.extend(own);
        }
        reach
    }

    /// Posts an offer and follows where it is redirected to (RFC 9725 §4.5).
    ///
    /// # Errors
    /// Why there is no session.
    pub(crate) async fn post(
        &self,
        target: &Target,
        offer: &str,
        token: Option<&HeaderValue>,
        way: &[NodeId],
    ) -> Result<Created, Failure> {
        let mut target = target.clone();
        let mut token = token.cloned();
        for _ in 0..=REDIRECTS_MAX {
            let request = Request::builder()
                .method(Method::POST)
                .header(CONTENT_TYPE, SDP)
                .header(ACCEPT, SDP);
            let mut request = request.body(offer.to_owned().into()).map_err(broken)?;
            let headers = request.headers_mut();
            if let Some(token) = &token {
                headers.insert(AUTHORIZATION, token.clone());
            }
            if let Some(way) = way::render(way) {
                headers.insert(way::WAY, way);
            }
            let reply = self.exchange(&target, request).await?;
            match reply.status {
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
                    let to = location(&target.url, &reply.headers)?;
                    let next = self.redirected(&target.url, to).await?;
                    token = token.filter(|_| next.hears_token_of(&target));
                    target = next;
                }
                StatusCode::CREATED => {
                    return self.created(target, token, reply, AnswerKind::Answer).await;
                }
                StatusCode::NOT_ACCEPTABLE if is_sdp(&reply) => {
                    let kind = AnswerKind::CounterOffer;
                    return self.created(target, token, reply, kind).await;
                }
                StatusCode::LOOP_DETECTED => return Err(Failure::Loop),
                status => {
                    return Err(Failure::Refused {
                        status,
                        retry_after: retry_after(&reply.headers),
                    });
                }
            }
        }
        Err(Failure::Misshapen("it redirects too often".to_owned()))
    }

    /// Brings our answer to a counter-offer (draft-ietf-wish-whep §4.3.2).
    ///
    /// # Errors
    /// Why there is no session.
    pub(crate) async fn answer_offer(
        &self,
        session: &FarSession,
        answer: String,
    ) -> Result<(), Failure> {
        let request = Request::builder()
            .method(Method::PATCH)
            .header(CONTENT_TYPE, SDP);
        let mut request = request.body(answer.into()).map_err(broken)?;
        if let Some(token) = &session.token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        let reply = self.exchange(&session.target, request).await?;
        if reply.status.is_success() {
            return Ok(());
        }
        Err(Failure::Refused {
            status: reply.status,
            retry_after: retry_after(&reply.headers),
        })
    }

    /// Asks for an ICE restart with a fragment of ours; what the other server answers (RFC 9725
    /// §4.3.3: any tag, since the session is what counts).
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn restart(
        &self,
        session: &FarSession,
        fragment: String,
    ) -> Result<String, Failure> {
        let request = Request::builder()
            .method(Method::PATCH)
            .header(CONTENT_TYPE, FRAGMENT)
            .header(IF_MATCH, "*");
        let mut request = request.body(fragment.into()).map_err(broken)?;
        if let Some(token) = &session.token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        let reply = self.exchange(&session.target, request).await?;
        if reply.status != StatusCode::OK {
            return Err(Failure::Refused {
                status: reply.status,
                retry_after: retry_after(&reply.headers),
            });
        }
        let text = String::from_utf8(reply.body.to_vec());
        text.map_err(|_| misshapen("its fragment is not UTF-8"))
    }

    /// Ends a session there, as far as that succeeds.
    pub(crate) async fn delete(&self, session: &FarSession) {
        let request = Request::builder().method(Method::DELETE).uri("/");
        let Ok(mut request) = request.body(bytes::Bytes::new().into()) else {
            return;
        };
        if let Some(token) = &session.token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        let exchanged = timeout(DELETE_WITHIN, self.exchange(&session.target, request)).await;
        let outcome = match exchanged {
            Ok(Ok(reply)) => reply.status.to_string(),
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => Failure::TimedOut.to_string(),
        };
        tracing::debug!(server = ?session.target.url, outcome, "far session ended");
    }

    async fn exchange(
        &self,
        target: &Target,
        request: Request<http_body_util::Full<bytes::Bytes>>,
    ) -> Result<Reply, Failure> {
        let tls = if target.url.is_https {
            Some(self.tls().await?)
        } else {
            None
        };
        let stream = outbound::open(&target.url, &target.addresses, tls.as_ref()).await;
        let stream = stream.map_err(|why| Failure::Unreachable(why.to_string()))?;
        let reply = outbound::send(stream, &target.url, request, ANSWER_SIZE_MAX).await;
        reply.map_err(|why| Failure::Unreachable(why.to_string()))
    }

    async fn tls(&self) -> Result<Connector, Failure> {
        if self.tls.get().is_none() {
            let ca_file = self.ca_file.clone();
            let made = tokio::task::spawn_blocking(move || Connector::new(ca_file.as_deref()));
            let made = made.await.map_err(broken)?;
            let _ = self.tls.set(made);
        }
        let made = self.tls.get().cloned();
        made.unwrap_or_else(|| Err("it could not be made".to_owned()))
            .map_err(|why| Failure::Unreachable(format!("cascade.ca_file: {why}")))
    }

    /// Each hop is checked as the first was.
    async fn redirected(&self, from: &Url, to: Url) -> Result<Target, Failure> {
        if from.is_https && !to.is_https {
            return Err(Failure::Misshapen(
                "it redirects from https to http".to_owned(),
            ));
        }
        self.look_up(to).await
    }

    async fn created(
        &self,
        target: Target,
        token: Option<HeaderValue>,
        reply: Reply,
        kind: AnswerKind,
    ) -> Result<Created, Failure> {
        let url = location(&target.url, &reply.headers)?;
        // RFC 9725 §4.2: the session is usually at the same server.
        let session = if url.is_same_origin(&target.url) {
            Target {
                url,
                ..target.clone()
            }
        } else {
            self.redirected(&target.url, url).await?
        };
        let token = token.filter(|_| session.hears_token_of(&target));
        let session = FarSession {
            target: session,
            token,
        };
        let made = answer(&reply).and_then(|answer| {
            let way = way::read(&reply.headers);
            let way = way.map_err(|_| misshapen("its Whitewater-Way cannot be read"))?;
            Ok((answer, way.unwrap_or_default()))
        });
        match made {
            Ok((answer, way)) => Ok(Created {
                answer,
                kind,
                way,
                reach: self.reach_of(&target),
                session,
            }),
            Err(failure) => {
                // Nobody will come to this session.
                self.delete(&session).await;
                Err(failure)
            }
        }
    }
}

fn is_sdp(reply: &Reply) -> bool {
    let content_type = reply.headers.get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let kind = content_type.and_then(|text| text.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case(SDP))
}

fn answer(reply: &Reply) -> Result<String, Failure> {
    if !is_sdp(reply) {
        return Err(misshapen("its answer is not application/sdp"));
    }
    let text = String::from_utf8(reply.body.to_vec());
    text.map_err(|_| misshapen("its answer is not UTF-8"))
}

fn location(base: &Url, headers: &HeaderMap) -> Result<Url, Failure> {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.ok_or_else(|| misshapen("its answer has no Location"))?;
    let url = base.join(location);
    url.map_err(|why| misshapen(&format!("its Location cannot be followed: {why}")))
}

/// Seconds or a date (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let after = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = httpdate::parse_http_date(text).ok()?;
            at.duration_since(SystemTime::now()).unwrap_or_default()
        }
    };
    Some(after.min(RETRY_AFTER_MAX))
}

/// The value of `Authorization` for what a caller gave as token: with a scheme it is taken as it is,
/// without one it is a bearer token.
///
/// # Errors
/// When it cannot stand in a header.
pub(crate) fn authorization(token: &str) -> Result<HeaderValue, &'static str> {
    let text = if token.contains(' ') {
        token.to_owned()
    } else {
        format!("Bearer {token}")
    };
    let mut value = HeaderValue::try_from(text).map_err(|_| "token cannot stand in a header")?;
    value.set_sensitive(true);
    Ok(value)
}

fn misshapen(what: &str) -> Failure {
    Failure::Misshapen(what.to_owned())
}

fn broken(why: impl ToString) -> Failure {
    Failure::Unreachable(why.to_string())
}

const REDIRECTS_MAX: usize = 5;
/// Addresses of one host that are tried.
const ADDRESSES_MAX: usize = 8;
const ANSWER_SIZE_MAX: usize = 256 * 1024;
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
const DELETE_WITHIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
