//! The API dialects: each parses requests and renders answers in its own words, and decides
//! nothing.

pub(crate) mod live777;
