//! Certificate and key from PEM files (RFC 7468).

use std::fs::File;
use std::io::Read;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::TlsError;

/// Tells one content of both files from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content(Vec<u8>);

/// Reads both files and checks that they belong together. The chain begins with the server's
/// certificate; the key is RSA, ECDSA or Ed25519, in PKCS #8, PKCS #1 or SEC 1.
///
/// # Errors
/// Which file is at fault and why.
pub(super) fn read(certificate: &Path, key: &Path) -> Result<(Content, CertifiedKey), TlsError> {
    let (certificate_pem, key_pem) = (read_file(certificate)?, read_file(key)?);
    let chain =
        chain(&certificate_pem).map_err(|what| TlsError::Content(certificate.to_owned(), what))?;
    let private = private_key(&key_pem).map_err(|what| TlsError::Content(key.to_owned(), what))?;
    let signing = any_supported_type(&private)
        .map_err(|_| TlsError::Content(key.to_owned(), "has a key of no supported kind"))?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(Error::InconsistentKeys(_)) => {
            return Err(TlsError::Mismatch {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
            });
        }
        Err(_) => {
            let what = "has a first certificate that cannot be read";
            return Err(TlsError::Content(certificate.to_owned(), what));
        }
    }
    Ok((content(&certificate_pem, &key_pem), certified))
}

fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |source| TlsError::Read(path.to_owned(), source);
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(SIZE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > SIZE_MAX {
        return Err(TlsError::Content(
            path.to_owned(),
            "is larger than a certificate chain or a key can be",
        ));
    }
    Ok(bytes)
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err("has no certificate: -----BEGIN CERTIFICATE----- is missing"),
        Err(_) => Err("is broken: not PEM"),
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, &'static str> {
    let text = String::from_utf8_lossy(pem);
    // RFC 5958 §3 and, before it, RFC 1421 §4.6.1.1.
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(
            "has an encrypted key, and there is nobody to ask for its passphrase: decrypt it with \
             `openssl pkey -in KEY -out PLAIN-KEY` and let only the server read it",
        );
    }
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Ok(key),
        Err(rustls::pki_types::pem::Error::NoItemsFound) => {
            Err("has no key: -----BEGIN PRIVATE KEY----- is missing")
        }
        Err(_) => Err("is broken: not PEM"),
    }
}

fn content(certificate: &[u8], key: &[u8]) -> Content {
    let mut both = Context::new(&SHA256);
    for part in [certificate, key] {
        both.update(&(part.len() as u64).to_be_bytes());
        both.update(part);
    }
    Content(both.finish().as_ref().to_vec())
}

/// Of one file; chains are a few kilobytes.
const SIZE_MAX: u64 = 1024 * 1024;
