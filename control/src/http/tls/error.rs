use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a certificate cannot be used. Nothing of a key is ever in the text.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    Read(PathBuf, io::Error),
    /// A file has not what it should have; the text goes on after the file's name.
    Content(PathBuf, &'static str),
    /// The key is that of another certificate.
    Mismatch {
        /// The file with the certificate chain.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
    /// The TLS library's word.
    Refused(rustls::Error),
    /// No certificate could be made.
    Make(rcgen::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Read(path, source) => {
                write!(f, "{} cannot be read: {source}", path.display())
            }
            TlsError::Content(path, what) => write!(f, "{} {what}", path.display()),
            TlsError::Mismatch { certificate, key } => write!(
                f,
                "{} is not the key of the first certificate in {}",
                key.display(),
                certificate.display()
            ),
            TlsError::Refused(source) => write!(f, "TLS cannot be set up: {source}"),
            TlsError::Make(source) => write!(f, "no certificate could be made: {source}"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TlsError::Read(_, source) => Some(source),
            TlsError::Refused(source) => Some(source),
            TlsError::Make(source) => Some(source),
            TlsError::Content(..) | TlsError::Mismatch { .. } => None,
        }
    }
}

impl From<rustls::Error> for TlsError {
    fn from(source: rustls::Error) -> Self {
        TlsError::Refused(source)
    }
}

impl From<rcgen::Error> for TlsError {
    fn from(source: rcgen::Error) -> Self {
        TlsError::Make(source)
    }
}
