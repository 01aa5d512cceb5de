//! What control asks of the data plane.

use crate::{
    Epoch, MediaKind, Reach, RequestId, Selection, SessionId, ShardIndex, StreamId,
    event::{CloseReason, TrackInfo},
};

/// From control to the data plane's negotiator, which passes session commands on to their shard.
///
/// When the queue is full the caller answers 503 with Retry-After.
#[derive(Debug)]
pub enum Command {
    /// A WHIP or WHEP POST. Answered by `Event::Answered` or `Event::Refused` with its request id.
    Negotiate(Box<Negotiate>),
    /// An offer of ours is wanted, for a session with another server. Answered by `Event::Offered`
    /// or `Event::Refused` with its request id.
    Offer(Box<MakeOffer>),
    /// What was said to an offer of ours: a counter-offer (`Refusal::CounterOffer`) or one that was
    /// asked for. Answered by `Event::Answered`, or by `Event::Refused`: the offer can then still be
    /// answered.
    Answer(Box<Answer>),
    /// An offer of ours was not answered in time or is not wanted any more: it is forgotten.
    Withdraw {
        /// The session it would have made.
        session: SessionId,
    },
    /// Something for one session on one shard.
    Session {
        /// Where `Event::Answered` said the session lives.
        shard: ShardIndex,
        /// The session.
        session: SessionId,
        /// What to do.
        command: SessionCommand,
    },
    /// The stream was destroyed: every session of it is closed with this reason, on all shards.
    DestroyStream {
        /// The stream.
        stream: StreamId,
        /// Told to each session.
        reason: CloseReason,
    },
    /// Every session is told that the server goes away (DTLS close_notify) and the shards end
    /// when their last session is gone, at the latest after a second.
    Shutdown,
}

/// What a POST brings.
pub struct Negotiate {
    /// Echoed in the answering event.
    pub request: RequestId,
    /// The id control minted for the new session.
    pub session: SessionId,
    /// The stream it publishes or watches.
    pub stream: StreamId,
    /// Which of the two.
    pub role: Role,
    /// The SDP offer as received, valid UTF-8 of at most the configured body limit.
    pub offer: String,
    /// Whether the HTTP peer sat on loopback; only then are loopback candidates offered.
    pub locality: Locality,
    /// The stream id for `a=msid` and the CNAME, token characters of RFC 8830 only.
    pub msid: String,
    /// Of a viewer: who publishes the stream now.
    pub live: Option<Live>,
}

/// A publisher as control knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Its turn.
    pub epoch: Epoch,
    /// Its tracks with the codecs in use; those that were not heard yet are left out.
    pub tracks: Vec<TrackInfo>,
}

/// What an offer of ours is for: a session in which we are the client of another server.
#[derive(Clone, Debug)]
pub struct MakeOffer {
    /// Echoed in the answering event.
    pub request: RequestId,
    /// The id control minted for the new session.
    pub session: SessionId,
    /// The stream it brings here or takes away.
    pub stream: StreamId,
    /// `Publish`: the stream comes from there (WHEP). `Subscribe`: it goes there (WHIP).
    pub role: Role,
    /// Whether the other server is on this host; only then are loopback candidates offered.
    pub locality: Locality,
    /// The stream id for `a=msid` and the CNAME, token characters of RFC 8830 only.
    pub msid: String,
    /// Of a stream that goes there: who publishes it now.
    pub live: Option<Live>,
}

/// The answer to an offer of ours.
pub struct Answer {
    /// Echoed in the answering event.
    pub request: RequestId,
    /// The session the offer was made for.
    pub session: SessionId,
    /// The SDP as received, valid UTF-8 of at most the configured body limit.
    pub answer: String,
    /// Which of the two that is.
    pub kind: AnswerKind,
    /// Which of its candidates may be dialled. Those of viewers never are.
    pub reach: Reach,
}

/// What another side says to an offer of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerKind {
    /// The answer.
    Answer,
    /// It offers something else (draft-ietf-wish-whep §4.3.2): `Event::Answered` has our answer to
    /// that. Only of a stream that is asked for.
    CounterOffer,
}

/// SDP carries ICE credentials, so only its size is shown.
impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("request", &self.request)
            .field("session", &self.session)
            .field("answer_size", &self.answer.len())
            .finish_non_exhaustive()
    }
}

/// SDP carries ICE credentials, so only its size is shown.
impl std::fmt::Debug for Negotiate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Negotiate")
            .field("request", &self.request)
            .field("session", &self.session)
            .field("stream", &self.stream)
            .field("role", &self.role)
            .field("offer_size", &self.offer.len())
            .field("locality", &self.locality)
            .finish_non_exhaustive()
    }
}

/// Which side of a stream a session is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sends media to us (WHIP).
    Publish {
        /// Newer than that of every earlier publisher of this node.
        epoch: Epoch,
    },
    /// Receives media from us (WHEP).
    Subscribe,
}

/// Where the HTTP peer sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Locality {
    /// On this host, by a loopback address.
    Loopback,
    /// Anywhere else, also behind a proxy.
    Remote,
}

/// Something for one session.
pub enum SessionCommand {
    /// A PATCH with an RFC 8840 fragment, as received. Answered by `Event::Patched`.
    Patch {
        /// Echoed in the answering event.
        request: RequestId,
        /// The fragment, valid UTF-8.
        fragment: String,
    },
    /// An ICE restart of a session with another server (RFC 9725 §4.3.3), whose client we are.
    /// Answered by `Event::Patched`: `Restarted` with the fragment for the other server, then, with
    /// what it answered to that, `Trickled`; its addresses are checked from then on.
    Restart {
        /// Echoed in the answering event.
        request: RequestId,
        /// The other server's fragment, valid UTF-8; `None` to begin with.
        answer: Option<String>,
    },
    /// Ends the session: DTLS close_notify, then `Event::Closed`.
    Close {
        /// Why, for the event and the log.
        reason: CloseReason,
    },
    /// Pauses or resumes what this viewer is sent, or what this publisher's viewers are sent.
    Mute {
        /// Which track.
        kind: MediaKind,
        /// True forwards nothing of this kind.
        muted: bool,
    },
    /// Which of the stream's layers this viewer wants, from now on and of whoever publishes.
    Select {
        /// Its choice.
        selection: Selection,
    },
}

impl std::fmt::Debug for SessionCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SessionCommand::Patch { request, fragment } => f
                .debug_struct("Patch")
                .field("request", request)
                .field("fragment_size", &fragment.len())
                .finish(),
            SessionCommand::Restart { request, answer } => f
                .debug_struct("Restart")
                .field("request", request)
                .field("answer_size", &answer.as_ref().map(String::len))
                .finish(),
            SessionCommand::Close { reason } => f.debug_tuple("Close").field(reason).finish(),
            SessionCommand::Mute { kind, muted } => {
                f.debug_tuple("Mute").field(kind).field(muted).finish()
            }
            SessionCommand::Select { selection } => {
                f.debug_tuple("Select").field(selection).finish()
            }
        }
    }
}
