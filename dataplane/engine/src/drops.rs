//! Every reason for which a packet goes no further: one counter, one doc line and one metric
//! label each.

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $name:ident => $label:literal,)+) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum DropReason { $($(#[doc = $doc])+ $name,)+ }

        impl DropReason {
            /// All of them, in order of declaration.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$name,)+];

            /// The metric label.
            pub fn label(self) -> &'static str {
                match self { $(DropReason::$name => $label,)+ }
            }
        }
    };
}

drop_reasons! {
    /// Not STUN, DTLS, RTP or RTCP by its first byte (RFC 7983).
    UnknownProtocol => "unknown_protocol",
    /// A STUN message that is malformed or not a binding request.
    StunMalformed => "stun_malformed",
    /// A binding request whose ufrag names no session.
    StunUnknownUfrag => "stun_unknown_ufrag",
    /// A binding request whose MESSAGE-INTEGRITY is wrong.
    StunIntegrity => "stun_integrity",
    /// DTLS, RTP or RTCP from an address no ICE check has verified.
    UnverifiedSource => "unverified_source",
    /// RTP of a source that no authentic packet has named, or RTCP of a viewer that is forged or
    /// replayed.
    Unauthentic => "unauthentic",
    /// RTP of a source that says it is of a simulcast layer that was not agreed.
    UnknownLayer => "unknown_layer",
    /// A packet of a layer above the one that a viewer is sent of a scalable stream, or of a picture that
    /// nothing builds on, of what a viewer catches up with.
    AboveLayer => "above_layer",
    /// A packet the WebRTC engine could not take in.
    Malformed => "malformed",
    /// Media for a stream that has another publisher by now.
    StaleEpoch => "stale_epoch",
    /// More packets of one stream in one turn than the cap.
    TurnOverflow => "turn_overflow",
    /// A payload type the viewer did not negotiate.
    NoPayloadType => "no_payload_type",
    /// Video held back until a key frame starts.
    AwaitingKeyframe => "awaiting_keyframe",
    /// A packet from before the viewer's switch point, or a second copy.
    TooLate => "too_late",
    /// The viewer or the publisher muted this kind of media.
    Muted => "muted",
    /// Video for a viewer whose path carries less than its stream, up to the next key frame.
    PathFull => "path_full",
    /// A packet that could not be sealed for its viewer.
    SealRefused => "seal_refused",
    /// RTP from a viewer, which has nothing to send.
    UnexpectedMedia => "unexpected_media",
    /// A message for a data channel that nobody has: of a viewer whose publisher has none of that
    /// label, or of a publisher that left.
    DataUnwanted => "data_unwanted",
    /// A data channel message larger than what its receiver takes.
    DataTooLarge => "data_too_large",
    /// A data channel message that its receiver did not take in time.
    DataLate => "data_late",
    /// A reliable data channel that was closed because its viewer did not take it in time.
    DataChannelBehind => "data_channel_behind",
    /// A data channel, or a packet of one, that breaks the protocol or a limit.
    DataRefused => "data_refused",
    /// A packet a viewer asked for again that is no longer kept or was never sent.
    RetransmissionGone => "retransmission_gone",
    /// A packet a viewer asked for again beyond its allowance, or twice within a round trip.
    RetransmissionRefused => "retransmission_refused",
}

/// One counter a reason.
#[derive(Clone, Debug)]
pub struct Drops([u64; DropReason::ALL.len()]);

impl Default for Drops {
    fn default() -> Self {
        Drops([0; DropReason::ALL.len()])
    }
}

impl Drops {
    /// Counts one packet.
    pub fn count(&mut self, reason: DropReason) {
        self.0[reason as usize] += 1;
    }

    /// Counts several.
    pub fn count_many(&mut self, reason: DropReason, count: usize) {
        self.0[reason as usize] += count as u64;
    }

    /// How often it happened.
    pub fn of(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// Label and count of every reason.
    pub fn labelled(&self) -> Vec<(&'static str, u64)> {
        DropReason::ALL
            .iter()
            .map(|&reason| (reason.label(), self.of(reason)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unique() {
        let mut labels: Vec<_> = DropReason::ALL.iter().map(|r| r.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), DropReason::ALL.len());
    }
}
