//! From an answer to keys: connectivity checks, then the DTLS handshake; later consent. Sans-IO:
//! time and datagrams come in, datagrams go out.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::crypto::CryptoProvider;
use str0m::crypto::dtls::{DtlsCert, DtlsInstance, DtlsOutput, DtlsVersion, SrtpProfile};
use str0m::ice::{StunMessage, TransId};
use whitewater_srtp::{KeyingMaterial, Profile, Role as DtlsRole};

use crate::sdp::Answer;

/// What all sessions of a process share: one certificate is enough for as many peers as wanted.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) crypto: Arc<CryptoProvider>,
    pub(crate) certificate: DtlsCert,
    pub(crate) fingerprint: [u8; 32],
}

impl Identity {
    pub(crate) fn generate() -> Option<Self> {
        let crypto = Arc::new(str0m::crypto::from_feature_flags());
        let certificate = crypto.dtls_provider.generate_certificate()?;
        let fingerprint = crypto.sha256_provider.sha256(&certificate.certificate);
        Some(Identity {
            crypto,
            certificate,
            fingerprint,
        })
    }
}

/// Why a connection ended or never came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    NoCheckAnswered,
    ConsentLost,
    HandshakeFailed,
    HandshakeTimedOut,
    OtherCertificate,
    OtherProfile,
    ClosedByServer,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCheckAnswered => "no candidate of the server answered a connectivity check",
            Self::ConsentLost => "the server no longer answers connectivity checks",
            Self::HandshakeFailed => "the DTLS handshake failed",
            Self::HandshakeTimedOut => "the DTLS handshake did not end in time",
            Self::OtherCertificate => "the server's certificate is not that of its answer",
            Self::OtherProfile => "the handshake chose an SRTP profile that is not known",
            Self::ClosedByServer => "the server closed the connection",
        })
    }
}

/// Something that happened to the connection.
#[derive(Debug)]
pub(crate) enum Progress {
    /// A pair is nominated: all goes to this address from here on.
    Nominated(SocketAddr),
    /// The handshake is done.
    Secured(Box<KeyingMaterial>),
    Broken(Broken),
}

/// A datagram to send, and where to.
pub(crate) type Sending<'a> = &'a mut dyn FnMut(SocketAddr, &[u8]);

/// One connection, we being the controlling side of ICE (RFC 8445 §6.1.1: the offerer).
pub(crate) struct Transport {
    crypto: Arc<CryptoProvider>,
    ufrag_local: String,
    password_local: String,
    /// `remote:local`, as checks of ours say it (RFC 8445 §7.2.2).
    username: String,
    password_remote: String,
    tie_breaker: u64,
    step: u64,
    candidates: Vec<Candidate>,
    nominated: Option<SocketAddr>,
    /// The check that keeps consent, and when the last one was answered.
    consent: Option<TransId>,
    consent_at: Instant,
    check_due: Instant,
    check_interval: Duration,
    end: Instant,
    dtls: Box<dyn DtlsInstance>,
    dtls_due: Option<Instant>,
    role: DtlsRole,
    fingerprint: Vec<u8>,
    certificate_seen: bool,
    secured: bool,
}

/// An address of the server and the checks sent there; the latest few are remembered, and whether
/// they nominate.
struct Candidate {
    address: SocketAddr,
    sent: [Option<(TransId, bool)>; CHECKS_REMEMBERED],
    next: usize,
    answered: bool,
}

impl Transport {
    /// A connection that starts its checks at the next [`poll`](Self::poll).
    ///
    /// `family` decides which candidates can be reached from the socket. `None` when none can, or
    /// when the crypto library refuses.
    pub(crate) fn new(
        identity: &Identity,
        answer: &Answer,
        ufrag: &str,
        password: &str,
        family: SocketAddr,
        now: Instant,
    ) -> Option<Self> {
        let reachable = |address: &&SocketAddr| address.is_ipv4() == family.is_ipv4();
        let candidate = |address: &SocketAddr| Candidate {
            address: *address,
            sent: [None; CHECKS_REMEMBERED],
            next: 0,
            answered: false,
        };
        let candidates: Vec<_> = answer.candidates.iter().filter(reachable).collect();
        if candidates.is_empty() {
            return None;
        }
        let tie_breaker = getrandom::u64().ok()?;
        let provider = identity.crypto.dtls_provider;
        let mut dtls = provider
            .new_dtls(&identity.certificate, now, DtlsVersion::Dtls12, None)
            .ok()?;
        dtls.set_active(!answer.server_is_active);
        Some(Transport {
            crypto: identity.crypto.clone(),
            ufrag_local: ufrag.to_owned(),
            password_local: password.to_owned(),
            username: format!("{}:{ufrag}", answer.ufrag),
            password_remote: answer.password.clone(),
            tie_breaker,
            step: tie_breaker,
            candidates: candidates.into_iter().map(candidate).collect(),
            nominated: None,
            consent: None,
            consent_at: now,
            check_due: now,
            check_interval: CHECK_INTERVAL,
            end: now + CONNECT_MAX,
            dtls,
            dtls_due: None,
            role: if answer.server_is_active {
                DtlsRole::Server
            } else {
                DtlsRole::Client
            },
            fingerprint: answer.fingerprint.clone(),
            certificate_seen: false,
            secured: false,
        })
    }

    /// When [`poll`](Self::poll) must be called again if nothing arrives.
    pub(crate) fn due(&self) -> Instant {
        let due = self
            .dtls_due
            .map_or(self.check_due, |at| at.min(self.check_due));
        if self.secured { due } else { due.min(self.end) }
    }

    /// The server's address, once it is agreed on.
    pub(crate) fn nominated(&self) -> Option<SocketAddr> {
        self.nominated
    }

    /// Does what is due.
    pub(crate) fn poll(&mut self, now: Instant, send: Sending<'_>) -> Option<Progress> {
        if !self.secured && now >= self.end {
            return Some(Progress::Broken(match self.nominated {
                Some(_) => Broken::HandshakeTimedOut,
                None => Broken::NoCheckAnswered,
            }));
        }
        if self.secured && now.saturating_duration_since(self.consent_at) > CONSENT_MAX {
            return Some(Progress::Broken(Broken::ConsentLost));
        }
        if now >= self.check_due {
            self.check(now, send);
        }
        if self.dtls_due.is_some_and(|due| now >= due) {
            self.dtls_due = None;
            if self.dtls.handle_timeout(now).is_err() {
                return Some(Progress::Broken(Broken::HandshakeTimedOut));
            }
            return self.pump(send);
        }
        None
    }

    /// Takes a STUN message.
    pub(crate) fn on_stun(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &[u8],
        send: Sending<'_>,
    ) -> Option<Progress> {
        let message = StunMessage::parse(bytes).ok()?;
        if message.is_binding_request() {
            self.reply(&message, from, send);
            return None;
        }
        let hmac = self.crypto.sha1_hmac_provider;
        let verified = message.verify(self.password_remote.as_bytes(), |key, parts| {
            hmac.sha1_hmac(key, parts)
        });
        if !message.is_successful_binding_response() || !verified {
            return None;
        }
        let id = message.trans_id();
        if self.nominated.is_some() {
            if self.consent == Some(id) {
                self.consent = None;
                self.consent_at = now;
            }
            return None;
        }
        let mut candidates = self.candidates.iter_mut();
        let candidate = candidates.find(|candidate| candidate.address == from)?;
        let mut sent = candidate.sent.iter().flatten();
        let (_, nominates) = *sent.find(|(known, _)| *known == id)?;
        if !nominates {
            // RFC 8445 §8.1.1: the pair is valid; the next check nominates it. A lite server is asked
            // no sooner: it may prefer another of the pairs that are nominated at once. Of several
            // checks that were under way only the first answer is news.
            if !std::mem::replace(&mut candidate.answered, true) {
                self.check_due = now;
            }
            return None;
        }
        self.nominated = Some(from);
        self.consent_at = now;
        self.check_due = now + CONSENT_INTERVAL;
        // The handshake starts, or waits for the server's first flight.
        self.dtls_due = Some(now);
        Some(Progress::Nominated(from))
    }

    /// Takes a DTLS record.
    pub(crate) fn on_dtls(&mut self, bytes: &[u8], send: Sending<'_>) -> Option<Progress> {
        if self.dtls.handle_packet(bytes).is_err() {
            // Records that do not authenticate are dropped inside; this is a real failure.
            return Some(Progress::Broken(if self.secured {
                Broken::ClosedByServer
            } else {
                Broken::HandshakeFailed
            }));
        }
        self.pump(send)
    }

    /// Says goodbye.
    pub(crate) fn close(&mut self, send: Sending<'_>) {
        if self.secured && self.dtls.close().is_ok() {
            self.pump(send);
        }
    }

    /// RFC 8445 §7.2: one check to each candidate, or, once nominated, RFC 7675 §5.1: consent.
    fn check(&mut self, now: Instant, send: Sending<'_>) {
        if let Some(address) = self.nominated {
            let id = TransId::new();
            self.consent = Some(id);
            // RFC 7675 §5.1: between 0.8 and 1.2 of the interval, so that sessions do not go in
            // step. Good randomness is not needed: another turn of a generator on the tie-breaker.
            self.step = self
                .step
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let spread = (self.step >> 56) as u32;
            self.check_due = now + CONSENT_INTERVAL * (512 + spread) / 640;
            self.request(id, address, false, send);
            return;
        }
        self.check_due = now + self.check_interval;
        self.check_interval = (self.check_interval * 2).min(CHECK_INTERVAL_MAX);
        let valid = self.candidates.iter().position(|one| one.answered);
        let range = valid.map_or(0..self.candidates.len(), |index| index..index + 1);
        for index in range {
            let id = TransId::new();
            let Some(candidate) = self.candidates.get_mut(index) else {
                return;
            };
            let slot = candidate.next % CHECKS_REMEMBERED;
            candidate.next += 1;
            let nominate = candidate.answered;
            if let Some(slot) = candidate.sent.get_mut(slot) {
                *slot = Some((id, nominate));
            }
            let address = candidate.address;
            self.request(id, address, nominate, send);
        }
    }

    fn request(&self, id: TransId, to: SocketAddr, nominate: bool, send: Sending<'_>) {
        let request = StunMessage::binding_request(
            &self.username,
            id,
            true,
            self.tie_breaker,
            PRIORITY,
            nominate,
        );
        self.transmit(request, &self.password_remote, to, send);
    }

    /// RFC 8445 §7.3: checks of a full server.
    fn reply(&self, request: &StunMessage<'_>, from: SocketAddr, send: Sending<'_>) {
        let hmac = self.crypto.sha1_hmac_provider;
        let ours = request
            .split_username()
            .is_some_and(|(local, _)| local == self.ufrag_local);
        let verified = request.verify(self.password_local.as_bytes(), |key, parts| {
            hmac.sha1_hmac(key, parts)
        });
        if ours && verified {
            let reply = StunMessage::binding_reply(request.trans_id(), from);
            self.transmit(reply, &self.password_local, from, send);
        }
    }

    fn transmit(&self, message: StunMessage<'_>, key: &str, to: SocketAddr, send: Sending<'_>) {
        let hmac = self.crypto.sha1_hmac_provider;
        let mut buf = [0; 512];
        let written = message.to_bytes(Some(key.as_bytes()), &mut buf, |key, parts| {
            hmac.sha1_hmac(key, parts)
        });
        // User names are short: a message that does not fit is not sent.
        if let Some(bytes) = written.ok().and_then(|len| buf.get(..len)) {
            send(to, bytes);
        }
    }

    /// Takes all that the handshake has to say.
    fn pump(&mut self, send: Sending<'_>) -> Option<Progress> {
        let to = self.nominated?;
        let mut buf = [0; 2048];
        let mut progress = None;
        for _ in 0..OUTPUTS_MAX {
            match self.dtls.poll_output(&mut buf) {
                DtlsOutput::Packet(bytes) => send(to, bytes),
                DtlsOutput::Timeout(at) => {
                    self.dtls_due = Some(at);
                    break;
                }
                DtlsOutput::PeerCert(der) => {
                    let found = self.crypto.sha256_provider.sha256(der);
                    if found[..] != self.fingerprint[..] {
                        return Some(Progress::Broken(Broken::OtherCertificate));
                    }
                    self.certificate_seen = true;
                }
                DtlsOutput::KeyingMaterial(material, profile) => {
                    if !self.certificate_seen {
                        return Some(Progress::Broken(Broken::OtherCertificate));
                    }
                    let keys = srtp_profile(profile)
                        .and_then(|known| KeyingMaterial::split(known, &material, self.role).ok());
                    let Some(keys) = keys else {
                        return Some(Progress::Broken(Broken::OtherProfile));
                    };
                    self.secured = true;
                    progress = Some(Progress::Secured(Box::new(keys)));
                }
                DtlsOutput::CloseNotify => {
                    return Some(Progress::Broken(Broken::ClosedByServer));
                }
                _ => {}
            }
        }
        progress
    }
}

fn srtp_profile(profile: SrtpProfile) -> Option<Profile> {
    match profile {
        SrtpProfile::AEAD_AES_128_GCM => Some(Profile::AeadAes128Gcm),
        SrtpProfile::AEAD_AES_256_GCM => Some(Profile::AeadAes256Gcm),
        SrtpProfile::AES128_CM_SHA1_80 => Some(Profile::Aes128CmSha1_80),
        #[allow(unreachable_patterns, reason = "the list may grow")]
        _ => None,
    }
}

/// RFC 8445 §5.1.2.1: a host candidate's.
const PRIORITY: u32 = 2_130_706_431;
const CHECKS_REMEMBERED: usize = 8;
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
const CHECK_INTERVAL_MAX: Duration = Duration::from_millis(400);
/// RFC 7675 §5.1.
const CONSENT_INTERVAL: Duration = Duration::from_secs(5);
const CONSENT_MAX: Duration = Duration::from_secs(30);
/// From the answer to the keys.
const CONNECT_MAX: Duration = Duration::from_secs(15);
/// A whole flight and its events are fewer.
const OUTPUTS_MAX: usize = 64;

#[cfg(test)]
mod tests;
