//! The protected way to one viewer, and back: our own SRTP and SRTCP under the keys of its DTLS
//! handshake.
//!
//! Nobody else has these keys: a viewer's [connection](super::connection) is the handshake alone,
//! and RTP or RTCP from it would not leave (`Session::pump`). So every packet index is chosen here,
//! and used once: those of RTP by [`SrtpSealer::seal_once`], those of SRTCP by [`SrtcpSealer::seal`].

use whitewater_srtp::{KeyError, KeyingMaterial, SrtcpOpener, SrtcpSealer, SrtpSealer};

/// Seals what one viewer is sent, and opens its feedback.
#[derive(Debug)]
pub struct Outlet {
    /// Media and retransmissions.
    pub rtp: SrtpSealer,
    /// Reports and good-byes.
    pub rtcp: SrtcpSealer,
    /// Feedback, each packet once.
    pub feedback: SrtcpOpener,
    /// Bytes that sealing adds to an RTP packet.
    pub rtp_overhead: usize,
    /// Bytes that sealing adds to an RTCP packet.
    pub rtcp_overhead: usize,
}

impl Outlet {
    /// Derives the session keys.
    ///
    /// # Errors
    /// When the cryptographic library does not take a key.
    pub fn new(material: &KeyingMaterial) -> Result<Self, KeyError> {
        let profile = material.local.profile();
        Ok(Outlet {
            rtp: SrtpSealer::new(&material.local)?,
            rtcp: SrtcpSealer::new(&material.local)?,
            feedback: SrtcpOpener::new(&material.remote)?,
            rtp_overhead: profile.rtp_overhead(),
            rtcp_overhead: profile.rtcp_overhead(),
        })
    }
}
