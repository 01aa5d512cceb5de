//! Keys that signatures of JSON Web Tokens are checked with, and how they are written: as JSON Web
//! Keys (RFC 7517, RFC 7518 §6, RFC 8037) and in PEM (RFC 7468).
//!
//! What a key is fixes the algorithms it can be used with (RFC 8725 §3.1): a public key never
//! becomes the secret of an HMAC, and there is no key for "none".

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents, VerificationAlgorithm};
use aws_lc_rs::{digest, hmac};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

use super::base64;

/// A key and all it may be used for.
pub(super) struct Key {
    /// How tokens call it; `None`: they need not.
    id: Option<String>,
    /// Names what the key is made of, whatever it is called.
    pub(super) print: [u8; 32],
    checks: Vec<(&'static str, Check)>,
}

enum Check {
    Hmac(Box<hmac::Key>),
    Signature(ParsedPublicKey),
}

/// Why a key is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unusable(pub(super) &'static str);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What a text of keys holds.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) usable: Vec<Key>,
    /// Why others in it are not.
    pub(super) unusable: Vec<Unusable>,
}

impl Key {
    /// A secret, for HMACs only (RFC 7518 §3.2).
    pub(super) fn secret(secret: &str) -> Self {
        let check = |algorithm| Check::Hmac(Box::new(hmac::Key::new(algorithm, secret.as_bytes())));
        Key {
            id: None,
            print: fingerprint("secret", secret.as_bytes()),
            checks: vec![
                ("HS256", check(hmac::HMAC_SHA256)),
                ("HS384", check(hmac::HMAC_SHA384)),
                ("HS512", check(hmac::HMAC_SHA512)),
            ],
        }
    }

    /// How tokens call it, and what it is made of.
    pub(super) fn name(&self) -> (Option<&str>, [u8; 32]) {
        (self.id.as_deref(), self.print)
    }

    /// Whether this is its name.
    pub(super) fn has_id(&self, id: &str) -> bool {
        self.id.as_deref() == Some(id)
    }

    /// Whether a token that names its key so can mean this one.
    pub(super) fn is_called(&self, id: Option<&str>) -> bool {
        match (&self.id, id) {
            (Some(own), Some(asked)) => own == asked,
            _ => true,
        }
    }

    /// Whether `signature` is this key's under this algorithm. False for each algorithm that is
    /// not the key's.
    pub(super) fn verifies(&self, algorithm: &str, signed: &[u8], signature: &[u8]) -> bool {
        let mut checks = self.checks.iter();
        let Some((_, check)) = checks.find(|(name, _)| *name == algorithm) else {
            return false;
        };
        match check {
            Check::Hmac(key) => hmac::verify(key, signed, signature).is_ok(),
            Check::Signature(key) => key.verify_sig(signed, signature).is_ok(),
        }
    }

    /// A public key of this kind; `only` is the one algorithm it is for, if it says so.
    fn public(
        kind: Kind,
        bytes: &[u8],
        id: Option<String>,
        only: Option<&str>,
    ) -> Result<Self, Unusable> {
        let wanted = |name: &str| only.is_none_or(|only| only == name);
        let mut print = None;
        let mut checks = Vec::new();
        for (name, algorithm) in kind.iter().filter(|(name, _)| wanted(name)) {
            let key = ParsedPublicKey::new(*algorithm, bytes).map_err(|_| BROKEN)?;
            // The same for every way to write the key.
            let der = key.as_der().map_err(|_| BROKEN)?;
            print = Some(fingerprint("public", der.as_ref()));
            checks.push((*name, Check::Signature(key)));
        }
        let print = print.ok_or(Unusable("its alg is none of its kind's"))?;
        Ok(Key { id, print, checks })
    }
}

impl Keys {
    /// Reads a JSON Web Key Set, or public keys in PEM.
    ///
    /// Keys of kinds that are not known are left out, as RFC 7517 §5 has it; they are listed as
    /// unusable, and so are weak and broken ones.
    ///
    /// # Errors
    /// When it is neither, has private keys, or more than [`KEYS_MAX`] keys.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Unusable> {
        let start = text.iter().find(|byte| !byte.is_ascii_whitespace());
        let found = if start == Some(&b'{') {
            read_set(text)?
        } else {
            read_pem(text)?
        };
        if found.len() > KEYS_MAX {
            return Err(Unusable("it has more than 32 keys"));
        }
        let mut keys = Keys::default();
        for key in found {
            match key {
                Ok(key) => keys.usable.push(key),
                Err(why) => keys.unusable.push(why),
            }
        }
        Ok(keys)
    }
}

impl Keys {
    /// # Errors
    /// When there are keys, and none of them is usable. No keys at all are fine.
    pub(super) fn check(&self) -> Result<(), String> {
        match (self.usable.first(), self.unusable.first()) {
            (None, Some(why)) => Err(format!("no key can be used; of the first: {why}")),
            _ => Ok(()),
        }
    }
}

/// A kind of public key: the algorithms it is used with.
type Kind = &'static [(&'static str, &'static dyn VerificationAlgorithm)];

const RSA: Kind = &[
    ("RS256", &signature::RSA_PKCS1_2048_8192_SHA256),
    ("RS384", &signature::RSA_PKCS1_2048_8192_SHA384),
    ("RS512", &signature::RSA_PKCS1_2048_8192_SHA512),
    ("PS256", &signature::RSA_PSS_2048_8192_SHA256),
    ("PS384", &signature::RSA_PSS_2048_8192_SHA384),
    ("PS512", &signature::RSA_PSS_2048_8192_SHA512),
];
const P256: Kind = &[("ES256", &signature::ECDSA_P256_SHA256_FIXED)];
const P384: Kind = &[("ES384", &signature::ECDSA_P384_SHA384_FIXED)];
const P521: Kind = &[("ES512", &signature::ECDSA_P521_SHA512_FIXED)];
// RFC 8037 §3.1 calls it EdDSA, RFC 9864 §2.2 by the curve.
const ED25519: Kind = &[
    ("EdDSA", &signature::ED25519),
    ("Ed25519", &signature::ED25519),
];

/// RFC 7517 §5: other members mean nothing to us.
#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<serde_json::Value>,
}

/// RFC 7517 §4, RFC 7518 §6.2 and §6.3, RFC 8037 §2.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<serde::de::IgnoredAny>,
}

fn read_set(text: &[u8]) -> Result<Vec<Result<Key, Unusable>>, Unusable> {
    let set: JwkSet =
        serde_json::from_slice(text).map_err(|_| Unusable("it is no JSON Web Key Set"))?;
    let keys = set.keys.into_iter().map(|key| {
        let key = serde_json::from_value(key).map_err(|_| BROKEN)?;
        read_jwk(key)
    });
    let keys: Vec<_> = keys.collect();
    // Who can read the keys that sign can be anybody.
    if keys.iter().any(|key| matches!(key, Err(PRIVATE))) {
        return Err(PRIVATE);
    }
    Ok(keys)
}

fn read_jwk(key: Jwk) -> Result<Key, Unusable> {
    if key.d.is_some() {
        return Err(PRIVATE);
    }
    let ops = key.key_ops.as_deref();
    if key.r#use.as_deref().is_some_and(|used| used != "sig")
        || ops.is_some_and(|ops| !ops.iter().any(|op| op == "verify"))
    {
        return Err(Unusable("it is not for signatures"));
    }
    let part = |text: &Option<String>| {
        let text = text.as_deref().ok_or(BROKEN)?;
        base64(text).ok_or(BROKEN)
    };
    let (kind, bytes) = match (key.kty.as_str(), key.crv.as_deref()) {
        ("RSA", _) => (RSA, rsa(&part(&key.n)?, &part(&key.e)?)?),
        ("EC", Some("P-256")) => (P256, point(&part(&key.x)?, &part(&key.y)?, 32)?),
        ("EC", Some("P-384")) => (P384, point(&part(&key.x)?, &part(&key.y)?, 48)?),
        ("EC", Some("P-521")) => (P521, point(&part(&key.x)?, &part(&key.y)?, 66)?),
        ("OKP", Some("Ed25519")) => {
            let x = part(&key.x)?;
            if x.len() != 32 {
                return Err(BROKEN);
            }
            (ED25519, x)
        }
        ("oct", _) => return Err(Unusable("it is a secret: auth.secret takes one")),
        _ => return Err(Unusable("its kty or crv is not known")),
    };
    Key::public(kind, &bytes, key.kid, key.alg.as_deref())
}

/// The `SubjectPublicKeyInfo` of an RSA key that is strong enough.
fn rsa(n: &[u8], e: &[u8]) -> Result<Vec<u8>, Unusable> {
    // Some write the sign's zero as well.
    let n = n.strip_prefix(&[0]).unwrap_or(n);
    let components = RsaPublicKeyComponents { n, e };
    let der = components.as_der().map_err(|_| BROKEN)?;
    check_rsa(der.as_ref())?;
    Ok(der.as_ref().to_vec())
}

/// RFC 7518 §3.3, §3.5: 2048 bits or more.
fn check_rsa(der: &[u8]) -> Result<(), Unusable> {
    let key = PublicEncryptingKey::from_der(der).map_err(|_| WEAK)?;
    if (2048..=8192).contains(&key.key_size_bits()) {
        Ok(())
    } else {
        Err(WEAK)
    }
}

/// SEC 1 §2.3.3: the uncompressed form. RFC 7518 §6.2.1.2: all octets of each coordinate.
fn point(x: &[u8], y: &[u8], size: usize) -> Result<Vec<u8>, Unusable> {
    if x.len() != size || y.len() != size {
        return Err(BROKEN);
    }
    Ok([&[4], x, y].concat())
}

fn read_pem(text: &[u8]) -> Result<Vec<Result<Key, Unusable>>, Unusable> {
    let text = str::from_utf8(text).map_err(|_| NOTHING)?;
    if text.contains("PRIVATE KEY-----") {
        return Err(PRIVATE);
    }
    let sections = SubjectPublicKeyInfoDer::pem_slice_iter(text.as_bytes());
    let keys: Vec<_> = sections
        .map(|section| match section {
            Ok(der) => read_der(&der),
            Err(_) => Err(BROKEN),
        })
        .collect();
    if keys.is_empty() {
        return Err(NOTHING);
    }
    Ok(keys)
}

fn read_der(der: &[u8]) -> Result<Key, Unusable> {
    // Each refuses what is another kind of key.
    for kind in [P256, P384, P521, ED25519] {
        if let Ok(key) = Key::public(kind, der, None, None) {
            return Ok(key);
        }
    }
    check_rsa(der)?;
    Key::public(RSA, der, None, None)
}

fn fingerprint(kind: &str, bytes: &[u8]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(kind.as_bytes());
    context.update(&[0]);
    context.update(bytes);
    let mut print = [0; 32];
    for (to, from) in print.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    print
}

/// In one file or set. Issuers have two or three; a token that names none is tried with all.
const KEYS_MAX: usize = 32;

const BROKEN: Unusable = Unusable("it is broken");
const WEAK: Unusable = Unusable("it is no RSA key of 2048 to 8192 bits, or of another kind");
const PRIVATE: Unusable = Unusable("it has a private key: give the public one");
const NOTHING: Unusable =
    Unusable("it has neither a JSON Web Key Set nor a PEM \"PUBLIC KEY\" section");

#[cfg(test)]
mod tests;
