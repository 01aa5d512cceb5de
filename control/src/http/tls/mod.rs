//! TLS for the listener: which versions and protocols, whose certificate.

mod error;
mod pem;
mod reload;
mod self_signed;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

pub use error::TlsError;

use crate::Tls;

/// A certificate in use, and what keeps it up to date.
pub(super) struct Security {
    pub(super) acceptor: TlsAcceptor,
    /// For files only.
    pub(super) reload: Option<reload::Reload>,
    /// SHA-256 of the first certificate.
    pub(super) fingerprint: String,
}

impl Security {
    /// Reads or makes the certificate; `None` where there is to be no TLS.
    ///
    /// # Errors
    /// Which file is at fault and why.
    pub(super) fn new(tls: &Tls) -> Result<Option<Security>, TlsError> {
        let mut reload = None;
        let (current, fingerprint) = match tls {
            Tls::Off => return Ok(None),
            Tls::Files { certificate, key } => {
                let (content, certified) = pem::read(certificate, key)?;
                let fingerprint = fingerprint(&certified);
                let current = Arc::new(Current::new(certified));
                let files = (certificate.clone(), key.clone());
                reload = Some(reload::Reload::new(files, content, current.clone()));
                (current, fingerprint)
            }
            Tls::SelfSigned { names } => {
                let certified = self_signed::make(names)?;
                let fingerprint = fingerprint(&certified);
                (Arc::new(Current::new(certified)), fingerprint)
            }
        };
        Ok(Some(Security {
            acceptor: TlsAcceptor::from(Arc::new(server_config(current)?)),
            reload,
            fingerprint,
        }))
    }
}

/// Whether this certificate and key can be used; nothing is kept.
///
/// # Errors
/// Which file is at fault and why.
pub fn check(tls: &Tls) -> Result<(), TlsError> {
    match tls {
        Tls::Files { certificate, key } => pem::read(certificate, key).map(drop),
        Tls::Off | Tls::SelfSigned { .. } => Ok(()),
    }
}

/// The certificate every handshake gets, whatever name it asks for.
struct Current(RwLock<Arc<CertifiedKey>>);

impl Current {
    fn new(certified: CertifiedKey) -> Self {
        Current(RwLock::new(Arc::new(certified)))
    }

    fn replace(&self, certified: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(
            self.0
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        )
    }
}

/// rustls asks for it.
impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

/// TLS 1.2 and 1.3 (RFC 9325 §3.1.1), HTTP/2 before HTTP/1.1 (RFC 7301). Clients that come again
/// bring their session along in a ticket, so that nothing is kept for them here; early data, which
/// can be replayed, is not taken.
fn server_config(current: Arc<Current>) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(crypto())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(current);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = provider::Ticketer::new()?;
    Ok(config)
}

fn crypto() -> Arc<CryptoProvider> {
    Arc::new(provider::default_provider())
}

/// As browsers and `openssl x509 -fingerprint -sha256` show it.
fn fingerprint(certified: &CertifiedKey) -> String {
    let leaf = certified.cert.first().map_or(&[][..], |leaf| leaf.as_ref());
    let bytes = digest(&SHA256, leaf);
    let pairs: Vec<String> = bytes.as_ref().iter().map(|b| format!("{b:02X}")).collect();
    pairs.join(":")
}
