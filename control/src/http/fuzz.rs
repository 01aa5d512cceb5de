//! Connections without sockets, for the fuzz targets.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use whitewater_link::ControlPort;

use super::links::IceLinks;
use super::route::Scope;
use super::router;
use crate::Config;
use crate::auth::Guard;
use crate::cascade::Cascades;
use crate::context::Context;
use crate::dialect::live777::Feed;
use crate::events::Events;
use crate::plane::{Line, Plane};

/// The control plane at work, reached by bytes instead of a listener.
pub struct Unplugged {
    context: Arc<Context>,
    _tasks: JoinSet<()>,
}

impl Unplugged {
    /// Starts everything but listeners on the runtime this is called on.
    ///
    /// # Errors
    /// `InvalidInput` for what cannot be configured so, else the kernel's.
    pub fn start(config: Config, port: ControlPort) -> io::Result<Self> {
        let ice_links = IceLinks::new(&config.ice_servers, &config.turn)?;
        let guard = Guard::new(&config.auth)?;
        let (line, asks) = Line::new(port.reports.len());
        // Nobody takes their wishes: other servers are not called.
        let (cascades, _) = Cascades::new(&config.cascade)?;
        let context = Arc::new(Context::new(config, guard, line, ice_links, cascades));
        let mut tasks = JoinSet::new();
        tasks.spawn(Plane::new(port, asks, context.clone())?.run());
        tasks.spawn(Feed::run(context.clone()));
        tasks.spawn(Events::run(context.clone()));
        Ok(Unplugged {
            context,
            _tasks: tasks,
        })
    }

    /// What is answered to `bytes` on one connection, until it ends or `within` is over.
    pub async fn exchange(&self, bytes: &[u8], within: Duration) -> Vec<u8> {
        let (near, far) = tokio::io::duplex(PIPE_SIZE);
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.context.config.limits.header_timeout);
        builder.http2().timer(TokioTimer::new());
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let context = self.context.clone();
            async move {
                Ok::<_, Infallible>(router::serve(&context, Scope::Whole, PEER, request).await)
            }
        });
        let connection = builder.serve_connection(TokioIo::new(far), service);
        let (mut reader, mut writer) = tokio::io::split(near);
        let mut heard = Vec::new();
        let listening = async {
            let mut part = [0; 4096];
            while let Ok(size) = reader.read(&mut part).await
                && size > 0
            {
                heard.extend_from_slice(part.get(..size).unwrap_or_default());
            }
        };
        let talking = async {
            // The server may have hung up already; then there is still an answer to read.
            let _ = writer.write_all(bytes).await;
            listening.await;
        };
        let both = async { tokio::join!(connection, talking) };
        let _ = tokio::time::timeout(within, both).await;
        heard
    }
}

const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);
/// More than an input and its answers are, so that nobody waits for the other to read.
const PIPE_SIZE: usize = 1 << 20;
