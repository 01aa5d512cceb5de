//! The controlling side of ICE (RFC 8445): checks the candidates of another server, nominates the
//! first that works, and keeps its consent (RFC 7675).
//!
//! It is for sessions in which this server is the client. Such a session has a socket of its own,
//! so its port stands for it; its candidates are those of the answer and those that checks of a
//! full agent come from, as far as they may be dialled at all.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use str0m::ice::{StunMessage, TransId};
use whitewater_link::{PeerAddr, Reach};
use whitewater_sdp::{Candidate, CandidateTransport};

use super::ice::{Checked, Credentials, HmacSha1, Path};
use crate::drops::DropReason;
use crate::limits;

/// Checks another server's addresses.
#[derive(Debug)]
pub struct Dialler {
    local: Credentials,
    /// Ours from the answer to a restart on.
    renewed: Option<Credentials>,
    remote: Credentials,
    /// `remote:local`, as checks of ours say it (RFC 8445 §7.2.2).
    username: String,
    port: u16,
    family: Family,
    reach: Reach,
    tie_breaker: u64,
    /// Spreads consent checks; turns on from the tie-breaker.
    step: u64,
    /// In order of preference.
    pairs: Vec<Pair>,
    /// The valid pair that is being nominated.
    nominating: Option<usize>,
    selected: Option<usize>,
    local_address: IpAddr,
    began_at: Instant,
    consented_at: Instant,
    consent_due: Instant,
    hmac: HmacSha1,
}

/// A remote candidate; ours is always the one socket.
#[derive(Debug)]
struct Pair {
    remote: SocketAddr,
    priority: u32,
    is_valid: bool,
    due: Instant,
    interval: Duration,
    checks_left: u32,
    /// The latest checks, each with whether it nominated.
    sent: [Option<(TransId, bool)>; CHECKS_REMEMBERED],
    next: usize,
}

/// What a [`Dialler`] is made from.
#[derive(Debug)]
pub struct Dialling<'a> {
    /// Our credentials.
    pub local: Credentials,
    /// Those of the answer.
    pub remote: Credentials,
    /// The answer's candidates.
    pub candidates: &'a [Candidate],
    /// The port of the session's own socket.
    pub port: u16,
    /// Whether that socket reaches IPv6, too.
    pub family: Family,
    /// Which addresses may be called.
    pub reach: Reach,
    /// Random.
    pub tie_breaker: u64,
}

/// What the session's own socket reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4 only.
    V4,
    /// Both.
    Both,
    /// IPv6 only.
    V6,
}

impl Family {
    fn reaches(self, address: IpAddr) -> bool {
        match self {
            Family::Both => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        }
    }
}

impl Dialler {
    /// One that begins its checks at the next [`poll`](Self::poll). It may have no candidate at
    /// all: a full agent's checks can still bring some.
    pub fn new(now: Instant, dialling: Dialling<'_>, hmac: HmacSha1) -> Self {
        let Dialling {
            local,
            remote,
            candidates,
            port,
            family,
            reach,
            tie_breaker,
        } = dialling;
        Dialler {
            username: format!("{}:{}", remote.ufrag, local.ufrag),
            pairs: pairs(now, candidates, family, &reach),
            local,
            renewed: None,
            remote,
            port,
            family,
            reach,
            tie_breaker,
            step: tie_breaker,
            nominating: None,
            selected: None,
            local_address: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            began_at: now,
            consented_at: now,
            consent_due: now,
            hmac,
        }
    }

    /// Prepares a restart: our credentials once it is answered.
    pub fn renew(&mut self, local: Credentials) {
        self.renewed = Some(local);
    }

    /// Begins anew with the credentials and candidates that a restart was answered with (RFC 8445
    /// §9); a server that names no addresses has those it had. The addresses that are verified no
    /// more; `None` when no restart was begun.
    pub fn redial(
        &mut self,
        now: Instant,
        remote: Credentials,
        candidates: &[Candidate],
    ) -> Option<Vec<PeerAddr>> {
        let local = self.renewed.take()?;
        let left = self.addresses().collect();
        self.username = format!("{}:{}", remote.ufrag, local.ufrag);
        (self.local, self.remote) = (local, remote);
        let mut pairs = pairs(now, candidates, self.family, &self.reach);
        if pairs.is_empty() {
            let known = self.pairs.iter();
            pairs = known
                .map(|pair| Pair::new(pair.remote, pair.priority, now))
                .collect();
        }
        self.pairs = pairs;
        (self.nominating, self.selected) = (None, None);
        self.began_at = now;
        Some(left)
    }

    /// Remote candidates that are checked.
    pub fn candidate_count(&self) -> usize {
        self.pairs.len()
    }

    /// The port of the session's own socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The peer's credentials.
    pub fn remote(&self) -> &Credentials {
        &self.remote
    }

    /// Where media goes.
    pub fn path(&self) -> Option<Path> {
        let pair = self.pairs.get(self.selected?)?;
        let remote = PeerAddr::dialled(self.port, pair.remote);
        Some(Path::new(
            remote,
            self.local_address,
            pair.priority,
            self.consented_at,
        ))
    }

    /// Every verified address.
    pub fn addresses(&self) -> impl Iterator<Item = PeerAddr> + '_ {
        let valid = self.pairs.iter().filter(|pair| pair.is_valid);
        valid.map(|pair| PeerAddr::dialled(self.port, pair.remote))
    }

    /// When [`poll`](Self::poll) has something to do.
    pub fn due(&self) -> Instant {
        if self.selected.is_some() {
            let lost_at = self.consented_at + limits::CONSENT_EXPIRES_AFTER;
            return self.consent_due.min(lost_at);
        }
        let checks = self.checked().map(|pair| pair.due);
        let given_up_at = self.began_at + limits::DIAL_TIMEOUT;
        checks.min().map_or(given_up_at, |at| at.min(given_up_at))
    }

    /// Whether nothing more is to be sent: no candidate answered in time, or the peer no longer
    /// consents (RFC 7675 §5.1).
    pub fn is_over(&self, now: Instant) -> bool {
        let (since, max) = match self.selected {
            Some(_) => (self.consented_at, limits::CONSENT_EXPIRES_AFTER),
            None => (self.began_at, limits::DIAL_TIMEOUT),
        };
        now.saturating_duration_since(since) >= max
    }

    /// The next check that is due, and where it goes. To be called until there is none.
    pub fn poll(&mut self, now: Instant) -> Option<(PeerAddr, Vec<u8>)> {
        if self.selected.is_some() {
            return self.ask_for_consent(now);
        }
        let nominating = self.nominating;
        let due = |(index, pair): (usize, &Pair)| {
            let meant = nominating.is_none_or(|nominated| nominated == index);
            (meant && pair.is_checked() && pair.due <= now).then_some(index)
        };
        let index = self.pairs.iter().enumerate().find_map(due)?;
        let pair = self.pairs.get_mut(index)?;
        pair.due = now + pair.interval;
        pair.interval = (pair.interval * 2).min(limits::CHECK_INTERVAL_MAX);
        pair.checks_left -= 1;
        if pair.checks_left == 0 && nominating == Some(index) {
            // It worked once and does not any more: the others have their turn again.
            self.nominating = None;
        }
        self.request(index, nominating == Some(index))
    }

    /// Handles one STUN message from `remote` to our address `local`.
    ///
    /// # Errors
    /// The reason to drop it; nothing is sent then.
    pub fn check(
        &mut self,
        now: Instant,
        remote: PeerAddr,
        local: IpAddr,
        bytes: &[u8],
    ) -> Result<Checked, DropReason> {
        let message = StunMessage::parse(bytes).map_err(|_| DropReason::StunMalformed)?;
        if message.is_binding_request() {
            return self.answer(now, remote.addr, &message);
        }
        if !message.verify(self.remote.pwd.as_bytes(), self.hmac) {
            return Err(DropReason::StunIntegrity);
        }
        if !message.is_successful_binding_response() {
            // A role conflict (487): an answerer that insists on controlling is not followed, its
            // own checks hear of the conflict.
            return Err(DropReason::StunMalformed);
        }
        self.answered(now, remote, local, message.trans_id())
    }

    /// RFC 8445 §7.2.5: an answer counts from where the check went to, once.
    fn answered(
        &mut self,
        now: Instant,
        remote: PeerAddr,
        local: IpAddr,
        id: TransId,
    ) -> Result<Checked, DropReason> {
        let position = |pair: &Pair| pair.remote == remote.addr;
        let index = self.pairs.iter().position(position);
        let index = index.ok_or(DropReason::UnverifiedSource)?;
        let pair = &mut self.pairs[index];
        let nominated = pair.take(id).ok_or(DropReason::StunMalformed)?;
        let mut checked = Checked::default();
        if !pair.is_valid {
            pair.is_valid = true;
            checked.verified = Some(remote);
        }
        if self.selected == Some(index) {
            self.consented_at = now;
        } else if self.selected.is_none() && nominated {
            self.selected = Some(index);
            self.local_address = local;
            self.consented_at = now;
            self.consent_due = now + limits::CONSENT_INTERVAL;
            checked.path_changed = true;
        } else if self.selected.is_none() && self.nominating.is_none() {
            // RFC 8445 §8.1.1: only a pair that is valid is nominated. The first is as good as any:
            // the better ones were asked before it.
            self.nominating = Some(index);
            pair.check_anew(now);
        }
        Ok(checked)
    }

    /// RFC 8445 §7.3: a check of a full agent.
    fn answer(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        message: &StunMessage<'_>,
    ) -> Result<Checked, DropReason> {
        let (ours, _) = message.split_username().ok_or(DropReason::StunMalformed)?;
        if ours != self.local.ufrag {
            return Err(DropReason::StunUnknownUfrag);
        }
        if !message.verify(self.local.pwd.as_bytes(), self.hmac) {
            return Err(DropReason::StunIntegrity);
        }
        let id = message.trans_id();
        let conflict = message.ice_controlling().is_some();
        let reply = if conflict {
            // RFC 8445 §6.1.1: the offerer controls.
            StunMessage::binding_role_conflict_reply(id)
        } else {
            StunMessage::binding_reply(id, remote)
        };
        let reply = render(reply, &self.local.pwd, self.hmac).ok_or(DropReason::StunMalformed)?;
        if !conflict && self.selected.is_none() {
            self.learn(now, remote, message.prio().unwrap_or(0));
        }
        Ok(Checked {
            reply,
            ..Checked::default()
        })
    }

    /// RFC 8445 §7.3.1.3 and §7.3.1.4: what checks us is checked at once.
    fn learn(&mut self, now: Instant, remote: SocketAddr, priority: u32) {
        if let Some(known) = self.pairs.iter_mut().find(|pair| pair.remote == remote) {
            if !known.is_valid {
                known.check_anew(now);
            }
            return;
        }
        if self.pairs.len() < limits::DIALLED_CANDIDATES_MAX && self.reach.allows(remote.ip()) {
            self.pairs.push(Pair::new(remote, priority, now));
        }
    }

    /// The pairs whose turn it can be.
    fn checked(&self) -> impl Iterator<Item = &Pair> {
        let nominating = self.nominating;
        let meant = move |index| nominating.is_none_or(|nominated| nominated == index);
        let pairs = self.pairs.iter().enumerate();
        pairs.filter_map(move |(index, pair)| (meant(index) && pair.is_checked()).then_some(pair))
    }

    fn ask_for_consent(&mut self, now: Instant) -> Option<(PeerAddr, Vec<u8>)> {
        if now < self.consent_due {
            return None;
        }
        // RFC 7675 §5.1: 0.8 to 1.2 of the interval, so that sessions do not go in step.
        self.step = self
            .step
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let spread = (self.step >> 56) as u32;
        self.consent_due = now + limits::CONSENT_INTERVAL * (512 + spread) / 640;
        self.request(self.selected?, false)
    }

    fn request(&mut self, index: usize, nominate: bool) -> Option<(PeerAddr, Vec<u8>)> {
        let id = TransId::new();
        let pair = self.pairs.get_mut(index)?;
        pair.remember(id, nominate);
        let remote = PeerAddr::dialled(self.port, pair.remote);
        let request = StunMessage::binding_request(
            &self.username,
            id,
            true,
            self.tie_breaker,
            PEER_REFLEXIVE_PRIORITY,
            nominate,
        );
        let bytes = render(request, &self.remote.pwd, self.hmac)?;
        Some((remote, bytes))
    }
}

/// The candidates that may be dialled from here, the most wanted first.
fn pairs(now: Instant, candidates: &[Candidate], family: Family, reach: &Reach) -> Vec<Pair> {
    let mut usable: Vec<(u32, SocketAddr)> = Vec::new();
    for candidate in candidates {
        let addr = SocketAddr::new(candidate.addr.ip().to_canonical(), candidate.addr.port());
        let usable_here = candidate.transport == CandidateTransport::Udp
            && family.reaches(addr.ip())
            && addr.port() != 0
            && reach.allows(addr.ip());
        if usable_here && usable.iter().all(|(_, known)| *known != addr) {
            usable.push((candidate.priority, addr));
        }
    }
    usable.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
    usable.truncate(limits::DIALLED_CANDIDATES_MAX);
    // RFC 8445 §14.2: checks are paced.
    let starts = (0_u32..).map(|index| now + limits::CHECK_PACE * index);
    let pairs = usable.into_iter().zip(starts);
    pairs
        .map(|((priority, addr), due)| Pair::new(addr, priority, due))
        .collect()
}

impl Pair {
    fn new(remote: SocketAddr, priority: u32, due: Instant) -> Self {
        Pair {
            remote,
            priority,
            is_valid: false,
            due,
            interval: limits::CHECK_INTERVAL,
            checks_left: limits::CHECKS_PER_CANDIDATE_MAX,
            sent: [None; CHECKS_REMEMBERED],
            next: 0,
        }
    }

    fn is_checked(&self) -> bool {
        self.checks_left > 0
    }

    fn check_anew(&mut self, now: Instant) {
        self.due = now;
        self.interval = limits::CHECK_INTERVAL;
        self.checks_left = limits::CHECKS_PER_CANDIDATE_MAX;
    }

    fn remember(&mut self, id: TransId, nominate: bool) {
        if let Some(slot) = self.sent.get_mut(self.next % CHECKS_REMEMBERED) {
            *slot = Some((id, nominate));
        }
        self.next = self.next.wrapping_add(1);
    }

    /// Whether the check of this id nominated; `None` if there is none that waits.
    fn take(&mut self, id: TransId) -> Option<bool> {
        let is_it = |slot: &&mut Option<(TransId, bool)>| slot.is_some_and(|(sent, _)| sent == id);
        let slot = self.sent.iter_mut().find(is_it)?;
        slot.take().map(|(_, nominate)| nominate)
    }
}

fn render(message: StunMessage<'_>, pwd: &str, hmac: HmacSha1) -> Option<Vec<u8>> {
    let mut buf = [0; MESSAGE_SIZE_MAX];
    let size = message
        .to_bytes(Some(pwd.as_bytes()), &mut buf, hmac)
        .ok()?;
    buf.get(..size).map(<[u8]>::to_vec)
}

/// RFC 8445 §5.1.2.1 with a type preference of 110: what a check would reveal of us.
const PEER_REFLEXIVE_PRIORITY: u32 = (110 << 24) + (65_535 << 8) + 255;
/// Answers to older checks of a candidate do not count.
const CHECKS_REMEMBERED: usize = 4;
/// Header 20, USERNAME 4 + 513, PRIORITY 8, ICE-CONTROLLING 12, USE-CANDIDATE 4, MESSAGE-INTEGRITY
/// 24, FINGERPRINT 8.
const MESSAGE_SIZE_MAX: usize = 640;

#[cfg(test)]
mod tests;
