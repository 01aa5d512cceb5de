//! An issuer of JSON Web Tokens with keys of all kinds.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaPublicKeyComponents};
use base64ct::{Base64, Encoding};
use serde_json::{Value, json};

use crate::token::encode;

/// A private key and the algorithm it is used with.
pub(crate) struct Signer {
    algorithm: &'static str,
    key: Private,
}

enum Private {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// Every algorithm with a key pair.
pub(crate) const ALGORITHMS: &[&str] = &[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
    "Ed25519",
];

impl Signer {
    pub(crate) fn new(algorithm: &'static str) -> Self {
        let ec = |parameters| Private::Ec(EcdsaKeyPair::generate(parameters).expect("a key"));
        let key = match algorithm {
            "ES256" => ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            "ES512" => ec(&signature::ECDSA_P521_SHA512_FIXED_SIGNING),
            "EdDSA" | "Ed25519" => Private::Ed(Ed25519KeyPair::generate().expect("a key")),
            _ => Private::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")),
        };
        Signer { algorithm, key }
    }

    /// Signs with its algorithm and says so.
    pub(crate) fn sign(&self, kid: Option<&str>, claims: &str) -> String {
        let mut header = json!({"alg": self.algorithm, "typ": "JWT"});
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        self.sign_as(&header.to_string(), claims)
    }

    /// Signs with its algorithm, whatever the header says.
    pub(crate) fn sign_as(&self, header: &str, claims: &str) -> String {
        let signed = format!(
            "{}.{}",
            encode(header.as_bytes()),
            encode(claims.as_bytes())
        );
        let random = SystemRandom::new();
        let signature = match &self.key {
            Private::Rsa(key) => {
                let padding: &dyn signature::RsaEncoding = match self.algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(padding, &random, signed.as_bytes(), &mut signature)
                    .expect("a signature");
                signature
            }
            Private::Ec(key) => {
                let signature = key.sign(&random, signed.as_bytes());
                signature.expect("a signature").as_ref().to_vec()
            }
            Private::Ed(key) => key.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        format!("{signed}.{}", encode(&signature))
    }

    /// The public key as JSON Web Key.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        match &self.key {
            Private::Rsa(key) => {
                let parts: RsaPublicKeyComponents<Vec<u8>> = components(key.public_key().as_ref());
                json!({"kty": "RSA", "kid": kid, "n": encode(&parts.n), "e": encode(&parts.e)})
            }
            Private::Ec(key) => {
                let point = key.public_key().as_ref();
                let (x, y) = point[1..].split_at(point.len() / 2);
                let curve = match self.algorithm {
                    "ES256" => "P-256",
                    "ES384" => "P-384",
                    _ => "P-521",
                };
                json!({"kty": "EC", "kid": kid, "crv": curve, "x": encode(x), "y": encode(y)})
            }
            Private::Ed(key) => {
                let x = encode(key.public_key().as_ref());
                json!({"kty": "OKP", "kid": kid, "crv": "Ed25519", "x": x})
            }
        }
    }

    /// The public key in PEM.
    pub(crate) fn pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = match &self.key {
            Private::Rsa(key) => key.public_key().as_der(),
            Private::Ec(key) => key.public_key().as_der(),
            Private::Ed(key) => key.public_key().as_der(),
        }
        .expect("an encoding");
        pem("PUBLIC KEY", der.as_ref())
    }
}

/// RFC 7468 §2.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let mut text = vec![0; der.len() * 2];
    let text = Base64::encode(der, &mut text).expect("enough room");
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| str::from_utf8(line).expect("ASCII"))
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// A JSON Web Key Set.
pub(crate) fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// Modulus and exponent out of an `RSAPublicKey` (RFC 8017 §A.1.1): a sequence of two integers.
fn components(der: &[u8]) -> RsaPublicKeyComponents<Vec<u8>> {
    let (sequence, _) = element(der);
    let (n, rest) = element(sequence);
    let (e, _) = element(rest);
    let positive = |bytes: &[u8]| bytes.strip_prefix(&[0]).unwrap_or(bytes).to_vec();
    RsaPublicKeyComponents {
        n: positive(n),
        e: positive(e),
    }
}

/// The content of the first element, and what follows it.
fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let (size, start) = match der[1] {
        0x81 => (usize::from(der[2]), 3),
        0x82 => (usize::from(der[2]) << 8 | usize::from(der[3]), 4),
        short => (usize::from(short), 2),
    };
    (&der[start..start + size], &der[start + size..])
}
