//! Session keys from a master key.

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

use crate::key::{KeyError, MasterKey};

/// What a derived value is for.
///
/// Source: RFC 3711 §4.3.1 (SRTP), §4.3.2 (SRTCP).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    RtpKey = 0,
    RtpAuth = 1,
    RtpSalt = 2,
    RtcpKey = 3,
    RtcpAuth = 4,
    RtcpSalt = 5,
}

/// Fills `out` with what the label stands for; the key derivation rate is zero.
///
/// The GCM profiles use the same function with a salt padded by zeros on its right, and AES-256
/// in place of AES-128 for the longer key.
///
/// Source: RFC 3711 §4.3.1, §4.3.3; RFC 6188 §3 (AES-256); RFC 7714 §11 (GCM).
pub(crate) fn derive(master: &MasterKey, label: Label, out: &mut [u8]) -> Result<(), KeyError> {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(&master.padded_salt());
    // The label stands in front of six bytes of "index DIV kdr", which are zero.
    iv[7] ^= label as u8;
    out.fill(0);
    let cipher = counter_mode(master.key())?;
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    cipher
        .less_safe_encrypt(out, context)
        .map_err(|_| KeyError::Refused)?;
    Ok(())
}

/// AES in counter mode for a 16- or 32-byte key.
pub(crate) fn counter_mode(key: &[u8]) -> Result<EncryptingKey, KeyError> {
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    let unbound = UnboundCipherKey::new(algorithm, key).map_err(|_| KeyError::Refused)?;
    EncryptingKey::ctr(unbound).map_err(|_| KeyError::Refused)
}
