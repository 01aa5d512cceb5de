//! What a shard's engine is told at start.

use std::time::Duration;

use whitewater_link::ShardIndex;

/// Settings of one engine.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which shard this is.
    pub shard: ShardIndex,
    /// How many there are, 1..=64.
    pub shard_count: u16,
    /// Whether the kernel may bring a session's datagrams to another shard.
    pub ports: Ports,
    /// A session that has not completed ICE and DTLS by then is freed.
    pub half_open_timeout: Duration,
    /// A peer nothing authenticated was heard from for this long is gone (RFC 7675 §5.1).
    pub dead_peer_timeout: Duration,
    /// A publisher this quiet may be replaced.
    pub silent_after: Duration,
    /// Sessions of this shard.
    pub sessions_max: u32,
    /// What a panic inside a session does.
    pub panics: Panics,
    /// How long video may wait for the rest of its frame, so that runs get longer; zero: not at all.
    pub hold: Duration,
    /// Whether packets get a byte of padding where that makes runs longer.
    pub pad_runs: bool,
    /// Whether redundancy is made of sound that comes without it.
    pub audio_red: AudioRed,
    /// The wall clock when the engine is made, since 1970: what viewers' sender reports count
    /// from. Only differences matter to them.
    pub unix_time: Duration,
}

/// Which sockets peers send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// All shards share one port: what reaches the wrong one is handed on.
    Shared,
    /// Each shard has a port of its own, which is the one its answers name.
    PerShard,
}

/// What becomes of sound for viewers that agreed to redundancy (RED, RFC 2198).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AudioRed {
    /// It is passed on where the publisher sends it.
    #[default]
    Pass,
    /// It is made where the publisher sends none.
    Make,
}

/// What to do with a panic inside one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Panics {
    /// The session is dropped and counted, the shard lives on.
    Contain,
    /// It goes through, so that simulation and fuzzing fail.
    Propagate,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            shard: ShardIndex(0),
            shard_count: 1,
            ports: Ports::Shared,
            half_open_timeout: Duration::from_secs(30),
            dead_peer_timeout: Duration::from_secs(35),
            silent_after: Duration::from_secs(3),
            sessions_max: 50_000,
            panics: Panics::Contain,
            hold: Duration::ZERO,
            pad_runs: false,
            audio_red: AudioRed::Pass,
            unix_time: Duration::ZERO,
        }
    }
}
