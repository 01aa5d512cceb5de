//! RTP headers, RTCP, payload descriptors and munging.
