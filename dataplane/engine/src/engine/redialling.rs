//! ICE restarts of sessions in which this server is the client of another one.

use std::time::Instant;

use whitewater_link::{Event, PatchOutcome, PatchRefusal, RequestId, SessionId};
use whitewater_sdp::{Candidate, Fragment, render_fragment};

use super::{Core, Engine};
use crate::admission;
use crate::session::Session;
use crate::session::ice::Credentials;

impl Engine {
    /// Makes new credentials for a session, or takes those that the other server answered with.
    pub(super) fn restart(
        &mut self,
        now: Instant,
        request: RequestId,
        id: SessionId,
        answer: Option<&Fragment>,
    ) {
        let mut outcome = Err(PatchRefusal::Gone);
        if let Some(key) = self.core.by_id.get(&id).copied() {
            self.with_session(now, key, |session, core| {
                outcome = match answer {
                    None => session.begin_restart(core),
                    Some(fragment) => session.redial(now, key, fragment, core),
                };
            });
        }
        self.core.out.events.push(Event::Patched {
            request,
            session: id,
            outcome,
        });
    }
}

impl Session {
    /// New credentials of ours; those in use stay until the other server has answered.
    fn begin_restart(&mut self, core: &mut Core) -> Result<PatchOutcome, PatchRefusal> {
        let Some(dialler) = self.ice.dialler_mut() else {
            return Err(PatchRefusal::Unsupported(
                "this session is its client's to restart".to_owned(),
            ));
        };
        let fresh = admission::credentials(&mut core.rng, core.config.shard);
        self.local.ice.ufrag.clone_from(&fresh.ufrag);
        self.local.ice.pwd.clone_from(&fresh.pwd);
        dialler.renew(fresh);
        Ok(PatchOutcome::Restarted {
            fragment: render_fragment(&self.tagged_mid, &self.local),
        })
    }

    /// Checks the other server's addresses anew, under new credentials of both sides.
    fn redial(
        &mut self,
        now: Instant,
        key: u32,
        fragment: &Fragment,
        core: &mut Core,
    ) -> Result<PatchOutcome, PatchRefusal> {
        let Some((ufrag, pwd)) = fragment.credentials(&self.tagged_mid) else {
            return Err(PatchRefusal::Malformed(
                "the answer to a restart has new credentials".to_owned(),
            ));
        };
        let remote = Credentials {
            ufrag: ufrag.to_owned(),
            pwd: pwd.to_owned(),
        };
        let candidates: Vec<Candidate> = fragment.candidates(&self.tagged_mid).cloned().collect();
        let left = self
            .ice
            .dialler_mut()
            .and_then(|dialler| dialler.redial(now, remote, &candidates));
        let Some(left) = left else {
            return Err(PatchRefusal::Unsupported(
                "no restart of this session is under way".to_owned(),
            ));
        };
        for address in left {
            core.forget_address(address, key);
        }
        Ok(PatchOutcome::Trickled)
    }
}
