//! The lite side of ICE (RFC 8445 §2.5): answers checks, never sends any.
//!
//! It is ours and not str0m's because a server must demultiplex by it: which addresses a peer has
//! proved, which of them it nominated, and which credentials are valid are questions of the shard.
//! str0m is told once that a path exists (see `webrtc::connect_path`); where datagrams go is
//! decided here.

use std::net::IpAddr;
use std::time::Instant;

use str0m::ice::StunMessage;
use whitewater_link::PeerAddr;

use crate::drops::DropReason;
use crate::limits;

/// HMAC-SHA1 over the concatenated slices; a plain function so that the agent holds no provider.
pub type HmacSha1 = fn(&[u8], &[&[u8]]) -> [u8; 20];

/// User name fragment and password of one side (RFC 8839 §5.4).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// 4 to 256 ice-chars.
    pub ufrag: String,
    /// 22 to 256 ice-chars.
    pub pwd: String,
}

/// The password is a secret.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("ufrag", &self.ufrag)
            .finish_non_exhaustive()
    }
}

/// Answers one peer's connectivity checks.
#[derive(Debug)]
pub struct LiteAgent {
    local: Credentials,
    /// Credentials from before a restart, valid until the new ones are used for the first time.
    previous: Option<Credentials>,
    remote: Credentials,
    paths: Vec<Path>,
    nominated: Option<usize>,
    generation_began: Option<Instant>,
    hmac: HmacSha1,
}

/// A pair that passed a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The peer's transport address.
    pub remote: PeerAddr,
    /// Our address the check came to; replies and media leave from it.
    pub local: IpAddr,
    priority: u32,
    checked_at: Instant,
}

impl Path {
    /// A pair that passed a check at `checked_at`.
    pub fn new(remote: PeerAddr, local: IpAddr, priority: u32, checked_at: Instant) -> Self {
        Path {
            remote,
            local,
            priority,
            checked_at,
        }
    }
}

/// What a check led to.
#[derive(Debug, Default)]
pub struct Checked {
    /// The answer, to be sent back where the request came from; empty when there is none.
    pub reply: Vec<u8>,
    /// An address that has not been verified before.
    pub verified: Option<PeerAddr>,
    /// An address that had to be forgotten to make room.
    pub forgotten: Option<PeerAddr>,
    /// The old user name fragment, when its credentials ended with this check.
    pub retired_ufrag: Option<String>,
    /// Whether media goes to another address than before.
    pub path_changed: bool,
}

impl LiteAgent {
    /// An agent that has heard nothing yet.
    pub fn new(local: Credentials, remote: Credentials, hmac: HmacSha1) -> Self {
        LiteAgent {
            local,
            previous: None,
            remote,
            paths: Vec::new(),
            nominated: None,
            generation_began: None,
            hmac,
        }
    }

    /// Our current credentials.
    pub fn local(&self) -> &Credentials {
        &self.local
    }

    /// All of our user name fragments that a check may name.
    pub fn ufrags(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.local.ufrag.as_str())
            .chain(self.previous.iter().map(|old| old.ufrag.as_str()))
    }

    /// The peer's credentials; others in a fragment mean a restart.
    pub fn remote(&self) -> &Credentials {
        &self.remote
    }

    /// Where media goes.
    pub fn path(&self) -> Option<Path> {
        self.nominated
            .and_then(|index| self.paths.get(index).copied())
    }

    /// Takes a path for checked and nominated, for tests that are about what comes after.
    #[cfg(any(test, feature = "__fuzz"))]
    pub(crate) fn assume(&mut self, path: Path) {
        self.paths.push(path);
        self.nominated = Some(self.paths.len() - 1);
    }

    /// Every verified address.
    pub fn addresses(&self) -> impl Iterator<Item = PeerAddr> + '_ {
        self.paths.iter().map(|path| path.remote)
    }

    /// Our address that a verified peer address last used.
    pub fn local_for(&self, remote: PeerAddr) -> Option<IpAddr> {
        let path = self.paths.iter().find(|path| path.remote == remote)?;
        Some(path.local)
    }

    /// RFC 8445 §9: new credentials on both sides. Media goes on over the old path until a check
    /// with the new credentials nominates one. Returns the fragment that is no longer valid at
    /// all, when a restart overtakes another.
    pub fn restart(&mut self, local: Credentials, remote: Credentials) -> Option<String> {
        let current = std::mem::replace(&mut self.local, local);
        self.remote = remote;
        // The oldest still valid ones stay: the path in use was checked with them.
        let (previous, retired) = match self.previous.take() {
            Some(oldest) => (oldest, Some(current.ufrag)),
            None => (current, None),
        };
        self.previous = Some(previous);
        self.generation_began = None;
        retired
    }

    /// Handles one STUN message from `remote` to our address `local`.
    ///
    /// # Errors
    /// The reason to drop it. Nothing is sent then: an unauthenticated check gets no answer, so
    /// that the port cannot be used for reflection (RFC 8489 §6.3.1.3 would allow a 401).
    pub fn check(
        &mut self,
        now: Instant,
        remote: PeerAddr,
        local: IpAddr,
        bytes: &[u8],
    ) -> Result<Checked, DropReason> {
        let message = StunMessage::parse(bytes).map_err(|_| DropReason::StunMalformed)?;
        if !message.is_binding_request() {
            return Err(DropReason::StunMalformed);
        }
        let (ours, _) = message.split_username().ok_or(DropReason::StunMalformed)?;
        let current = ours == self.local.ufrag;
        let credentials = if current {
            &self.local
        } else {
            self.previous
                .as_ref()
                .filter(|old| old.ufrag == ours)
                .ok_or(DropReason::StunUnknownUfrag)?
        };
        if !message.verify(credentials.pwd.as_bytes(), self.hmac) {
            return Err(DropReason::StunIntegrity);
        }

        let pwd = credentials.pwd.clone();
        if message.ice_controlled().is_some() {
            // RFC 8445 §7.3.1.1: a lite agent is always controlled.
            let reply = StunMessage::binding_role_conflict_reply(message.trans_id());
            return Ok(Checked {
                reply: self.render(reply, &pwd)?,
                ..Checked::default()
            });
        }
        let reply = StunMessage::binding_reply(message.trans_id(), remote.addr);
        let mut checked = Checked {
            reply: self.render(reply, &pwd)?,
            ..Checked::default()
        };

        let priority = message.prio().unwrap_or(0);
        let index = self.path_index(now, remote, local, priority, &mut checked);
        if !current {
            // A check from before the restart keeps its path alive but decides nothing.
            return Ok(checked);
        }
        let first_of_generation = self.generation_began.is_none();
        let began = *self.generation_began.get_or_insert(now);
        if let Some(old) = self.previous.take() {
            checked.retired_ufrag = Some(old.ufrag);
        }
        if message.use_candidate() && self.should_nominate(now, index, began, first_of_generation) {
            checked.path_changed = self.nominated != Some(index);
            self.nominated = Some(index);
        }
        Ok(checked)
    }

    fn should_nominate(
        &self,
        now: Instant,
        index: usize,
        began: Instant,
        first_of_generation: bool,
    ) -> bool {
        let Some(current) = self.nominated.and_then(|n| self.paths.get(n)) else {
            return true;
        };
        let settled = now.saturating_duration_since(began) > limits::NOMINATION_SETTLES_AFTER;
        let better = self.paths[index].priority >= current.priority;
        first_of_generation || settled || better || current.checked_at < began
    }

    fn path_index(
        &mut self,
        now: Instant,
        remote: PeerAddr,
        local: IpAddr,
        priority: u32,
        checked: &mut Checked,
    ) -> usize {
        let path = Path::new(remote, local, priority, now);
        if let Some(index) = self.paths.iter().position(|path| path.remote == remote) {
            self.paths[index] = path;
            return index;
        }
        checked.verified = Some(remote);
        if self.paths.len() < limits::ADDRESSES_PER_SESSION_MAX {
            self.paths.push(path);
            return self.paths.len() - 1;
        }
        let oldest = (0..self.paths.len())
            .filter(|&index| self.nominated != Some(index))
            .min_by_key(|&index| self.paths[index].checked_at)
            .unwrap_or(0);
        checked.forgotten = Some(self.paths[oldest].remote);
        self.paths[oldest] = path;
        oldest
    }

    fn render(&self, reply: StunMessage<'_>, pwd: &str) -> Result<Vec<u8>, DropReason> {
        let mut buf = [0; REPLY_SIZE_MAX];
        let size = reply
            .to_bytes(Some(pwd.as_bytes()), &mut buf, self.hmac)
            .map_err(|_| DropReason::StunMalformed)?;
        Ok(buf[..size].to_vec())
    }
}

/// Header 20, XOR-MAPPED-ADDRESS 24 or ERROR-CODE 20, MESSAGE-INTEGRITY 24, FINGERPRINT 8.
const REPLY_SIZE_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use str0m::ice::TransId;

    use super::*;
    use crate::admission::hmac_sha1;

    const OURS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn credentials(name: &str) -> Credentials {
        Credentials {
            ufrag: format!("{name}-ufrag"),
            pwd: format!("{name}-password-of-enough-length"),
        }
    }

    fn agent() -> LiteAgent {
        LiteAgent::new(credentials("ours"), credentials("theirs"), hmac_sha1)
    }

    fn peer(port: u16) -> PeerAddr {
        PeerAddr::udp(SocketAddr::from(([198, 51, 100, 9], port)))
    }

    struct Check {
        local: Credentials,
        priority: u32,
        nominate: bool,
        controlling: bool,
    }

    impl Default for Check {
        fn default() -> Self {
            Check {
                local: credentials("ours"),
                priority: 100,
                nominate: true,
                controlling: true,
            }
        }
    }

    impl Check {
        fn bytes(&self) -> Vec<u8> {
            let username = format!("{}:theirs-ufrag", self.local.ufrag);
            let request = StunMessage::binding_request(
                &username,
                TransId::new(),
                self.controlling,
                7,
                self.priority,
                self.nominate,
            );
            let mut buf = [0; 256];
            let pwd = self.local.pwd.as_bytes();
            let size = request
                .to_bytes(Some(pwd), &mut buf, hmac_sha1)
                .expect("a check fits");
            buf[..size].to_vec()
        }
    }

    #[test]
    fn a_good_check_is_answered_to_its_sender_and_verifies_it() {
        let mut agent = agent();
        let checked = agent
            .check(Instant::now(), peer(1), OURS, &Check::default().bytes())
            .expect("authentic");
        let reply = StunMessage::parse(&checked.reply).expect("STUN");
        assert!(reply.is_successful_binding_response());
        assert_eq!(reply.mapped_address(), Some(peer(1).addr));
        assert!(reply.verify(credentials("ours").pwd.as_bytes(), hmac_sha1));
        assert_eq!(checked.verified, Some(peer(1)));
        assert!(checked.path_changed);
        assert_eq!(agent.path().map(|path| path.remote), Some(peer(1)));
    }

    #[test]
    fn a_check_without_our_password_changes_nothing_and_gets_no_answer() {
        let mut agent = agent();
        let mut forged = Check::default();
        forged.local.pwd = "some other password of length".to_owned();
        let now = Instant::now();
        let result = agent.check(now, peer(1), OURS, &forged.bytes());
        assert_eq!(result.err(), Some(DropReason::StunIntegrity));
        let mut cut = Check::default().bytes();
        cut.truncate(30);
        let result = agent.check(now, peer(1), OURS, &cut);
        assert_eq!(result.err(), Some(DropReason::StunMalformed));
        assert_eq!(agent.path(), None);
        assert_eq!(agent.addresses().count(), 0);
    }

    #[test]
    fn a_peer_that_claims_our_role_is_told_so() {
        let mut agent = agent();
        let check = Check {
            controlling: false,
            ..Check::default()
        };
        let checked = agent
            .check(Instant::now(), peer(1), OURS, &check.bytes())
            .expect("authentic");
        let reply = StunMessage::parse(&checked.reply).expect("STUN");
        assert_eq!(reply.error_code().map(|(code, _)| code), Some(487));
        assert_eq!(agent.path(), None);
    }

    #[test]
    fn early_nominations_go_by_priority_and_late_ones_by_order() {
        let mut agent = agent();
        let start = Instant::now();
        let mut check = |at: u64, port: u16, priority: u32| {
            let check = Check {
                priority,
                ..Check::default()
            };
            let now = start + Duration::from_secs(at);
            let checked = agent.check(now, peer(port), OURS, &check.bytes());
            checked.expect("authentic");
            agent.path().map(|path| path.remote.addr.port())
        };
        assert_eq!(check(0, 1, 50), Some(1));
        assert_eq!(check(1, 2, 90), Some(2));
        assert_eq!(
            check(2, 1, 50),
            Some(2),
            "aggressive nomination: the best pair stays"
        );
        assert_eq!(
            check(30, 3, 10),
            Some(3),
            "a path change: the newest pair wins"
        );
    }

    #[test]
    fn one_address_over_udp_and_over_tcp_is_two_paths() {
        let mut agent = agent();
        let check = Check::default().bytes();
        let over_tcp = PeerAddr::tcp(peer(1).addr);
        for remote in [peer(1), over_tcp] {
            let checked = agent.check(Instant::now(), remote, OURS, &check);
            assert_eq!(checked.expect("authentic").verified, Some(remote));
        }
        assert_eq!(agent.addresses().count(), 2);
        assert_eq!(agent.path().map(|path| path.remote), Some(over_tcp));
    }

    #[test]
    fn a_restart_kills_the_old_credentials_when_the_new_ones_are_used() {
        let mut agent = agent();
        let now = Instant::now();
        let old = Check::default();
        agent
            .check(now, peer(1), OURS, &old.bytes())
            .expect("authentic");
        assert_eq!(
            agent.restart(credentials("new"), credentials("theirs2")),
            None
        );
        // Until then media and checks go on over the old path.
        let still = agent.check(now, peer(1), OURS, &old.bytes());
        assert!(still.is_ok());
        assert_eq!(agent.path().map(|path| path.remote), Some(peer(1)));
        let new = Check {
            local: credentials("new"),
            priority: 1,
            ..Check::default()
        };
        let checked = agent
            .check(now, peer(2), OURS, &new.bytes())
            .expect("authentic");
        assert_eq!(checked.retired_ufrag.as_deref(), Some("ours-ufrag"));
        assert!(checked.path_changed);
        let dead = agent.check(now, peer(1), OURS, &old.bytes());
        assert_eq!(dead.err(), Some(DropReason::StunUnknownUfrag));
    }

    #[test]
    fn a_restart_that_overtakes_another_keeps_the_path_in_use_alive() {
        let mut agent = agent();
        let now = Instant::now();
        let old = Check::default().bytes();
        agent.check(now, peer(1), OURS, &old).expect("authentic");
        agent.restart(credentials("second"), credentials("theirs2"));
        let retired = agent.restart(credentials("third"), credentials("theirs3"));
        assert_eq!(retired.as_deref(), Some("second-ufrag"));
        assert!(agent.check(now, peer(1), OURS, &old).is_ok());
        assert_eq!(agent.ufrags().count(), 2);
    }

    #[test]
    fn addresses_are_bounded_and_the_path_in_use_is_never_forgotten() {
        let mut agent = agent();
        let start = Instant::now();
        let check = Check::default();
        agent
            .check(start, peer(1), OURS, &check.bytes())
            .expect("authentic");
        let probe = Check {
            nominate: false,
            ..Check::default()
        };
        let mut forgotten = 0;
        for port in 2..1000 {
            let now = start + Duration::from_millis(port.into());
            let checked = agent.check(now, peer(port), OURS, &probe.bytes());
            forgotten += usize::from(checked.expect("authentic").forgotten.is_some());
        }
        assert_eq!(agent.addresses().count(), limits::ADDRESSES_PER_SESSION_MAX);
        assert_eq!(forgotten, 999 - limits::ADDRESSES_PER_SESSION_MAX);
        assert_eq!(agent.path().map(|path| path.remote), Some(peer(1)));
    }
}
