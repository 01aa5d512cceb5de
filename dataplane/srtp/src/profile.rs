//! Protection profiles and their sizes.

/// An SRTP protection profile negotiated in the DTLS handshake.
///
/// Source: RFC 5764 §4.1.2, RFC 7714 §14.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// AES-128 in GCM with a 16-byte tag.
    AeadAes128Gcm,
    /// AES-256 in GCM with a 16-byte tag.
    AeadAes256Gcm,
    /// AES-128 in counter mode with HMAC-SHA1 truncated to 10 bytes.
    Aes128CmSha1_80,
}

/// Which side of the DTLS handshake we were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We sent the ClientHello.
    Client,
    /// We answered it.
    Server,
}

impl Profile {
    /// Length of master and session encryption key in bytes.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::Aes128CmSha1_80 => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    /// Length of master and session salt in bytes.
    #[must_use]
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
            Self::Aes128CmSha1_80 => 14,
        }
    }

    /// Bytes to export from DTLS: two keys and two salts.
    ///
    /// Source: RFC 5764 §4.2.
    #[must_use]
    pub const fn keying_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }

    /// Bytes by which sealing lengthens an RTP packet.
    #[must_use]
    pub const fn rtp_overhead(self) -> usize {
        self.tag_len()
    }

    /// Bytes by which sealing lengthens an RTCP packet: tag and the word with the index.
    #[must_use]
    pub const fn rtcp_overhead(self) -> usize {
        self.tag_len() + 4
    }

    /// Length of the authentication tag in bytes.
    pub(crate) const fn tag_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
            Self::Aes128CmSha1_80 => 10,
        }
    }
}
