//! Every bound on what is read from a peer.

/// How much SDP one peer may make us read.
///
/// Shape: sizes are in bytes, the other fields count elements. A text beyond any of them is
/// [`Malformed`](crate::Malformed).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a whole offer or answer.
    pub text_size_max: usize,
    /// Bytes of a whole trickle fragment.
    pub fragment_size_max: usize,
    /// Bytes of one line, without its end.
    pub line_size_max: usize,
    /// Lines of one text.
    pub line_count_max: usize,
    /// Media sections (m-lines).
    pub section_count_max: usize,
    /// Candidates in the whole text, those that are skipped included.
    pub candidate_count_max: usize,
    /// Payload types in one section.
    pub payload_type_count_max: usize,
    /// Bytes of the format parameters of one payload type, all its lines together.
    pub fmtp_size_max: usize,
    /// Header extensions in one section.
    pub extension_count_max: usize,
    /// Fingerprints at one level.
    pub fingerprint_count_max: usize,
    /// Feedback lines in one section.
    pub feedback_count_max: usize,
    /// Source-specific lines (SSRCs and groups) in one section.
    pub ssrc_count_max: usize,
    /// Restriction ids in one section.
    pub rid_count_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            text_size_max: 256 * 1024,
            fragment_size_max: 64 * 1024,
            line_size_max: 4 * 1024,
            line_count_max: 8 * 1024,
            section_count_max: 32,
            candidate_count_max: 200,
            payload_type_count_max: 128,
            // Parameter sets of H.264 and H.265 take a few hundred.
            fmtp_size_max: 4 * 1024,
            extension_count_max: 64,
            fingerprint_count_max: 16,
            feedback_count_max: 512,
            ssrc_count_max: 64,
            rid_count_max: 16,
        }
    }
}
