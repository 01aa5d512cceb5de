//! The HTTP side as its clients meet it: a real server on loopback, with a scripted data plane
//! behind it. Names that begin with `w_` or `e_` prove one rule of WHIP or WHEP each.

mod admin;
mod auth;
mod bearer;
mod client;
mod cors;
mod counter;
mod drain;
mod events;
mod fake;
mod floods;
mod guesses;
mod ice;
mod issuer;
mod jwks;
mod keys;
mod lifecycle;
mod limits;
mod live777;
mod openapi;
mod origins;
mod page;
mod patch;
mod proxy;
mod rates;
mod redirects;
mod revoke;
mod scratch;
mod secure;
mod tls;
mod token;
mod transport;
mod viewers;
mod whep;
mod whip;
mod world;
