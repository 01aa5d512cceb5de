//! Newtypes for everything that is named across a boundary.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// One peer connection. 128 random bits from a CSPRNG, shown as 32 lower-case hex digits
/// (RFC 9725 §5 asks for an unguessable session URL; RFC 4086 for the randomness).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u128);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The id is the key to its session, so a log line shows only its first eight digits.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}…", self.0 >> 96)
    }
}

/// The text was not 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotASessionId;

impl FromStr for SessionId {
    type Err = NotASessionId;

    fn from_str(text: &str) -> Result<Self, NotASessionId> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 32 || !text.bytes().all(hex) {
            return Err(NotASessionId);
        }
        u128::from_str_radix(text, 16)
            .map(SessionId)
            .map_err(|_| NotASessionId)
    }
}

/// One stream while it exists. The registry never uses a number twice, so that a stream that was
/// destroyed and made again under the same name is another stream for the data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// Counts the publishers of the whole node; the packets of a publisher that has been replaced
/// carry an older epoch than the stream's and are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// Ties an answer to the command that asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// How datagrams reach a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// UDP.
    Udp,
    /// A TCP connection that the peer has opened, with frames on it (RFC 6544).
    Tcp,
    /// UDP from a socket that only one session has, which dials other servers; by the socket's
    /// port. Sessions that dial the same server differ by it, to both sides.
    Dialled(u16),
}

/// A peer's transport address. The same address and port over UDP and over TCP are two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerAddr {
    /// How.
    pub transport: Transport,
    /// Where; IPv4-mapped addresses are given as IPv4.
    pub addr: SocketAddr,
}

impl PeerAddr {
    /// Over UDP.
    pub fn udp(addr: SocketAddr) -> Self {
        PeerAddr {
            transport: Transport::Udp,
            addr,
        }
    }

    /// Over TCP.
    pub fn tcp(addr: SocketAddr) -> Self {
        PeerAddr {
            transport: Transport::Tcp,
            addr,
        }
    }

    /// Over UDP, by the socket of a session's own that has this port.
    pub fn dialled(port: u16, addr: SocketAddr) -> Self {
        PeerAddr {
            transport: Transport::Dialled(port),
            addr,
        }
    }
}

/// One core's loop, 0-based.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardIndex(pub u16);

/// What a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MediaKind {
    /// Audio.
    Audio,
    /// Video.
    Video,
}

impl MediaKind {
    /// The media name of an SDP m-line, and of the APIs.
    pub fn as_str(self) -> &'static str {
        match self {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_reads_back_what_it_shows() {
        let id = SessionId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(SessionId(7).to_string().len(), 32);
    }

    #[test]
    fn only_one_spelling_of_a_session_id_is_taken() {
        for text in ["", "7", "+0000000000000000000000000000007", &"F".repeat(32)] {
            assert_eq!(text.parse::<SessionId>(), Err(NotASessionId), "{text}");
        }
    }

    #[test]
    fn debug_does_not_give_the_session_away() {
        assert!(format!("{:?}", SessionId(u128::MAX)).len() < 16);
    }
}
