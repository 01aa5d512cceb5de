//! Accepts connections, bounds what they cost, and ends them in order.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use whitewater_link::ControlPort;

use super::links::IceLinks;
use super::router;
use crate::auth::{Fetcher, Guard, Keeper};
use crate::context::Context;
use crate::dialect::live777::Feed;
use crate::events::Events;
use crate::plane::{Line, Plane};
use crate::{Config, HttpLimits};

/// The control plane, listening but not yet serving.
pub struct Server {
    listener: std::net::TcpListener,
    local_addr: SocketAddr,
    context: Arc<Context>,
    keeper: Keeper,
    fetcher: Option<Fetcher>,
    asks: tokio::sync::mpsc::Receiver<crate::plane::Ask>,
    port: ControlPort,
}

impl Server {
    /// Checks the configuration and takes the address. Needs no runtime.
    ///
    /// # Errors
    /// `InvalidInput` for what cannot be configured so, else the kernel's.
    pub fn bind(config: Config, port: ControlPort) -> io::Result<Server> {
        let ice_links = IceLinks::new(&config.ice_servers, &config.turn)?;
        let guard = Guard::new(&config.auth)?;
        let keeper = Keeper::start(&config.auth, &guard)?;
        let fetcher = Fetcher::new(&config.auth)?;
        let listener = listen(config.listen)?;
        let local_addr = listener.local_addr()?;
        let (line, asks) = Line::new(port.reports.len());
        Ok(Server {
            listener,
            local_addr,
            context: Arc::new(Context::new(config, guard, line, ice_links)),
            keeper,
            fetcher,
            asks,
            port,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `shutdown` is ready, then takes nothing new, has the data plane close all
    /// sessions, waits for that up to `drain_max`, ends the event streams and returns.
    ///
    /// # Errors
    /// The kernel's at start, or when the task that talks to the data plane ended.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let Server {
            listener,
            context,
            keeper,
            fetcher,
            asks,
            port,
            ..
        } = self;
        let listener = TcpListener::from_std(listener)?;
        let plane = Plane::new(port, asks, context.clone())?;
        // Dropping the set ends its tasks, whichever way this function is left.
        let mut tasks = JoinSet::new();
        tasks.spawn(plane.run());
        tasks.spawn(Feed::run(context.clone()));
        tasks.spawn(keeper.run(context.clone()));
        if let Some(fetcher) = fetcher {
            tasks.spawn(fetcher.run(context.clone()));
        }
        tasks.spawn(Events::run(context.clone()));
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        let accepting = accept(&context, &listener, &graceful, &mut connections);
        let serving = async {
            shutdown.await;
            tracing::info!("shutting down");
            let elsewhere = context.config.redirects.play.as_deref();
            if context.events.reconnect_all(elsewhere) {
                // The sessions take their events along: a moment for the players to hear.
                tokio::time::sleep(LAST_WORD).await;
            }
            context.act(|registry, now| registry.drain(now));
            // Until the sessions are gone, requests still hear 503 instead of nothing.
            until_drained(&context).await;
        };
        let ended = tokio::select! {
            () = serving => Ok(()),
            () = accepting => Ok(()),
            _ = tasks.join_next() => Err(io::Error::other("a task of the control plane ended")),
        };
        drop(listener);
        context.ending.send_replace(true);
        let _ = tokio::time::timeout(HANG_UP_WITHIN, graceful.shutdown()).await;
        connections.shutdown().await;
        tasks.shutdown().await;
        ended
    }
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

async fn accept(
    context: &Arc<Context>,
    listener: &TcpListener,
    graceful: &GracefulShutdown,
    connections: &mut JoinSet<()>,
) {
    let places = Arc::new(Semaphore::new(context.config.limits.connections_max));
    let builder = builder(&context.config.limits);
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, mostly: others have to end first.
                tracing::debug!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        context.counters.count_connection();
        while connections.try_join_next().is_some() {}
        prepare(&stream);
        connections.spawn(serve(
            context.clone(),
            &builder,
            graceful,
            stream,
            peer,
            place,
        ));
    }
}

/// One connection, as a future of its own.
fn serve(
    context: Arc<Context>,
    builder: &Builder<TokioExecutor>,
    graceful: &GracefulShutdown,
    stream: TcpStream,
    peer: SocketAddr,
    place: OwnedSemaphorePermit,
) -> impl Future<Output = ()> + Send + 'static {
    let asked = Arc::new(AtomicBool::new(false));
    let patience = context.config.limits.header_timeout;
    let service = {
        let asked = asked.clone();
        service_fn(move |request: hyper::Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let context = context.clone();
            async move { Ok::<_, Infallible>(router::serve(&context, peer, request).await) }
        })
    };
    let connection = builder
        .serve_connection(TokioIo::new(stream), service)
        .into_owned();
    let connection = graceful.watch(connection);
    async move {
        let _place = place;
        tokio::pin!(connection);
        // Telling HTTP/1 from HTTP/2 and the latter's handshake know no time limit.
        tokio::select! {
            _ = &mut connection => return,
            () = tokio::time::sleep(patience) => {}
        }
        if asked.load(Ordering::Relaxed) {
            // How a peer breaks off is its own affair.
            let _ = connection.await;
        }
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

async fn until_drained(context: &Context) {
    let deadline = tokio::time::Instant::now() + context.config.drain_max;
    loop {
        let counts = context.registry().counts();
        let left = counts.publishers + counts.viewers + counts.pending + counts.closing;
        if left == 0 {
            return;
        }
        if tokio::time::Instant::now() >= deadline {
            tracing::warn!(left, "sessions left at the end of the drain");
            return;
        }
        tokio::time::sleep(DRAIN_LOOK_EVERY).await;
    }
}

const BACKLOG: i32 = 1024;
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
const HANG_UP_WITHIN: Duration = Duration::from_secs(1);
const DRAIN_LOOK_EVERY: Duration = Duration::from_millis(10);
const LAST_WORD: Duration = Duration::from_millis(100);
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
const H2_PING_EVERY: Duration = Duration::from_secs(20);
const H2_PING_WITHIN: Duration = Duration::from_secs(10);
const H2_RESETS_MAX: usize = 20;
/// Per stream.
const H2_SEND_BUFFER_SIZE_MAX: usize = 64 * 1024;
/// hyper takes no smaller one.
const BUFFER_SIZE_MIN: usize = 8192;
