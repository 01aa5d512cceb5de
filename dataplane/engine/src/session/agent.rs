//! Either side of ICE, as the session sees it.

use std::net::IpAddr;
use std::time::Instant;

use whitewater_link::PeerAddr;

use super::dialler::Dialler;
use super::ice::{Checked, Credentials, LiteAgent, Path};
use crate::drops::DropReason;

/// Which side of ICE a session is on.
#[derive(Debug)]
pub enum Agent {
    /// Answers the checks of its client.
    Lite(LiteAgent),
    /// Checks the addresses of the server it is a client of.
    Dialler(Box<Dialler>),
}

impl Agent {
    /// All of our user name fragments that tell which session a check at the shard's port is for.
    pub fn ufrags(&self) -> impl Iterator<Item = &str> {
        self.lite().into_iter().flat_map(LiteAgent::ufrags)
    }

    /// The port of the socket that is this session's own, if it has one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Agent::Lite(_) => None,
            Agent::Dialler(dialler) => Some(dialler.port()),
        }
    }

    /// The peer's credentials.
    pub fn remote(&self) -> &Credentials {
        match self {
            Agent::Lite(lite) => lite.remote(),
            Agent::Dialler(dialler) => dialler.remote(),
        }
    }

    /// Where media goes.
    pub fn path(&self) -> Option<Path> {
        match self {
            Agent::Lite(lite) => lite.path(),
            Agent::Dialler(dialler) => dialler.path(),
        }
    }

    /// Every verified address.
    pub fn addresses(&self) -> Vec<PeerAddr> {
        match self {
            Agent::Lite(lite) => lite.addresses().collect(),
            Agent::Dialler(dialler) => dialler.addresses().collect(),
        }
    }

    /// Handles one STUN message.
    ///
    /// # Errors
    /// The reason to drop it.
    pub fn check(
        &mut self,
        now: Instant,
        remote: PeerAddr,
        local: IpAddr,
        bytes: &[u8],
    ) -> Result<Checked, DropReason> {
        match self {
            Agent::Lite(lite) => lite.check(now, remote, local, bytes),
            Agent::Dialler(dialler) => dialler.check(now, remote, local, bytes),
        }
    }

    /// The side that can be asked for a restart.
    pub fn lite_mut(&mut self) -> Option<&mut LiteAgent> {
        match self {
            Agent::Lite(lite) => Some(lite),
            Agent::Dialler(_) => None,
        }
    }

    /// The side that sends checks.
    pub fn dialler_mut(&mut self) -> Option<&mut Dialler> {
        match self {
            Agent::Lite(_) => None,
            Agent::Dialler(dialler) => Some(dialler),
        }
    }

    /// When a check is due.
    pub fn due(&self) -> Option<Instant> {
        match self {
            Agent::Lite(_) => None,
            Agent::Dialler(dialler) => Some(dialler.due()),
        }
    }

    fn lite(&self) -> Option<&LiteAgent> {
        match self {
            Agent::Lite(lite) => Some(lite),
            Agent::Dialler(_) => None,
        }
    }
}
