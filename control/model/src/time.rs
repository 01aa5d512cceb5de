use std::time::Instant;

/// The two clocks at one moment, read by the caller.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For durations; must not go backwards from call to call.
    pub mono: Instant,
    /// For people: milliseconds since 1970. May jump.
    pub unix_ms: u64,
}
