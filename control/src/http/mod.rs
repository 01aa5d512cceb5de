//! What is HTTP and nothing else: the listener, limits, routes, bodies, preconditions, CORS.

pub(crate) mod body;
pub(crate) mod cors;
pub(crate) mod links;
mod listener;
pub(crate) mod media_type;
pub(crate) mod openapi;
pub(crate) mod origin;
pub(crate) mod path;
pub(crate) mod precondition;
pub(crate) mod problem;
pub(crate) mod rate;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod router;
pub(crate) mod source;

pub use listener::Server;
