//! Counter-offers (draft-ietf-wish-whep §4.3.2): sessions that wait for their viewer's answer.

use std::time::Instant;

use whitewater_link::{Command, SessionId};

use super::Registry;
use crate::{Error, Now, Principal, StreamName};

impl Registry {
    /// The data plane met a viewer's offer by one of its own, which may be answered until `until`.
    /// False when nobody waits for it any more: the data plane is then told to forget it.
    pub fn counter_offered(&mut self, session: SessionId, until: Instant) -> bool {
        let Some(pending) = self.pending.get_mut(&session) else {
            self.outbox.push_back(Command::Withdraw { session });
            return false;
        };
        pending.counter_offer = Some(until);
        true
    }

    /// Whether this principal has a counter-offer to answer.
    ///
    /// # Errors
    /// `NoSuchSession`.
    pub fn counter_offer(
        &self,
        name: &StreamName,
        session: SessionId,
        principal: &Principal,
    ) -> Result<(), Error> {
        let found = self.pending.get(&session).filter(|pending| {
            pending.counter_offer.is_some() && pending.name == *name && pending.owner == *principal
        });
        found.map(|_| ()).ok_or(Error::NoSuchSession)
    }

    /// Forgets those whose time is over, or whose authorisation is.
    pub(super) fn expire_counter_offers(&mut self, now: Now) {
        self.drop_counter_offers_if(now, |offered, until| {
            offered <= now.mono || until.is_some_and(|until| until <= now.mono)
        });
    }

    pub(super) fn drop_counter_offers(&mut self, now: Now) {
        self.drop_counter_offers_if(now, |_, _| true);
    }

    fn drop_counter_offers_if(
        &mut self,
        now: Now,
        which: impl Fn(Instant, Option<Instant>) -> bool,
    ) {
        let over: Vec<SessionId> = self
            .pending
            .iter()
            .filter(|(_, pending)| {
                let offered = pending.counter_offer;
                let until = pending.authority.as_ref().and_then(|a| a.until);
                offered.is_some_and(|offered| which(offered, until))
            })
            .map(|(session, _)| *session)
            .collect();
        for session in over {
            self.refused(session, now);
        }
    }
}
