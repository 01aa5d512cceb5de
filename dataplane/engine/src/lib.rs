//! Sans-IO WebRTC sessions and forwarding for one core.
