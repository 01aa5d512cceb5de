//! The control plane from its start to its end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinSet;
use whitewater_link::ControlPort;

use super::BindError;
use super::entrance::Entrance;
use super::links::IceLinks;
use crate::Config;
use crate::auth::{Fetcher, Guard, Keeper};
use crate::cascade::{self, Cascades};
use crate::context::Context;
use crate::dialect::live777::Feed;
use crate::drain;
use crate::events::Events;
use crate::plane::{Line, Plane};

/// The control plane, listening but not yet serving.
pub struct Server {
    entrance: Entrance,
    context: Arc<Context>,
    keeper: Keeper,
    fetcher: Option<Fetcher>,
    asks: tokio::sync::mpsc::Receiver<crate::plane::Ask>,
    starts: tokio::sync::mpsc::Receiver<cascade::Start>,
    port: ControlPort,
}

impl Server {
    /// Checks the configuration, reads or makes the certificate and takes the addresses. Needs no
    /// runtime.
    ///
    /// # Errors
    /// [`BindError`] names the setting, file or address at fault.
    pub fn bind(config: Config, port: ControlPort) -> Result<Server, BindError> {
        let ice_links =
            IceLinks::new(&config.ice_servers, &config.turn).map_err(BindError::Config)?;
        let guard = Guard::new(&config.auth).map_err(BindError::Config)?;
        let keeper = Keeper::start(&config.auth, &guard).map_err(BindError::Config)?;
        let fetcher = Fetcher::new(&config.auth).map_err(BindError::Config)?;
        let entrance = Entrance::bind(&config)?;
        let (line, asks) = Line::new(port.reports.len());
        let (cascades, starts) = Cascades::new(&config.cascade).map_err(BindError::Config)?;
        Ok(Server {
            entrance,
            context: Arc::new(Context::new(config, guard, line, ice_links, cascades)),
            keeper,
            fetcher,
            asks,
            starts,
            port,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.entrance.local_addr()
    }

    /// Where it listens to tell the way to HTTPS.
    pub fn redirect_addr(&self) -> Option<SocketAddr> {
        self.entrance.redirect_addr()
    }

    /// Where the management API listens, if it has a listener of its own.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.entrance.admin_addr()
    }

    /// SHA-256 of the certificate in use, as pairs of hexadecimal digits with colons; `None`
    /// without TLS.
    pub fn certificate_fingerprint(&self) -> Option<&str> {
        self.entrance.certificate_fingerprint()
    }

    /// Serves until `shutdown` is ready, then takes nothing new, asks players to leave and waits for
    /// them up to `drain_max`, has the data plane close all sessions, waits for that as long again,
    /// ends the event streams and returns.
    ///
    /// # Errors
    /// The kernel's at start, or when the task that talks to the data plane ended.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let Server {
            entrance,
            context,
            keeper,
            fetcher,
            asks,
            starts,
            port,
        } = self;
        let plane = Plane::new(port, asks, context.clone())?;
        // Dropping the set ends its tasks, whichever way this function is left.
        let mut tasks = JoinSet::new();
        tasks.spawn(plane.run());
        tasks.spawn(Feed::run(context.clone()));
        tasks.spawn(keeper.run(context.clone()));
        if let Some(fetcher) = fetcher {
            tasks.spawn(fetcher.run(context.guard.clone()));
        }
        tasks.spawn(Events::run(context.clone()));
        tasks.spawn(Cascades::run(context.clone(), starts));
        let serving = async {
            shutdown.await;
            tracing::info!("shutting down");
            drain::before_the_end(&context).await;
            context.act(|registry, now| registry.shut_down(now));
            context.cascades.end_all();
            // Until the sessions are gone, requests still hear 503 instead of nothing.
            drain::until_empty(&context).await;
        };
        entrance.serve(&context, tasks, serving).await
    }
}
