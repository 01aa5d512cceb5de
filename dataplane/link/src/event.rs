//! What the data plane tells control.

use crate::{Epoch, LayerInfo, Loudness, MediaKind, RequestId, SessionId, ShardIndex, StreamId};

/// From the negotiator or a shard to control. Reliable: the queues are sized by the session caps.
#[derive(Debug)]
pub enum Event {
    /// A POST succeeded; the session exists and is `new`.
    Answered {
        /// The command's.
        request: RequestId,
        /// The command's.
        session: SessionId,
        /// Where it lives; commands for it name this shard.
        shard: ShardIndex,
        /// Our SDP answer, CRLF lines; empty where it was the peer that answered.
        answer: String,
        /// What was negotiated, in m-line order (rejected sections left out).
        tracks: Vec<TrackInfo>,
        /// Whether a data channel section was negotiated.
        has_data_channel: bool,
        /// Which of the m-lines, counted from 0, is the accepted video section.
        video_line: Option<u16>,
    },
    /// The offer that was asked for. It is kept until `Command::Answer` or `Command::Withdraw` names
    /// its session.
    Offered {
        /// The command's.
        request: RequestId,
        /// The command's.
        session: SessionId,
        /// The SDP offer, CRLF lines.
        offer: String,
    },
    /// A POST failed; no session exists.
    Refused {
        /// The command's.
        request: RequestId,
        /// The command's.
        session: SessionId,
        /// Why.
        refusal: Refusal,
    },
    /// A PATCH was handled, well or badly.
    Patched {
        /// The command's.
        request: RequestId,
        /// The command's.
        session: SessionId,
        /// What came of it.
        outcome: Result<PatchOutcome, PatchRefusal>,
    },
    /// The connection state changed (W3C `RTCPeerConnectionState`). `Closed` comes as its own event.
    StateChanged {
        /// The session.
        session: SessionId,
        /// Its new state.
        state: SessionState,
    },
    /// The session is gone and its resources are free. The last event of a session.
    Closed {
        /// The session.
        session: SessionId,
        /// Why.
        reason: CloseReason,
    },
    /// First media of a publisher arrived, or its codecs changed.
    StreamUp {
        /// The stream.
        stream: StreamId,
        /// Of this publisher.
        epoch: Epoch,
        /// The codecs in use, one entry a track.
        tracks: Vec<TrackInfo>,
    },
    /// The layers of a publisher's video, where it sends several: when it came, when one of them
    /// came, went or changed its size, and their bit rates now and then.
    Layers {
        /// The publisher's session.
        session: SessionId,
        /// In its offer's order.
        layers: Vec<LayerInfo>,
    },
    /// Somebody at a publisher's microphone began or ceased to speak (RFC 6464).
    Speaking {
        /// The publisher's session.
        session: SessionId,
        /// How loud it is, and which of the two.
        loudness: Loudness,
    },
    /// A viewer cannot be sent a track of this publisher: its answer has no codec for it. Told once
    /// for each publisher.
    Uncarried {
        /// The viewer.
        session: SessionId,
        /// The publisher's turn.
        epoch: Epoch,
    },
    /// Nothing authenticated was heard from a publisher for `publish.silent_after_ms`, or it was
    /// heard again: under the take-over rule another may replace it while it is silent.
    PublisherSilent {
        /// The publisher's session.
        session: SessionId,
        /// True when it fell silent, false when it came back.
        silent: bool,
    },
    /// A shard panicked outside any session and was started again; its sessions are gone (each
    /// was told by `Closed`).
    ShardRestarted {
        /// Which.
        shard: ShardIndex,
    },
}

/// One track as the APIs show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackInfo {
    /// The m-section's mid.
    pub mid: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// The codec's encoding name as registered, e.g. `H264`, `opus`. The first one negotiated
    /// until media shows which is used.
    pub codec: String,
    /// Its format parameters, e.g. `profile-level-id=42e01f;packetization-mode=1`; may be empty.
    pub fmtp: String,
}

/// Why a POST was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not SDP, or SDP without what every offer needs. Says which rule (400).
    Malformed(String),
    /// Well-formed, but nothing we can serve. Names the m-section and the reason (422).
    Unsupported(String),
    /// A WHEP offer that cannot carry the live stream: the counter-offer to answer with (406). It is
    /// kept until `Command::Answer` or `Command::Withdraw` names its session.
    CounterOffer(String),
    /// A cap was reached (503 with Retry-After).
    Full {
        /// Which cap.
        what: &'static str,
        /// Its value.
        max: u32,
    },
    /// The server is going away (503).
    Draining,
    /// Something of ours broke; the log has the cause (500).
    Internal,
}

/// What a PATCH did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatchOutcome {
    /// Candidates taken or ignored; credentials unchanged (204).
    Trickled,
    /// New credentials on both sides (200); the fragment to answer with.
    Restarted {
        /// RFC 8840 fragment with our new credentials and candidates.
        fragment: String,
    },
}

/// Why a PATCH was refused. The session keeps its ICE state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatchRefusal {
    /// Not a fragment (400).
    Malformed(String),
    /// A fragment we cannot serve (422).
    Unsupported(String),
    /// Too many restarts (429).
    TooMany,
    /// The session ended meanwhile (404).
    Gone,
}

/// `RTCPeerConnectionState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// Answered, nothing heard yet.
    New,
    /// The peer was heard: ICE or DTLS is under way.
    Connecting,
    /// ICE and DTLS done.
    Connected,
    /// Nothing authenticated was heard for five seconds; may come back.
    Disconnected,
    /// ICE or DTLS failed; the session is about to close.
    Failed,
    /// Gone.
    Closed,
}

impl SessionState {
    /// The enum's text in W3C WebRTC and in the APIs.
    pub fn as_str(self) -> &'static str {
        match self {
            SessionState::New => "new",
            SessionState::Connecting => "connecting",
            SessionState::Connected => "connected",
            SessionState::Disconnected => "disconnected",
            SessionState::Failed => "failed",
            SessionState::Closed => "closed",
        }
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// DELETE on the session URL.
    Deleted,
    /// The stream was destroyed by the API.
    StreamDestroyed,
    /// The peer sent DTLS close_notify.
    PeerClosed,
    /// Never completed ICE and DTLS within `limits.half_open_timeout_s`.
    NeverConnected,
    /// Nothing authenticated heard for `limits.dead_peer_timeout_s` (RFC 7675).
    PeerLost,
    /// The authorisation it was made under ended.
    Expired,
    /// The authorisation it was made under was taken back.
    Revoked,
    /// Replaced by another publisher under the take-over rule.
    TakenOver,
    /// The stream comes or goes another way now: who is still interested comes again.
    Rerouted,
    /// A stream from another server that nobody watched for `cascade.idle_timeout_s`.
    Idle,
    /// The DTLS handshake failed, e.g. the certificate did not match the fingerprint.
    HandshakeFailed,
    /// The server is going away.
    Shutdown,
    /// A defect of ours; the session was dropped to protect the others.
    Internal,
}

impl CloseReason {
    /// For logs, events and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            CloseReason::Deleted => "deleted",
            CloseReason::StreamDestroyed => "stream-destroyed",
            CloseReason::PeerClosed => "peer-closed",
            CloseReason::NeverConnected => "never-connected",
            CloseReason::PeerLost => "peer-lost",
            CloseReason::Expired => "expired",
            CloseReason::Revoked => "revoked",
            CloseReason::TakenOver => "taken-over",
            CloseReason::Rerouted => "rerouted",
            CloseReason::Idle => "idle",
            CloseReason::HandshakeFailed => "handshake-failed",
            CloseReason::Shutdown => "shutdown",
            CloseReason::Internal => "internal",
        }
    }
}
