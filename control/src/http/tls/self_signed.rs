//! A certificate nobody vouches for, for tests on a local network.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd,
};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

use super::TlsError;

/// Makes one for these names and addresses, with an ECDSA P-256 key that is kept in memory only.
pub(super) fn make(names: &[String]) -> Result<CertifiedKey, TlsError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Whitewater, self-signed");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now = date_time_ymd(1970, 1, 1) + since_1970;
    params.not_before = now - CLOCK_SKEW_MAX;
    params.not_after = now + VALID_FOR;
    let certificate = params.self_signed(&key)?;
    let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(|_| {
        TlsError::Refused(rustls::Error::General("the key was not encoded".to_owned()))
    })?;
    let signing = any_supported_type(&private)?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], signing))
}

/// Clients whose clocks are late.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(24 * 3600);
/// Apple's systems refuse what is valid for more than 825 days.
const VALID_FOR: Duration = Duration::from_secs(800 * 24 * 3600);
