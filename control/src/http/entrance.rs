//! The addresses and the certificate of a server, whatever site is behind them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::join_all;
use hyper::header::HeaderValue;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::BindError;
use super::connection::{Door, Front, Places};
use super::route::Scope;
use super::site::Site;
use super::tls::Security;
use crate::Config;

/// Listening, but not yet serving.
pub(crate) struct Entrance {
    listener: std::net::TcpListener,
    redirect: Option<std::net::TcpListener>,
    admin: Option<std::net::TcpListener>,
    local_addr: SocketAddr,
    security: Option<Security>,
}

impl Entrance {
    /// Reads or makes the certificate and takes the addresses. Needs no runtime.
    ///
    /// # Errors
    /// [`BindError`] names the file or address at fault.
    pub(crate) fn bind(config: &Config) -> Result<Self, BindError> {
        let security = Security::new(&config.tls)?;
        let listener = listen(config.listen)?;
        let redirect = config.redirect_listen.map(listen).transpose()?;
        let admin = config.admin_listen.map(listen).transpose()?;
        let local_addr = address_of(&listener, config.listen)?;
        Ok(Entrance {
            listener,
            redirect,
            admin,
            local_addr,
            security,
        })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    pub(crate) fn redirect_addr(&self) -> Option<SocketAddr> {
        self.redirect.as_ref()?.local_addr().ok()
    }

    /// Where the management API listens, if it has a listener of its own.
    pub(crate) fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref()?.local_addr().ok()
    }

    /// SHA-256 of the certificate in use; `None` without TLS.
    pub(crate) fn certificate_fingerprint(&self) -> Option<&str> {
        Some(&self.security.as_ref()?.fingerprint)
    }

    /// Serves the site until `until` is ready or one of `tasks` ends, then tells the site and ends
    /// tasks and connections.
    ///
    /// # Errors
    /// The kernel's at start, or when a task ended.
    pub(crate) async fn serve<S: Site>(
        self,
        site: &Arc<S>,
        mut tasks: JoinSet<()>,
        until: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let front = match self.security {
            None => Front::Plain,
            Some(security) => {
                if let Some(reload) = security.reload {
                    tasks.spawn(reload.run(site.clone()));
                }
                Front::Secure {
                    acceptor: security.acceptor,
                    hsts: hsts(site.config()),
                }
            }
        };
        let places = Places::new(&site.config().limits);
        let scope = match self.admin {
            None => Scope::Whole,
            Some(_) => Scope::Public,
        };
        let mut doors = Vec::new();
        if let Some(listener) = self.redirect {
            let https_port = self.local_addr.port();
            let front = Front::Redirect { https_port };
            let listener = TcpListener::from_std(listener)?;
            doors.push(Door::new(listener, front, scope, places.clone()));
        }
        if let Some(listener) = self.admin {
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
            let places = Places::new(&site.config().limits);
            doors.push(Door::new(listener, front, Scope::Whole, places));
        }
        let listener = TcpListener::from_std(self.listener)?;
        doors.push(Door::new(listener, front, scope, places));
        let accepting = join_all(doors.iter_mut().map(|door| door.open(site)));
        let ended = tokio::select! {
            () = until => Ok(()),
            _ = accepting => Ok(()),
            _ = tasks.join_next() => Err(io::Error::other("a task of the control plane ended")),
        };
        site.ending().send_replace(true);
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
