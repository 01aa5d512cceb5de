//! A simulated network: virtual clock, seeded links, scripted WebRTC peers.
