//! The control plane from its start to its end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::join_all;
use hyper::header::HeaderValue;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use whitewater_link::ControlPort;

use super::BindError;
use super::connection::{Door, Front, Places};
use super::links::IceLinks;
use super::router::Scope;
use super::tls::Security;
use crate::Config;
use crate::auth::{Fetcher, Guard, Keeper};
use crate::context::Context;
use crate::dialect::live777::Feed;
use crate::drain;
use crate::events::Events;
use crate::plane::{Line, Plane};

/// The control plane, listening but not yet serving.
pub struct Server {
    listener: std::net::TcpListener,
    redirect: Option<std::net::TcpListener>,
    admin: Option<std::net::TcpListener>,
    local_addr: SocketAddr,
    security: Option<Security>,
    context: Arc<Context>,
    keeper: Keeper,
    fetcher: Option<Fetcher>,
    asks: tokio::sync::mpsc::Receiver<crate::plane::Ask>,
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
        let security = Security::new(&config.tls)?;
        let listener = listen(config.listen)?;
        let redirect = config.redirect_listen.map(listen).transpose()?;
        let admin = config.admin_listen.map(listen).transpose()?;
        let local_addr = address_of(&listener, config.listen)?;
        let (line, asks) = Line::new(port.reports.len());
        Ok(Server {
            listener,
            redirect,
            admin,
            local_addr,
            security,
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

    /// Where it listens to tell the way to HTTPS.
    pub fn redirect_addr(&self) -> Option<SocketAddr> {
        self.redirect.as_ref()?.local_addr().ok()
    }

    /// Where the management API listens, if it has a listener of its own.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref()?.local_addr().ok()
    }

    /// SHA-256 of the certificate in use, as pairs of hexadecimal digits with colons; `None`
    /// without TLS.
    pub fn certificate_fingerprint(&self) -> Option<&str> {
        Some(&self.security.as_ref()?.fingerprint)
    }

    /// Serves until `shutdown` is ready, then takes nothing new, asks players to leave and waits for
    /// them up to `drain_max`, has the data plane close all sessions, waits for that as long again,
    /// ends the event streams and returns.
    ///
    /// # Errors
    /// The kernel's at start, or when the task that talks to the data plane ended.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let Server {
            listener,
            redirect,
            admin,
            local_addr,
            security,
            context,
            keeper,
            fetcher,
            asks,
            port,
        } = self;
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
        let front = match security {
            None => Front::Plain,
            Some(security) => {
                if let Some(reload) = security.reload {
                    tasks.spawn(reload.run(context.clone()));
                }
                Front::Secure {
                    acceptor: security.acceptor,
                    hsts: hsts(&context.config),
                }
            }
        };
        let places = Places::new(&context.config.limits);
        let scope = match admin {
            None => Scope::Whole,
            Some(_) => Scope::Public,
        };
        let mut doors = Vec::new();
        if let Some(listener) = redirect {
            let https_port = local_addr.port();
            let front = Front::Redirect { https_port };
            let listener = TcpListener::from_std(listener)?;
            doors.push(Door::new(listener, front, scope, places.clone()));
        }
        if let Some(listener) = admin {
            let is_local = listener.local_addr()?.ip().to_canonical().is_loopback();
            // Certificates are for names that others know: who looks after the server from its own
            // machine needs none.
            let front = if is_local {
                Front::Plain
            } else {
                front.clone()
            };
            let listener = TcpListener::from_std(listener)?;
            // Its own places: a flood of the others must not keep it off.
            let places = Places::new(&context.config.limits);
            doors.push(Door::new(listener, front, Scope::Whole, places));
        }
        let listener = TcpListener::from_std(listener)?;
        doors.push(Door::new(listener, front, scope, places));
        let accepting = join_all(doors.iter_mut().map(|door| door.open(&context)));
        let serving = async {
            shutdown.await;
            tracing::info!("shutting down");
            drain::before_the_end(&context).await;
            context.act(|registry, now| registry.shut_down(now));
            // Until the sessions are gone, requests still hear 503 instead of nothing.
            drain::until_empty(&context).await;
        };
        let ended = tokio::select! {
            () = serving => Ok(()),
            _ = accepting => Ok(()),
            _ = tasks.join_next() => Err(io::Error::other("a task of the control plane ended")),
        };
        context.ending.send_replace(true);
        join_all(doors.into_iter().map(Door::close)).await;
        tasks.shutdown().await;
        ended
    }
}

fn listen(address: SocketAddr) -> Result<std::net::TcpListener, BindError> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().map_err(|source| BindError::Listen { address, source })
}

fn address_of(
    listener: &std::net::TcpListener,
    address: SocketAddr,
) -> Result<SocketAddr, BindError> {
    let asked = listener.local_addr();
    asked.map_err(|source| BindError::Listen { address, source })
}

fn hsts(config: &Config) -> Option<HeaderValue> {
    let seconds = config.hsts_max_age.as_secs();
    let text = format!("max-age={seconds}");
    HeaderValue::try_from(text).ok().filter(|_| seconds > 0)
}

const BACKLOG: i32 = 1024;
