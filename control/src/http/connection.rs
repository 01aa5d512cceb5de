//! Takes connections in, secures them, and ends those that are of no use.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{HeaderValue, STRICT_TRANSPORT_SECURITY};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

use super::crowd::{Crowd, Place};
use super::patience::Patience;
use super::pulse::Pulse;
use super::redirect;
use super::response::Response;
use super::route::Scope;
use super::site::Site;
use crate::{Config, HttpLimits};

/// What is spoken on a listener.
#[derive(Clone)]
pub(super) enum Front {
    /// HTTP.
    Plain,
    /// HTTPS.
    Secure {
        acceptor: TlsAcceptor,
        hsts: Option<HeaderValue>,
    },
    /// HTTP, to be told where HTTPS is.
    Redirect { https_port: u16 },
}

impl Front {
    async fn answer<S: Site>(
        &self,
        site: &S,
        scope: Scope,
        peer: SocketAddr,
        request: hyper::Request<Incoming>,
    ) -> Response {
        match self {
            Front::Plain => site.answer(scope, peer, request).await,
            Front::Secure { hsts, .. } => {
                let mut response = site.answer(scope, peer, request).await;
                if let Some(hsts) = hsts {
                    let headers = response.headers_mut();
                    headers.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
                }
                response
            }
            Front::Redirect { https_port } => redirect::serve(site, *https_port, &request),
        }
    }
}

/// The places for connections, which listeners may share.
#[derive(Clone)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    sources: Arc<Crowd>,
}

impl Places {
    pub(super) fn new(limits: &HttpLimits) -> Self {
        Places {
            all: Arc::new(Semaphore::new(limits.connections_max)),
            sources: Crowd::new(limits.source_connections_max),
        }
    }

    /// `Err` when this source has too many. A trusted proxy's connections are those of many.
    fn of_source(&self, config: &Config, peer: IpAddr) -> Result<Option<Place>, ()> {
        let proxies = &config.trusted_proxies;
        if proxies.iter().any(|network| network.contains(peer)) {
            return Ok(None);
        }
        self.sources.enter(peer).map(Some).ok_or(())
    }
}

/// One listener with its connections.
pub(super) struct Door {
    listener: Option<TcpListener>,
    front: Front,
    scope: Scope,
    places: Places,
    connections: JoinSet<()>,
}

impl Door {
    pub(super) fn new(listener: TcpListener, front: Front, scope: Scope, places: Places) -> Self {
        Door {
            listener: Some(listener),
            front,
            scope,
            places,
            connections: JoinSet::new(),
        }
    }

    /// Takes connections in for as long as it is polled.
    pub(super) async fn open<S: Site>(&mut self, site: &Arc<S>) {
        let builder = Arc::new(builder(&site.config().limits));
        let Some(listener) = &self.listener else {
            return;
        };
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, mostly: others have to end first.
                    tracing::debug!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            site.counters().count_connection();
            while self.connections.try_join_next().is_some() {}
            let Ok(of_source) = self.places.of_source(site.config(), peer.ip()) else {
                site.counters().count_refused_connection();
                continue;
            };
            // The others wait in the kernel's queue meanwhile.
            let Ok(place) = self.places.all.clone().acquire_owned().await else {
                return;
            };
            prepare(&stream);
            let visit = Visit {
                site: site.clone(),
                builder: builder.clone(),
                front: self.front.clone(),
                scope: self.scope,
                peer,
                _places: (place, of_source),
            };
            self.connections.spawn(visit.serve(stream));
        }
    }

    /// Takes no more connections in, and gives those that are there a little time: they have been
    /// told by [`Site::ending`].
    pub(super) async fn close(mut self) {
        self.listener = None;
        let all = async { while self.connections.join_next().await.is_some() {} };
        let _ = timeout(HANG_UP_WITHIN, all).await;
        self.connections.shutdown().await;
    }
}

/// One connection.
struct Visit<S> {
    site: Arc<S>,
    builder: Arc<Builder<TokioExecutor>>,
    front: Front,
    scope: Scope,
    peer: SocketAddr,
    /// Free again once the visit is over.
    _places: (OwnedSemaphorePermit, Option<Place>),
}

impl<S: Site> Visit<S> {
    async fn serve(self, stream: TcpStream) {
        let limits = &self.site.config().limits;
        let stream = Patience::new(stream, limits.write_timeout);
        let Front::Secure { acceptor, .. } = &self.front else {
            return self.converse(stream).await;
        };
        let shaken = timeout(limits.header_timeout, acceptor.accept(stream)).await;
        let counters = self.site.counters();
        match shaken {
            Ok(Ok(secured)) => {
                counters.count_handshake(true);
                self.converse(secured).await;
            }
            // How a peer breaks off is its own affair.
            Ok(Err(_)) | Err(_) => counters.count_handshake(false),
        }
    }

    async fn converse(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let config = self.site.config();
        let limits = &config.limits;
        let pulse = Pulse::new(
            limits.header_timeout,
            limits.idle_timeout,
            limits.body_timeout + config.answer_timeout + limits.write_timeout,
        );
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let busy = pulse.begin();
            let (site, front) = (self.site.clone(), self.front.clone());
            let (scope, peer) = (self.scope, self.peer);
            // Boxed, as hyper keeps room for it in every connection, and most of them wait for a request.
            Box::pin(async move {
                let response = front.answer(&*site, scope, peer, request).await;
                Ok::<_, Infallible>(busy.with(response))
            })
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let mut ending = self.site.ending().subscribe();
        let mut look_at = Instant::now() + limits.header_timeout;
        loop {
            tokio::select! {
                _ = &mut connection => return,
                _ = ending.wait_for(|ending| *ending) => break,
                () = sleep_until(look_at) => match pulse.look_again_at(Instant::now()) {
                    Some(at) => look_at = at,
                    None => break,
                },
            }
        }
        connection.as_mut().graceful_shutdown();
        let _ = timeout(HANG_UP_WITHIN, connection).await;
    }
}

fn builder(limits: &HttpLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.header_size_max.max(BUFFER_SIZE_MIN));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_size_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(limits.h2_streams_max)
        // Rapid reset (CVE-2023-44487): the connection ends beyond this.
        .max_pending_accept_reset_streams(H2_RESETS_MAX)
        .max_local_error_reset_streams(H2_RESETS_MAX)
        .max_send_buf_size(H2_SEND_BUFFER_SIZE_MAX)
        .keep_alive_interval(H2_PING_EVERY)
        .keep_alive_timeout(H2_PING_WITHIN);
    builder
}

/// Options whose refusal by the kernel costs only comfort.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(TCP_KEEPALIVE)
        .with_interval(TCP_KEEPALIVE / 3);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

const ACCEPT_RETRY: Duration = Duration::from_millis(50);
const HANG_UP_WITHIN: Duration = Duration::from_secs(1);
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
const H2_PING_EVERY: Duration = Duration::from_secs(20);
const H2_PING_WITHIN: Duration = Duration::from_secs(10);
const H2_RESETS_MAX: usize = 20;
/// Per stream.
const H2_SEND_BUFFER_SIZE_MAX: usize = 64 * 1024;
/// hyper takes no smaller one.
const BUFFER_SIZE_MIN: usize = 8192;
