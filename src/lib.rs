//! Whitewater: a WebRTC SFU.
