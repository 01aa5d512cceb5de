//! ICE candidates, theirs as parsed and ours as rendered (RFC 8839 §5.1, RFC 6544 §4.5).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// One candidate with a literal address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Foundation, 1..=32 ICE characters.
    pub foundation: String,
    /// Component, 1 for RTP (and for everything once RTCP is multiplexed).
    pub component: u16,
    /// How packets travel.
    pub transport: CandidateTransport,
    /// Priority as the sender computed it.
    pub priority: u32,
    /// Address and port. Port 9 stands for none in active TCP candidates.
    pub addr: SocketAddr,
    /// Where the address came from.
    pub kind: CandidateKind,
    /// Base or mapped address (`raddr`/`rport`), where it was said and literal.
    pub related: Option<SocketAddr>,
    /// The ufrag this candidate belongs to, where it was said (`ufrag` extension).
    pub ufrag: Option<String>,
}

/// How a candidate's packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateTransport {
    /// UDP.
    Udp,
    /// TCP, opened by the candidate's owner.
    TcpActive,
    /// TCP, opened towards the candidate's owner.
    TcpPassive,
    /// TCP simultaneous open.
    TcpSo,
}

/// Where a candidate's address came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateKind {
    /// An address of the host.
    Host,
    /// Seen by a STUN server.
    ServerReflexive,
    /// Seen by the peer.
    PeerReflexive,
    /// Lent by a TURN server.
    Relayed,
}

/// What became of one `a=candidate` value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CandidateLine {
    /// It can be used.
    Usable(Candidate),
    /// Well-formed or not, it is nothing we could send to: host names, unknown transports.
    Skipped,
}

impl Candidate {
    /// Reads the value of an `a=candidate` line, without `candidate:`.
    ///
    /// RFC 9725 §4.3.2 and RFC 8839 §5.1: what cannot be understood or resolved is skipped
    /// silently, so this never fails.
    pub(crate) fn parse(value: &str) -> CandidateLine {
        Self::read(value).map_or(CandidateLine::Skipped, CandidateLine::Usable)
    }

    fn read(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let foundation = words.next().filter(|word| is_foundation(word))?;
        let component: u16 = words.next()?.parse().ok()?;
        let transport = words.next()?;
        let priority: u32 = words.next()?.parse().ok()?;
        // Host names (mDNS ones too) are not resolved: the peer's checks reveal the address.
        let address: IpAddr = words.next()?.parse().ok()?;
        let port: u16 = words.next()?.parse().ok()?;
        if !words.next()?.eq_ignore_ascii_case("typ") {
            return None;
        }
        let kind = match words.next()?.to_ascii_lowercase().as_str() {
            "host" => CandidateKind::Host,
            "srflx" => CandidateKind::ServerReflexive,
            "prflx" => CandidateKind::PeerReflexive,
            "relay" => CandidateKind::Relayed,
            _ => return None,
        };
        let (mut raddr, mut rport, mut tcptype, mut ufrag) = (None, None, None, None);
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            match name {
                "raddr" => raddr = value.parse::<IpAddr>().ok(),
                "rport" => rport = value.parse::<u16>().ok(),
                "tcptype" => tcptype = Some(value),
                "ufrag" => ufrag = Some(value.to_owned()),
                _ => {}
            }
        }
        let transport = if transport.eq_ignore_ascii_case("udp") {
            CandidateTransport::Udp
        } else if transport.eq_ignore_ascii_case("tcp") {
            match tcptype? {
                "active" => CandidateTransport::TcpActive,
                "passive" => CandidateTransport::TcpPassive,
                "so" => CandidateTransport::TcpSo,
                _ => return None,
            }
        } else {
            return None;
        };
        if component == 0 || component > 256 || priority == 0 {
            return None;
        }
        Some(Self {
            foundation: foundation.to_owned(),
            component,
            transport,
            priority,
            addr: SocketAddr::new(address, port),
            kind,
            related: raddr.zip(rport).map(SocketAddr::from),
            ufrag,
        })
    }
}

impl fmt::Display for Candidate {
    /// The value of an `a=candidate` line, with `candidate:`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, tcptype) = match self.transport {
            CandidateTransport::Udp => ("udp", None),
            CandidateTransport::TcpActive => ("tcp", Some("active")),
            CandidateTransport::TcpPassive => ("tcp", Some("passive")),
            CandidateTransport::TcpSo => ("tcp", Some("so")),
        };
        let kind = match self.kind {
            CandidateKind::Host => "host",
            CandidateKind::ServerReflexive => "srflx",
            CandidateKind::PeerReflexive => "prflx",
            CandidateKind::Relayed => "relay",
        };
        write!(
            f,
            "candidate:{} {} {transport} {} {} {} typ {kind}",
            self.foundation,
            self.component,
            self.priority,
            self.addr.ip(),
            self.addr.port()
        )?;
        if let Some(related) = self.related {
            write!(f, " raddr {} rport {}", related.ip(), related.port())?;
        }
        if let Some(tcptype) = tcptype {
            write!(f, " tcptype {tcptype}")?;
        }
        Ok(())
    }
}

/// One of our own addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostCandidate {
    /// How packets travel.
    pub transport: HostTransport,
    /// The address peers send to.
    pub addr: SocketAddr,
}

/// The transports we listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostTransport {
    /// UDP.
    Udp,
    /// TCP that the peer opens (RFC 6544 `passive`).
    TcpPassive,
}

impl HostCandidate {
    /// The candidate that stands at `index` in our list of addresses, with the priority and
    /// foundation that go with it.
    ///
    /// Source: RFC 8445 §5.1.2.1 (priority), §5.1.1.3 (foundation), RFC 6544 §4.2 (TCP).
    #[must_use]
    pub fn candidate(self, index: usize) -> Candidate {
        // 8191 addresses keep distinct TCP preferences (13 bits); more share the last one.
        let order = u32::try_from(index).unwrap_or(u32::MAX).min(8191);
        let (transport, type_preference, local_preference) = match self.transport {
            HostTransport::Udp => (
                CandidateTransport::Udp,
                TYPE_PREFERENCE_HOST,
                65_535 - order,
            ),
            HostTransport::TcpPassive => (
                CandidateTransport::TcpPassive,
                TYPE_PREFERENCE_HOST_TCP,
                (TCP_DIRECTION_PASSIVE << 13) + (8191 - order),
            ),
        };
        Candidate {
            // Each of our addresses is a base of its own, so each has its own foundation.
            foundation: (index.saturating_add(1)).to_string(),
            component: 1,
            transport,
            priority: (type_preference << 24) + (local_preference << 8) + (256 - 1),
            addr: self.addr,
            kind: CandidateKind::Host,
            related: None,
            ufrag: None,
        }
    }
}

/// RFC 8445 §5.1.2.2: host candidates get the highest type preference.
const TYPE_PREFERENCE_HOST: u32 = 126;
/// RFC 6544 §4.2: below every UDP type but relayed ones, as browsers have it.
const TYPE_PREFERENCE_HOST_TCP: u32 = 90;
/// RFC 6544 §4.2: direction preference of passive host candidates.
const TCP_DIRECTION_PASSIVE: u32 = 4;

fn is_foundation(word: &str) -> bool {
    // RFC 8839 §5.1 allows 32 ICE characters; some stacks add other visible ones (libnice, mDNS).
    (1..=32).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_graphic())
}
