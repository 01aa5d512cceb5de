//! SRTP and SRTCP: key derivation, seal and open.
