//! SRTP and SRTCP: key derivation, seal and open.
//!
//! One pass over the payload: a sealer reads the shared plaintext and writes ciphertext into the
//! slice that is sent. Nothing allocates per packet and nothing here reads a clock or chooses
//! packet indices; that none is used twice is seen to by [`SrtpSealer::seal_once`] and
//! [`SrtcpSealer::seal`].
//!
//! ```
//! use whitewater_srtp::{KeyingMaterial, Profile, Role, SrtpOpener, SrtpSealer};
//!
//! let exported = [7; 56]; // from the DTLS exporter
//! let server = KeyingMaterial::split(Profile::AeadAes128Gcm, &exported, Role::Server).unwrap();
//! let client = KeyingMaterial::split(Profile::AeadAes128Gcm, &exported, Role::Client).unwrap();
//! let sealer = SrtpSealer::new(&server.local).unwrap();
//! let mut opener = SrtpOpener::new(&client.remote).unwrap();
//!
//! let header = [0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9];
//! let (mut sealed, mut opened) = ([0; 64], [0; 64]);
//! let len = sealer.seal(&header, b"frame", 9, 1, &mut sealed).unwrap();
//! let len = opener.open(&sealed[..len], &mut opened).unwrap();
//! assert_eq!(&opened[12..len], b"frame");
//! ```

#![forbid(unsafe_code)]

#[cfg(any(test, feature = "__fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod kdf;
mod key;
mod open;
mod profile;
mod replay;
mod seal;
mod transform;

pub use key::{KeyError, KeyingMaterial, MasterKey};
pub use open::{OpenError, SrtcpOpener, SrtpOpener};
pub use profile::{Profile, Role};
pub use seal::{SealError, SrtcpSealer, SrtpSealer, SrtpSource};

#[cfg(test)]
mod tests;
