//! What is HTTP and nothing else: the listener, limits, routes, bodies, preconditions, CORS.

mod bind_error;
pub(crate) mod body;
mod connection;
pub(crate) mod cors;
pub(crate) mod crowd;
pub(crate) mod entrance;
#[cfg(feature = "__fuzz")]
pub(crate) mod fuzz;
pub(crate) mod links;
mod listener;
pub(crate) mod media_type;
pub(crate) mod openapi;
pub(crate) mod origin;
pub(crate) mod path;
mod patience;
pub(crate) mod precondition;
pub(crate) mod problem;
mod pulse;
pub(crate) mod rate;
mod redirect;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod route;
pub(crate) mod router;
pub(crate) mod site;
pub(crate) mod source;
mod tls;

pub use bind_error::BindError;
pub use listener::Server;
pub use tls::{TlsError, check as check_tls};
