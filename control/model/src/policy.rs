use std::time::Duration;

/// What the operator decided. All caps are inclusive.
#[derive(Clone, Debug)]
pub struct Policy {
    /// A WHIP POST creates a stream that does not exist.
    pub auto_create_whip: bool,
    /// A WHEP POST creates a stream that does not exist.
    pub auto_create_whep: bool,
    /// A stream goes this long after its publisher left; `None` keeps it.
    pub auto_delete_whip: Option<Duration>,
    /// A stream goes this long after its last viewer left; `None` keeps it.
    pub auto_delete_whep: Option<Duration>,
    /// A stream that was created by a POST of WHIP or WHEP goes after this long without
    /// publisher and viewers.
    pub orphan_grace: Duration,
    /// Publishers of this node, other nodes aside.
    pub pub_max: u32,
    /// Viewers of this node, other nodes aside.
    pub sub_max: u32,
    /// Viewers one stream may have.
    pub each_stream_max_sub: u32,
    /// When a cascade push starts, the other viewers are closed. Told to the API's readers.
    pub cascade_push_close_sub: bool,
    /// Whether a second publisher replaces the first.
    pub takeover: Takeover,
    /// For how long a publisher that never connected must be unheard to count as silent.
    pub silent_after: Duration,
    /// What a viewer of a stream without publisher meets.
    pub absent: AbsentStream,
    /// Streams of this node.
    pub streams_max: u32,
    /// Sessions of this node, those being negotiated and those being closed included.
    pub sessions_max: u32,
    /// Sessions that are being negotiated or have not connected yet.
    pub half_open_max: u32,
    /// Those of one source; 0 is no limit.
    pub source_half_open_max: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            auto_create_whip: true,
            auto_create_whep: true,
            auto_delete_whip: None,
            auto_delete_whep: None,
            orphan_grace: Duration::from_secs(5),
            pub_max: 65_535,
            sub_max: 65_535,
            each_stream_max_sub: 65_535,
            cascade_push_close_sub: false,
            takeover: Takeover::Silent,
            silent_after: Duration::from_secs(3),
            absent: AbsentStream::Wait,
            streams_max: 10_000,
            sessions_max: 20_000,
            half_open_max: 2000,
            source_half_open_max: 500,
        }
    }
}

/// Whether a second publisher replaces the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Takeover {
    /// Never: it is refused until the first is gone.
    Never,
    /// Once the first is silent.
    #[default]
    Silent,
    /// At any time.
    Always,
}

/// What a viewer of a stream without publisher meets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AbsentStream {
    /// The session is made and waits for the publisher.
    #[default]
    Wait,
    /// It is refused and asked to come again.
    Refuse,
}
