//! The two cipher constructions behind one face: AES-GCM, and AES-CM with HMAC-SHA1.
//!
//! A transform holds the session keys of one direction and one protocol (SRTP or SRTCP). It knows
//! nothing of replay or of who chooses indices.

use std::fmt;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{EncryptingKey, EncryptionContext};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use zeroize::Zeroize;

use crate::kdf::{self, Label};
use crate::key::{KeyError, MasterKey};
use crate::profile::Profile;

/// Length of the HMAC-SHA1-80 tag in bytes.
const SHA1_80_LEN: usize = 10;

/// Length of a GCM tag in bytes.
const GCM_TAG_LEN: usize = 16;

/// Which protocol a transform serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Srtp,
    Srtcp,
}

/// The library refused to encrypt, or a tag is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;

/// The session keys of one direction and protocol.
pub(crate) struct Transform {
    cipher: Cipher,
    /// Session salt, padded with zeros on its right.
    salt: [u8; 14],
}

enum Cipher {
    Gcm(LessSafeKey),
    /// Behind a pointer: 1.7 kB of key schedule and hash state that GCM sessions, nearly all of
    /// them, should not carry.
    Cm(Box<CmKeys>),
}

struct CmKeys {
    aes: EncryptingKey,
    mac: hmac::Key,
}

/// What a GCM packet authenticates without encrypting.
enum AadBytes<'a> {
    Header(&'a [u8]),
    /// RTCP header and the word with the index (RFC 7714 §9.2).
    Srtcp([u8; 12]),
}

impl AsRef<[u8]> for AadBytes<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Header(header) => header,
            Self::Srtcp(bytes) => bytes,
        }
    }
}

impl Transform {
    /// Derives the session keys of one protocol from a master key.
    pub(crate) fn new(master: &MasterKey, protocol: Protocol) -> Result<Self, KeyError> {
        let (key_label, auth_label, salt_label) = match protocol {
            Protocol::Srtp => (Label::RtpKey, Label::RtpAuth, Label::RtpSalt),
            Protocol::Srtcp => (Label::RtcpKey, Label::RtcpAuth, Label::RtcpSalt),
        };
        let profile = master.profile();
        let (mut key, mut auth, mut salt) = ([0; 32], [0; 20], [0; 14]);
        kdf::derive(master, key_label, &mut key[..profile.key_len()])?;
        kdf::derive(master, auth_label, &mut auth)?;
        kdf::derive(master, salt_label, &mut salt[..profile.salt_len()])?;
        let transform = Self::from_session_keys(profile, &key[..profile.key_len()], &auth, salt);
        key.zeroize();
        auth.zeroize();
        salt.zeroize();
        transform
    }

    pub(crate) fn from_session_keys(
        profile: Profile,
        key: &[u8],
        auth: &[u8; 20],
        salt: [u8; 14],
    ) -> Result<Self, KeyError> {
        let gcm = |algorithm| {
            let unbound = UnboundKey::new(algorithm, key).map_err(|_| KeyError::Refused)?;
            Ok(Cipher::Gcm(LessSafeKey::new(unbound)))
        };
        let cipher = match profile {
            Profile::AeadAes128Gcm => gcm(&AES_128_GCM)?,
            Profile::AeadAes256Gcm => gcm(&AES_256_GCM)?,
            Profile::Aes128CmSha1_80 => Cipher::Cm(Box::new(CmKeys {
                aes: kdf::counter_mode(key)?,
                mac: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, auth),
            })),
        };
        Ok(Self { cipher, salt })
    }

    /// Encrypts an RTP payload into `body` and writes the tag; lengths are the caller's promise.
    #[inline]
    pub(crate) fn seal_rtp(
        &self,
        parts: RtpParts<'_>,
        payload: &[u8],
        body: &mut [u8],
        tag: &mut [u8],
    ) -> Result<(), Refused> {
        match &self.cipher {
            Cipher::Gcm(key) => {
                let nonce = self.gcm_nonce(parts.ssrc, parts.index);
                let aad = Aad::from(AadBytes::Header(parts.header));
                key.seal_out_of_place_scatter(nonce, aad, payload, body, &[], tag)
                    .map_err(|_| Refused)
            }
            Cipher::Cm(keys) => {
                body.copy_from_slice(payload);
                self.apply_counter_mode(&keys.aes, parts.ssrc, parts.index, body)?;
                let full = rtp_mac(&keys.mac, &parts, body);
                tag.copy_from_slice(full.as_ref().get(..SHA1_80_LEN).ok_or(Refused)?);
                Ok(())
            }
        }
    }

    /// Checks the tag of an RTP packet and decrypts its body into `payload`.
    ///
    /// After `Refused` the content of `payload` is unspecified.
    #[inline]
    pub(crate) fn open_rtp(
        &self,
        parts: RtpParts<'_>,
        body: &[u8],
        tag: &[u8],
        payload: &mut [u8],
    ) -> Result<(), Refused> {
        match &self.cipher {
            Cipher::Gcm(key) => {
                let nonce = self.gcm_nonce(parts.ssrc, parts.index);
                let aad = Aad::from(AadBytes::Header(parts.header));
                key.open_separate_gather(nonce, aad, body, tag, payload)
                    .map_err(|_| Refused)
            }
            Cipher::Cm(keys) => {
                verify_truncated(&rtp_mac(&keys.mac, &parts, body), tag)?;
                payload.copy_from_slice(body);
                self.apply_counter_mode(&keys.aes, parts.ssrc, parts.index, payload)
            }
        }
    }

    /// Encrypts an RTCP compound into `out` and returns the length written.
    ///
    /// `out` must hold the compound and [`Profile::rtcp_overhead`] bytes more. `index` is below
    /// 2³¹.
    pub(crate) fn seal_rtcp(
        &self,
        compound: &[u8],
        ssrc: u32,
        index: u32,
        out: &mut [u8],
    ) -> Result<usize, Refused> {
        let word = (ENCRYPTED_FLAG | index).to_be_bytes();
        let (header, plaintext) = compound.split_at_checked(RTCP_CLEAR_LEN).ok_or(Refused)?;
        let tag_len = self.tag_len();
        let sealed = out
            .get_mut(..compound.len() + tag_len + word.len())
            .ok_or(Refused)?;
        let sealed_len = sealed.len();
        let (clear, rest) = sealed.split_at_mut_checked(RTCP_CLEAR_LEN).ok_or(Refused)?;
        clear.copy_from_slice(header);
        let (body, trailer) = rest.split_at_mut_checked(plaintext.len()).ok_or(Refused)?;
        match &self.cipher {
            Cipher::Gcm(key) => {
                // RFC 7714 §9.2: the tag ends the ciphertext, the index word follows in the clear.
                let (tag, trailing_word) = trailer.split_at_mut_checked(tag_len).ok_or(Refused)?;
                trailing_word.copy_from_slice(&word);
                let nonce = self.gcm_nonce(ssrc, index.into());
                let aad = Aad::from(srtcp_aad(header, word)?);
                key.seal_out_of_place_scatter(nonce, aad, plaintext, body, &[], tag)
                    .map_err(|_| Refused)?;
            }
            Cipher::Cm(keys) => {
                // RFC 3711 §3.4: the index word comes before the tag and is authenticated.
                let (word_out, tag) = trailer.split_at_mut_checked(word.len()).ok_or(Refused)?;
                word_out.copy_from_slice(&word);
                body.copy_from_slice(plaintext);
                self.apply_counter_mode(&keys.aes, ssrc, index.into(), body)?;
                let full = rtcp_mac(&keys.mac, header, body, word);
                tag.copy_from_slice(full.as_ref().get(..SHA1_80_LEN).ok_or(Refused)?);
            }
        }
        Ok(sealed_len)
    }

    /// Checks the tag of an SRTCP packet and decrypts its body into `plaintext`.
    ///
    /// After `Refused` the content of `plaintext` is unspecified.
    pub(crate) fn open_rtcp(
        &self,
        parts: &SrtcpParts<'_>,
        plaintext: &mut [u8],
    ) -> Result<(), Refused> {
        let (ssrc, index) = (parts.ssrc, u64::from(parts.index));
        match &self.cipher {
            Cipher::Gcm(key) => {
                let nonce = self.gcm_nonce(ssrc, index);
                let aad = Aad::from(srtcp_aad(parts.header, parts.word)?);
                key.open_separate_gather(nonce, aad, parts.body, parts.tag, plaintext)
                    .map_err(|_| Refused)
            }
            Cipher::Cm(keys) => {
                let full = rtcp_mac(&keys.mac, parts.header, parts.body, parts.word);
                verify_truncated(&full, parts.tag)?;
                plaintext.copy_from_slice(parts.body);
                self.apply_counter_mode(&keys.aes, ssrc, index, plaintext)
            }
        }
    }

    /// Cuts a received SRTCP packet into its parts; `None` when it is too short for them.
    pub(crate) fn split_rtcp<'a>(&self, packet: &'a [u8]) -> Option<SrtcpParts<'a>> {
        let (header, rest) = packet.split_at_checked(RTCP_CLEAR_LEN)?;
        let body_len = rest.len().checked_sub(self.tag_len() + 4)?;
        let (body, trailer) = rest.split_at_checked(body_len)?;
        let (tag, word): (&[u8], [u8; 4]) = match self.cipher {
            Cipher::Gcm(_) => {
                let (tag, word) = trailer.split_at_checked(GCM_TAG_LEN)?;
                (tag, word.try_into().ok()?)
            }
            Cipher::Cm(_) => {
                let (word, tag) = trailer.split_at_checked(4)?;
                (tag, word.try_into().ok()?)
            }
        };
        let flags = u32::from_be_bytes(word);
        Some(SrtcpParts {
            header,
            body,
            tag,
            word,
            ssrc: u32::from_be_bytes(header.get(4..8)?.try_into().ok()?),
            index: flags & !ENCRYPTED_FLAG,
            is_encrypted: flags & ENCRYPTED_FLAG != 0,
        })
    }

    pub(crate) fn tag_len(&self) -> usize {
        match self.cipher {
            Cipher::Gcm(_) => GCM_TAG_LEN,
            Cipher::Cm(_) => SHA1_80_LEN,
        }
    }

    /// 00 00 | SSRC | 48-bit index, XORed with the salt.
    ///
    /// The SRTCP index is 31 bits long and leaves the two bytes in front of it zero.
    ///
    /// Source: RFC 7714 §8.1, §9.1.
    fn gcm_nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let mut iv = [0; 12];
        iv[2..6].copy_from_slice(&ssrc.to_be_bytes());
        iv[6..12].copy_from_slice(&index.to_be_bytes()[2..]);
        for (byte, salt) in iv.iter_mut().zip(self.salt) {
            *byte ^= salt;
        }
        Nonce::assume_unique_for_key(iv)
    }

    /// En- or decrypts `bytes` in place.
    ///
    /// Source: RFC 3711 §4.1.1: IV = salt · 2¹⁶ ⊕ SSRC · 2⁶⁴ ⊕ index · 2¹⁶.
    fn apply_counter_mode(
        &self,
        aes: &EncryptingKey,
        ssrc: u32,
        index: u64,
        bytes: &mut [u8],
    ) -> Result<(), Refused> {
        let mut iv = [0; 16];
        iv[4..8].copy_from_slice(&ssrc.to_be_bytes());
        iv[8..14].copy_from_slice(&index.to_be_bytes()[2..]);
        for (byte, salt) in iv.iter_mut().zip(self.salt) {
            *byte ^= salt;
        }
        let context = EncryptionContext::Iv128(FixedLength::from(iv));
        aes.less_safe_encrypt(bytes, context).map_err(|_| Refused)?;
        Ok(())
    }
}

impl Drop for Transform {
    fn drop(&mut self) {
        // The keys are wiped by the library that holds them.
        self.salt.zeroize();
    }
}

impl fmt::Debug for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transform").finish_non_exhaustive()
    }
}

/// What identifies an RTP packet to the cipher.
#[derive(Clone, Copy)]
pub(crate) struct RtpParts<'a> {
    pub(crate) header: &'a [u8],
    pub(crate) ssrc: u32,
    /// Rollover counter and sequence number, 48 bits.
    pub(crate) index: u64,
}

/// A received SRTCP packet cut up.
pub(crate) struct SrtcpParts<'a> {
    pub(crate) header: &'a [u8],
    pub(crate) body: &'a [u8],
    pub(crate) tag: &'a [u8],
    pub(crate) word: [u8; 4],
    pub(crate) ssrc: u32,
    pub(crate) index: u32,
    pub(crate) is_encrypted: bool,
}

/// Length of the part of an RTCP compound that stays in the clear: first header and SSRC.
pub(crate) const RTCP_CLEAR_LEN: usize = 8;

/// The E bit in front of the SRTCP index.
const ENCRYPTED_FLAG: u32 = 0x8000_0000;

fn srtcp_aad(header: &[u8], word: [u8; 4]) -> Result<AadBytes<'static>, Refused> {
    let mut aad = [0; 12];
    let (head, tail) = aad.split_at_mut(RTCP_CLEAR_LEN);
    head.copy_from_slice(header.get(..RTCP_CLEAR_LEN).ok_or(Refused)?);
    tail.copy_from_slice(&word);
    Ok(AadBytes::Srtcp(aad))
}

/// RFC 3711 §4.2: the MAC covers header, ciphertext and the rollover counter.
fn rtp_mac(mac: &hmac::Key, parts: &RtpParts<'_>, body: &[u8]) -> hmac::Tag {
    let rollover_counter = (parts.index >> 16) as u32;
    let mut context = hmac::Context::with_key(mac);
    context.update(parts.header);
    context.update(body);
    context.update(&rollover_counter.to_be_bytes());
    context.sign()
}

/// RFC 3711 §3.4: the MAC covers header, ciphertext and the index word.
fn rtcp_mac(mac: &hmac::Key, header: &[u8], body: &[u8], word: [u8; 4]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(mac);
    context.update(header);
    context.update(body);
    context.update(&word);
    context.sign()
}

fn verify_truncated(full: &hmac::Tag, tag: &[u8]) -> Result<(), Refused> {
    let expected = full.as_ref().get(..SHA1_80_LEN).ok_or(Refused)?;
    verify_slices_are_equal(expected, tag).map_err(|_| Refused)
}
