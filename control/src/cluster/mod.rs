//! The manager: one address in front of many nodes, with LiveMan's API.
//!
//! It is another site behind the same listener as a node's routes, with the same limits, guard and
//! errors. It has no media: it chooses nodes, hands calls on to them, and sees to it that they
//! pass streams on to each other where one alone is not enough. All it knows it can find out again
//! from the nodes and the store, so that there may be many of it.

mod admin;
mod config;
mod courier;
mod drain;
mod holdings;
mod json;
mod lists;
mod login;
mod openapi;
mod peers;
mod place;
mod poll;
mod proxy;
mod red5;
mod register;
mod routes;
mod steward;
mod store;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::body::Incoming;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use whitewater_model::cluster::Cluster;

pub use config::{Account, Calls, EtcdAccess, ManagerConfig, NodeEntry};
pub use register::{Registrar, Registration};

use crate::auth::{Fetcher, Guard, Keeper};
use crate::http::BindError;
use crate::http::entrance::Entrance;
use crate::http::rate::Limiter;
use crate::http::response::Response;
use crate::http::route::Scope;
use crate::http::site::Site;
use crate::metrics::HttpCounters;
use crate::{Config, random};
use courier::Courier;
use drain::Drains;
use holdings::Holdings;
use login::Signer;
use peers::{Peer, Peers};
use store::{Etcd, Memory, Store};

/// A manager, listening but not yet serving.
pub struct ManagerServer {
    entrance: Entrance,
    manager: Arc<Manager>,
    keeper: Keeper,
    fetcher: Option<Fetcher>,
}

/// What every request can reach.
pub(crate) struct Manager {
    config: ManagerConfig,
    guard: Arc<Guard>,
    limiter: Limiter,
    counters: HttpCounters,
    ending: watch::Sender<bool>,
    courier: Courier,
    peers: Peers,
    store: Arc<dyn Store>,
    holdings: Holdings,
    drains: Drains,
    signer: Signer,
    /// Event streams that are handed on.
    event_streams: Arc<Semaphore>,
    calls: CallCounters,
}

/// Calls to nodes on behalf of clients.
#[derive(Default)]
struct CallCounters {
    answered: AtomicU64,
    failed: AtomicU64,
    linked: AtomicU64,
}

impl ManagerServer {
    /// Checks the configuration, reads or makes the certificate and takes the addresses. Needs no
    /// runtime.
    ///
    /// # Errors
    /// [`BindError`] names the setting, file or address at fault.
    pub fn bind(mut config: ManagerConfig) -> Result<Self, BindError> {
        let invalid =
            |why: String| BindError::Config(io::Error::new(io::ErrorKind::InvalidInput, why));
        let asks = config.http.auth.asks() || !config.accounts.is_empty();
        let secret = match config.http.auth.secret.as_str() {
            "" => random::random_token().map_err(BindError::Config)?,
            own => own.to_owned(),
        };
        if asks {
            // So that the tokens it gives are taken.
            config.http.auth.secret.clone_from(&secret);
        }
        let guard = Guard::new(&config.http.auth).map_err(BindError::Config)?;
        let keeper = Keeper::start(&config.http.auth, &guard).map_err(BindError::Config)?;
        let fetcher = Fetcher::new(&config.http.auth).map_err(BindError::Config)?;
        let courier = Courier::new(config.ca_file.as_deref()).map_err(BindError::Config)?;
        let store: Arc<dyn Store> = if config.etcd.urls.is_empty() {
            Arc::new(Memory::default())
        } else {
            Arc::new(Etcd::new(courier.clone(), &config.etcd, STORE_PREFIX))
        };
        let peers = Peers::new(Cluster::new(config.bounds));
        for entry in &config.nodes {
            let peer = Peer::new(entry).ok_or_else(|| {
                invalid(format!(
                    "cluster.nodes: {} has a URL or a token that cannot be used",
                    entry.alias
                ))
            })?;
            if !peers.lock().add(Arc::new(peer)) {
                return Err(invalid(format!(
                    "cluster.nodes: {} stands twice",
                    entry.alias
                )));
            }
        }
        let entrance = Entrance::bind(&config.http)?;
        let limits = &config.http.limits;
        let manager = Manager {
            guard: Arc::new(guard),
            limiter: Limiter::new(limits),
            counters: HttpCounters::default(),
            ending: watch::Sender::new(false),
            courier,
            peers,
            holdings: Holdings::new(store.clone()),
            drains: Drains::new(store.clone()),
            store,
            signer: Signer::new(&secret),
            event_streams: Arc::new(Semaphore::new(limits.sse_clients_max)),
            calls: CallCounters::default(),
            config,
        };
        Ok(ManagerServer {
            entrance,
            manager: Arc::new(manager),
            keeper,
            fetcher,
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

    /// Serves until `shutdown` is ready. Sessions on the nodes go on.
    ///
    /// # Errors
    /// The kernel's at start, or when a task of the manager ended.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let manager = self.manager;
        let mut tasks = JoinSet::new();
        tasks.spawn(self.keeper.run(manager.clone()));
        if let Some(fetcher) = self.fetcher {
            tasks.spawn(fetcher.run(manager.guard.clone()));
        }
        tasks.spawn(poll::run(manager.clone()));
        tasks.spawn(holdings::run(manager.clone()));
        tasks.spawn(drain::run(manager.clone()));
        tasks.spawn(steward::run(manager.clone()));
        tasks.spawn(register::run(manager.clone()));
        self.entrance.serve(&manager, tasks, shutdown).await
    }
}

impl Site for Manager {
    fn config(&self) -> &Config {
        &self.config.http
    }

    fn counters(&self) -> &HttpCounters {
        &self.counters
    }

    fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }

    fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    fn ending(&self) -> &watch::Sender<bool> {
        &self.ending
    }

    /// The sessions are the nodes'.
    fn sweep(&self) {}

    async fn answer(
        &self,
        scope: Scope,
        peer: SocketAddr,
        request: hyper::Request<Incoming>,
    ) -> Response {
        routes::serve(self, scope, peer, request).await
    }
}

impl CallCounters {
    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// In front of all keys in etcd.
const STORE_PREFIX: &str = "/whitewater/";
