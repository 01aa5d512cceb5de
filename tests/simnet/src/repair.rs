//! What a viewer asks for again (RFC 4585 §6.2.1), as browsers do: what is found missing at the next
//! look, then every round trip, ten times at most.
//!
//! The library's own way of asking is switched off: it asks five times, and every 105 ms, as it does not
//! learn a receiver's round trip.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use str0m::crypto::dtls::SrtpProfile;
use whitewater_engine::session::keys::KeyCell;
use whitewater_rtp::rtcp::write;
use whitewater_srtp::{KeyingMaterial, Profile, Role, SrtcpSealer};

/// Numbers of a track of which something later came.
pub(crate) struct Repair {
    missing: BTreeMap<u64, Missing>,
    highest: Option<u64>,
    /// From a question to its answer.
    round_trip: Duration,
    is_measured: bool,
    /// The highest number that was asked for in vain.
    gone: Option<u64>,
}

struct Missing {
    due: Instant,
    asked_at: Option<Instant>,
    asked: u8,
}

impl Default for Repair {
    fn default() -> Self {
        Repair {
            missing: BTreeMap::new(),
            highest: None,
            round_trip: ROUND_TRIP,
            is_measured: false,
            gone: None,
        }
    }
}

impl Repair {
    /// A packet came, for the first time.
    pub(crate) fn note(&mut self, now: Instant, seq: u64) {
        if let Some(missing) = self.missing.remove(&seq) {
            self.measure(now, &missing);
            return;
        }
        let highest = *self.highest.get_or_insert(seq);
        if seq <= highest {
            return;
        }
        for seq in (highest + 1).max(seq.saturating_sub(MISSING_MAX))..seq {
            let missing = Missing {
                due: now + LOOK_INTERVAL,
                asked_at: None,
                asked: 0,
            };
            self.missing.insert(seq, missing);
        }
        while self.missing.len() as u64 > MISSING_MAX {
            self.missing.pop_first();
        }
        self.highest = Some(seq);
    }

    /// Nothing before `seq` is of use any more.
    pub(crate) fn forget_before(&mut self, seq: u64) {
        self.missing = self.missing.split_off(&seq);
    }

    /// Whether something from `seq` on was asked for in vain.
    pub(crate) fn is_in_vain(&self, seq: u64) -> bool {
        self.gone.is_some_and(|gone| gone >= seq)
    }

    /// When there is something to ask for, or to give up.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.missing.values().map(|missing| missing.due).min()
    }

    /// The numbers to ask for now.
    pub(crate) fn ask(&mut self, now: Instant) -> Vec<u16> {
        let (mut asks, mut gone) = (Vec::new(), None);
        let again = self.round_trip + MARGIN;
        self.missing.retain(|&seq, missing| {
            if missing.due > now {
                return true;
            }
            if missing.asked >= ASKS_MAX {
                gone = Some(seq);
                return false;
            }
            missing.asked += 1;
            missing.asked_at = Some(now);
            missing.due = now + again;
            asks.push(seq as u16);
            true
        });
        self.gone = self.gone.max(gone);
        asks
    }

    /// What was asked for once came: that took a round trip.
    fn measure(&mut self, now: Instant, missing: &Missing) {
        let Some(asked_at) = missing.asked_at.filter(|_| missing.asked == 1) else {
            return;
        };
        let took = now.saturating_duration_since(asked_at);
        self.round_trip = match self.is_measured {
            true => (self.round_trip * 7 + took) / 8,
            false => took,
        };
        self.is_measured = true;
    }
}

/// Seals a viewer's own feedback, under a source of its own and so beside what the library sends.
pub(crate) struct Feedback(SrtcpSealer);

impl Feedback {
    /// Once the handshake is done; `is_client`: in it.
    pub(crate) fn new(keys: &KeyCell, is_client: bool) -> Option<Self> {
        let keys = keys.keys()?;
        let role = if is_client {
            Role::Client
        } else {
            Role::Server
        };
        let profile = match keys.profile {
            SrtpProfile::AEAD_AES_128_GCM => Profile::AeadAes128Gcm,
            SrtpProfile::AEAD_AES_256_GCM => Profile::AeadAes256Gcm,
            _ => Profile::Aes128CmSha1_80,
        };
        let material = KeyingMaterial::split(profile, &keys.material, role).ok()?;
        Some(Feedback(SrtcpSealer::new(&material.local).ok()?))
    }

    /// A datagram that asks for these numbers of a source.
    pub(crate) fn nack(&mut self, media_ssrc: u32, seqs: &[u16]) -> Option<Vec<u8>> {
        let mut plain = vec![0; 16 + 4 * seqs.len()];
        let size = write::nack(&mut plain, SENDER, media_ssrc, seqs.iter().copied()).ok()?;
        let mut sealed = vec![0; size + SEAL_SIZE_MAX];
        let size = self.0.seal(plain.get(..size)?, &mut sealed).ok()?;
        sealed.truncate(size);
        Some(sealed)
    }
}

/// How often browsers look for what is missing, at most.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// What libwebrtc takes the round trip for before it knows.
const ROUND_TRIP: Duration = Duration::from_millis(100);
/// An answer is not exactly on time.
const MARGIN: Duration = Duration::from_millis(5);
/// As libwebrtc has it.
const ASKS_MAX: u8 = 10;
/// As libwebrtc has it.
const MISSING_MAX: u64 = 1_000;
/// The source of the questions.
const SENDER: u32 = 0x5e_ed00;
/// A tag and the index (RFC 3711 §3.4, RFC 7714 §9).
const SEAL_SIZE_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_is_missing_is_asked_for_every_round_trip_and_then_given_up() {
        let start = Instant::now();
        let mut repair = Repair::default();
        repair.note(start, 10);
        assert_eq!(repair.due(), None);
        repair.note(start, 13);
        assert_eq!(repair.ask(start), [0; 0], "it may be on its way");
        let mut now = start + LOOK_INTERVAL;
        assert_eq!(repair.due(), Some(now));
        assert_eq!(repair.ask(now), [11, 12]);
        now += 30 * MS;
        repair.note(now, 11);
        // Thirty milliseconds are a round trip from here on; the next question is due as it was.
        let mut asked = 1;
        while let Some(due) = repair.due() {
            assert!(due > now);
            now = due;
            assert!(!repair.is_in_vain(10));
            asked += repair.ask(now).len();
        }
        assert_eq!(asked, usize::from(ASKS_MAX));
        let took = now - start;
        assert!((400 * MS..500 * MS).contains(&took), "{took:?}");
        assert!(repair.is_in_vain(12) && !repair.is_in_vain(13));
    }

    #[test]
    fn what_is_of_no_use_is_not_asked_for_and_what_waits_is_bounded() {
        let start = Instant::now();
        let mut repair = Repair::default();
        repair.note(start, 0);
        repair.note(start, 10_000);
        assert_eq!(repair.missing.len() as u64, MISSING_MAX);
        repair.note(start, 20_000);
        assert_eq!(repair.missing.len() as u64, MISSING_MAX);
        repair.forget_before(19_998);
        assert_eq!(repair.ask(start + LOOK_INTERVAL), [19_998, 19_999]);
    }
}
