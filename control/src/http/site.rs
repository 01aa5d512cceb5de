use std::net::SocketAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use tokio::sync::watch;

use super::rate::Limiter;
use super::response::Response;
use super::route::Scope;
use crate::Config;
use crate::auth::Guard;
use crate::metrics::HttpCounters;

/// What is behind a listener: a node's routes, or a manager's.
pub(crate) trait Site: Send + Sync + 'static {
    /// Limits, names and origins.
    fn config(&self) -> &Config;

    /// Where connections and answers are counted.
    fn counters(&self) -> &HttpCounters;

    /// Who checks credentials.
    fn guard(&self) -> &Arc<Guard>;

    /// Who keeps count of requests.
    fn limiter(&self) -> &Limiter;

    /// True once the server goes away.
    fn ending(&self) -> &watch::Sender<bool>;

    /// Ends what nobody would be let in for any more.
    fn sweep(&self);

    /// Answers one request, whatever it is, on a listener that has these routes.
    fn answer(
        &self,
        scope: Scope,
        peer: SocketAddr,
        request: hyper::Request<Incoming>,
    ) -> impl Future<Output = Response> + Send;
}
