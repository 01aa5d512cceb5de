//! Our own side of the session, handed in by the caller.

use crate::candidate::HostCandidate;

/// What the answer says about us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// The session id of the o-line; random, below 2^63 (RFC 9429 §5.2.1).
    pub session_id: u64,
    /// Our side of ICE.
    pub ice: LocalIce,
    /// The sha-256 hash of our certificate.
    pub fingerprint: [u8; 32],
    /// Our addresses, most wanted first; the answer has them all, in every accepted section.
    pub candidates: Vec<HostCandidate>,
    /// The one media stream id of everything we send (`a=msid`).
    pub stream_id: String,
    /// What we send, by mid. Sections that are not in it get no `a=ssrc` lines.
    pub senders: Vec<LocalSender>,
    /// The largest data channel message we take, in bytes.
    pub max_message_size: u64,
}

/// Our ICE credentials and abilities.
#[derive(Clone, PartialEq, Eq)]
pub struct LocalIce {
    /// User name fragment, 4..=256 ICE characters (RFC 8839 §5.4).
    pub ufrag: String,
    /// Password, 22..=256 ICE characters. Left out of `Debug`.
    pub pwd: String,
    /// Whether we are an ICE-lite agent.
    pub lite: bool,
    /// The tokens of `a=ice-options`, such as `trickle` and `ice2`; the line is left out if empty.
    pub options: Vec<String>,
}

impl std::fmt::Debug for LocalIce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalIce")
            .field("ufrag", &self.ufrag)
            .field("lite", &self.lite)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// One stream we send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalSender {
    /// The section it belongs to.
    pub mid: String,
    /// The track id of `a=msid`.
    pub track_id: String,
    /// The media SSRC.
    pub ssrc: u32,
    /// The SSRC of retransmissions; said only where RTX was agreed.
    pub rtx: Option<u32>,
    /// The CNAME, the same for all senders of one session (RFC 8834 §4.9).
    pub cname: String,
}
