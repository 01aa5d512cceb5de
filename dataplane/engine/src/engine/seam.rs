//! Sessions without a handshake, for tests that are about what comes after it.

use std::net::IpAddr;
use std::time::Instant;

use whitewater_link::{PeerAddr, SessionId};
use whitewater_srtp::KeyingMaterial;

use super::Engine;
use crate::session::Side;
use crate::session::ice::Path;
use crate::session::outlet::Outlet;

impl Engine {
    /// Takes a viewer's handshake for done: it is at `peer`, and has these keys.
    pub(crate) fn connect(
        &mut self,
        now: Instant,
        id: SessionId,
        (peer, local): (PeerAddr, IpAddr),
        material: &KeyingMaterial,
    ) {
        let Some(&key) = self.core.by_id.get(&id) else {
            return;
        };
        self.with_session(now, key, |session, core| {
            let Side::Viewer(viewer) = &mut session.side else {
                return;
            };
            if viewer.outlet.is_some() {
                return;
            }
            viewer.outlet = Outlet::new(material).ok().map(Box::new);
            if let Some(agent) = session.ice.lite_mut() {
                agent.assume(Path::new(peer, local, 1, now));
            }
            core.learn_address(peer, key);
            session.begin(now, key, core);
        });
    }

    /// Feedback of a viewer as it is once it was opened.
    pub(crate) fn hear(&mut self, now: Instant, id: SessionId, compound: &[u8]) {
        let Some(&key) = self.core.by_id.get(&id) else {
            return;
        };
        self.with_session(now, key, |session, core| {
            session.heard(now, core);
            session.read_feedback(now, compound, core);
        });
    }

    /// The most packets that wait for any viewer's path.
    pub(crate) fn held_len_max(&self) -> usize {
        let held = self
            .sessions
            .iter()
            .map(|(_, session)| match &session.side {
                Side::Viewer(viewer) => viewer.downlink.as_ref().map_or(0, |path| path.held_len()),
                Side::Publisher(_) => 0,
            });
        held.max().unwrap_or(0)
    }
}
