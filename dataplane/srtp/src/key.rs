//! Master keys and where they come from.

use std::fmt;

use zeroize::Zeroize;

use crate::profile::{Profile, Role};

/// Why keys cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// The bytes given are not as many as the profile needs.
    Length {
        /// How many there are.
        actual: usize,
        /// How many there must be.
        expected: usize,
    },
    /// The cryptographic library refused the key.
    Refused,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { actual, expected } => {
                write!(f, "{actual} bytes of keying material instead of {expected}")
            }
            Self::Refused => write!(f, "the key was refused by the cryptographic library"),
        }
    }
}

impl std::error::Error for KeyError {}

/// A master key with its salt, for one direction of one connection.
///
/// Wiped when dropped; `Debug` shows only the profile.
#[derive(Clone)]
pub struct MasterKey {
    profile: Profile,
    key: [u8; 32],
    /// Shorter salts are followed by zeros, as key derivation wants it.
    salt: [u8; 14],
}

impl MasterKey {
    /// From key and salt bytes of exactly the profile's lengths.
    ///
    /// # Errors
    /// `Length` when either has another length; the figure is that of both together.
    pub fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Result<Self, KeyError> {
        if key.len() != profile.key_len() || salt.len() != profile.salt_len() {
            let expected = profile.key_len() + profile.salt_len();
            return Err(KeyError::Length {
                actual: key.len() + salt.len(),
                expected,
            });
        }
        let mut master = Self {
            profile,
            key: [0; 32],
            salt: [0; 14],
        };
        master.key[..key.len()].copy_from_slice(key);
        master.salt[..salt.len()].copy_from_slice(salt);
        Ok(master)
    }

    /// The profile the key was made for.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key[..self.profile.key_len()]
    }

    pub(crate) fn padded_salt(&self) -> [u8; 14] {
        self.salt
    }
}

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.key.zeroize();
        self.salt.zeroize();
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

/// The master keys of a connection, sorted by who uses them.
#[derive(Debug, Clone)]
pub struct KeyingMaterial {
    /// What we seal with.
    pub local: MasterKey,
    /// What the peer seals with.
    pub remote: MasterKey,
}

impl KeyingMaterial {
    /// Cuts exported bytes into the four keys and salts.
    ///
    /// Shape: `exported` is client key, server key, client salt, server salt. Longer input is cut
    /// off at [`Profile::keying_len`], because some DTLS libraries export for the longest profile.
    ///
    /// # Errors
    /// `Length` when `exported` is too short.
    ///
    /// Source: RFC 5764 §4.2.
    pub fn split(profile: Profile, exported: &[u8], role: Role) -> Result<Self, KeyError> {
        let (key_len, salt_len) = (profile.key_len(), profile.salt_len());
        let short = KeyError::Length {
            actual: exported.len(),
            expected: profile.keying_len(),
        };
        let (keys, salts) = exported
            .get(..profile.keying_len())
            .and_then(|used| used.split_at_checked(2 * key_len))
            .ok_or(short)?;
        let (client_key, server_key) = keys.split_at(key_len);
        let (client_salt, server_salt) = salts.split_at(salt_len);
        let client = MasterKey::new(profile, client_key, client_salt)?;
        let server = MasterKey::new(profile, server_key, server_salt)?;
        Ok(match role {
            Role::Client => Self {
                local: client,
                remote: server,
            },
            Role::Server => Self {
                local: server,
                remote: client,
            },
        })
    }
}
