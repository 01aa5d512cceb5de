use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hyper::body::Incoming;
use tokio::sync::{Semaphore, watch};
use whitewater_model::{Now, Registry};

use crate::Config;
use crate::auth::Guard;
use crate::cascade::Cascades;
use crate::dialect::live777::Feed;
use crate::events::Events;
use crate::http::crowd::Crowd;
use crate::http::links::IceLinks;
use crate::http::rate::Limiter;
use crate::http::response::Response;
use crate::http::route::Scope;
use crate::http::router;
use crate::http::site::Site;
use crate::metrics::HttpCounters;
use crate::plane::Line;
use crate::session::Gates;

/// What every request can reach.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) guard: Arc<Guard>,
    pub(crate) limiter: Limiter,
    registry: Mutex<Registry>,
    pub(crate) line: Line,
    pub(crate) gates: Gates,
    pub(crate) feed: Feed,
    pub(crate) events: Events,
    pub(crate) ice_links: IceLinks,
    pub(crate) cascades: Cascades,
    pub(crate) counters: HttpCounters,
    pub(crate) sse_clients: Arc<Semaphore>,
    pub(crate) sse_sources: Arc<Crowd>,
    pub(crate) event_sources: Arc<Crowd>,
    /// Held while a drain begins or is taken back: one at a time.
    pub(crate) drain_changes: Mutex<()>,
    /// True once the server goes away.
    pub(crate) ending: watch::Sender<bool>,
    /// False once the data plane's side of the line is gone.
    pub(crate) plane_alive: AtomicBool,
}

impl Context {
    pub(crate) fn new(
        config: Config,
        guard: Guard,
        line: Line,
        ice_links: IceLinks,
        cascades: Cascades,
    ) -> Self {
        Context {
            guard: Arc::new(guard),
            limiter: Limiter::new(&config.limits),
            registry: Mutex::new(Registry::new(config.policy.clone())),
            line,
            gates: Gates::default(),
            feed: Feed::default(),
            events: Events::default(),
            ice_links,
            cascades,
            counters: HttpCounters::default(),
            sse_clients: Arc::new(Semaphore::new(config.limits.sse_clients_max)),
            sse_sources: Crowd::new(config.limits.source_sse_clients_max),
            event_sources: Crowd::new(config.limits.source_event_streams_max),
            drain_changes: Mutex::default(),
            ending: watch::Sender::new(false),
            plane_alive: AtomicBool::new(true),
            config,
        }
    }

    /// For looking; nothing in the outbox is expected to change. Never held across an await.
    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        // A verb that panicked half-way costs at most the stream it was about.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out a verb and sees to it that what it put in the outbox is sent.
    pub(crate) fn act<T>(&self, verb: impl FnOnce(&mut Registry, Now) -> T) -> T {
        let mut registry = self.registry();
        // Read under the lock, so that the registry's time does not go backwards.
        let outcome = verb(&mut registry, now());
        let news = !registry.outbox().is_empty();
        drop(registry);
        if news {
            self.line.wake();
        }
        outcome
    }

    pub(crate) fn plane_is_alive(&self) -> bool {
        self.plane_alive.load(Ordering::Relaxed)
    }
}

impl Site for Context {
    fn config(&self) -> &Config {
        &self.config
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

    fn sweep(&self) {
        self.guard.sweep(self);
    }

    async fn answer(
        &self,
        scope: Scope,
        peer: SocketAddr,
        request: hyper::Request<Incoming>,
    ) -> Response {
        router::serve(self, scope, peer, request).await
    }
}

/// Both clocks.
pub(crate) fn now() -> Now {
    let unix_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        });
    Now {
        mono: Instant::now(),
        unix_ms,
    }
}
