//! The rules of WHIP and WHEP, applied to a parsed offer.

use std::borrow::Cow;

use crate::capabilities::{Capabilities, Role};
use crate::codec::MediaKind;
use crate::error::Unsupported;
use crate::extension::Extension;
use crate::lanes::LanePlan;
use crate::negotiate;
use crate::offer::Offer;
use crate::plan::{
    ApplicationPlan, Direction, DtlsRole, ExtensionPlan, HashFunction, Plan, RejectedSection,
    RemoteIce, RidPlan, SectionPlan, SimulcastLayer, SsrcPlan, TrackPlan,
};
use crate::section::{OfferedDirection, Section, Setup};

/// Applies the rules of WHIP or WHEP to an offer.
///
/// A publisher's offer is accepted as a whole or not at all (RFC 9725 §4.4.3); a viewer's offer is
/// accepted as long as one of its sections can carry media, the others are rejected one by one.
///
/// # Errors
/// [`Unsupported`] names the section and the reason. Its `nothing_in_common` tells a viewer's offer
/// that breaks no rule but shares no codec with us.
///
/// Source: RFC 9725 §4.4, draft-ietf-wish-whep §4.6, RFC 9429 §5.3.1, RFC 9143 §7.3.
pub fn judge(offer: &Offer, role: Role, capabilities: &Capabilities) -> Result<Plan, Unsupported> {
    judge_from(offer, role, capabilities, Origin::Offer)
}

/// Whether the text was an offer to us or the answer to an offer of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Offer,
    Answer,
}

/// As [`judge`], for a text of either origin.
pub(crate) fn judge_from(
    offer: &Offer,
    role: Role,
    capabilities: &Capabilities,
    origin: Origin,
) -> Result<Plan, Unsupported> {
    check_directions(offer, role)?;
    check_bundle(offer)?;
    let mut sections = match role {
        Role::Publish => publish_sections(offer, capabilities)?,
        Role::Subscribe => subscribe_sections(offer, capabilities)?,
    };
    check_payload_types(offer, &sections)?;
    settle_extensions(&mut sections);

    let bundle = accepted_bundle(offer, &sections);
    let transport = bundle
        .first()
        .and_then(|mid| offer.section_of(mid))
        .or_else(|| first_accepted(offer, &sections))
        .ok_or_else(|| Unsupported::session("no m-section can be accepted"))?;
    let remote_ice = remote_ice(offer, transport)?;
    if remote_ice.lite && capabilities.ice_lite {
        // RFC 8445 §6.1.1: two lite agents would both wait to be checked.
        return Err(Unsupported::session(
            "both sides are ICE-lite, so that nobody would start: use full ICE",
        ));
    }
    let (candidates, end_of_candidates) = candidates(offer, transport);
    let fingerprints = if transport.level.fingerprint_seen {
        &transport.level.fingerprints
    } else if offer.session.fingerprint_seen {
        &offer.session.fingerprints
    } else {
        offer
            .transport_section()
            .map_or(&offer.session.fingerprints, |tagged| {
                &tagged.level.fingerprints
            })
    };
    // RFC 8827 §6.5 and RFC 8122 §5: sha-256 or better; weaker ones may only accompany it.
    if !fingerprints
        .iter()
        .any(|fingerprint| fingerprint.hash != HashFunction::Sha1)
    {
        return Err(Unsupported::new(
            transport.place(),
            "no a=fingerprint uses sha-256, sha-384 or sha-512",
        ));
    }
    Ok(Plan {
        role,
        remote_ice,
        candidates,
        end_of_candidates,
        fingerprints: fingerprints.clone(),
        dtls_role: dtls_role(offer, transport, origin)?,
        bundle,
        extmap_allow_mixed: offer.session.extmap_allow_mixed,
        sections,
    })
}

/// RFC 9725 §4.2 and draft-ietf-wish-whep §4.3.5: publishers send, viewers receive.
fn check_directions(offer: &Offer, role: Role) -> Result<(), Unsupported> {
    for section in &offer.sections {
        if section.kind().is_none() || offer.is_disabled(section) {
            continue;
        }
        let direction = section
            .level
            .direction
            .or(offer.session.direction)
            .unwrap_or(OfferedDirection::SendRecv);
        let allowed = match role {
            Role::Publish => OfferedDirection::SendOnly,
            Role::Subscribe => OfferedDirection::RecvOnly,
        };
        if direction != allowed && direction != OfferedDirection::SendRecv {
            return Err(Unsupported::new(
                section.place(),
                match role {
                    Role::Publish => "publishing needs sendonly (or sendrecv) in every m-section",
                    Role::Subscribe => "watching needs recvonly (or sendrecv) in every m-section",
                },
            ));
        }
    }
    Ok(())
}

/// RFC 9143 §7.3 and RFC 9725 §4.4.1: there is one transport, so several sections need BUNDLE.
fn check_bundle(offer: &Offer) -> Result<(), Unsupported> {
    let in_use = offer
        .sections
        .iter()
        .filter(|section| !offer.is_disabled(section))
        .count();
    if in_use == 0 {
        return Err(Unsupported::session(
            "every m-line has port 0 and no BUNDLE group, so that there is nothing to accept",
        ));
    }
    if in_use > 1 && offer.bundle.as_ref().is_none_or(Vec::is_empty) {
        return Err(Unsupported::session(
            "several m-sections need a=group:BUNDLE: all media shares one transport",
        ));
    }
    Ok(())
}

fn publish_sections(
    offer: &Offer,
    capabilities: &Capabilities,
) -> Result<Vec<SectionPlan>, Unsupported> {
    let mut seen = Seen::default();
    let mut sections = Vec::with_capacity(offer.sections.len());
    for section in &offer.sections {
        if offer.is_disabled(section) {
            sections.push(rejected(section, "the offer itself turns it down"));
            continue;
        }
        match accept(offer, section, Role::Publish, capabilities, &mut seen) {
            Ok(accepted) => sections.push(accepted),
            // RFC 9725 §4.4.3: no partial answers for publishers.
            Err(refusal) => {
                let words = refusal.words(capabilities);
                return Err(Unsupported::new(section.place(), words));
            }
        }
    }
    if !sections.iter().any(is_media) {
        return Err(Unsupported::session(
            "there is no audio or video m-section to publish with",
        ));
    }
    Ok(sections)
}

fn subscribe_sections(
    offer: &Offer,
    capabilities: &Capabilities,
) -> Result<Vec<SectionPlan>, Unsupported> {
    let mut seen = Seen::default();
    let mut sections = Vec::with_capacity(offer.sections.len());
    let mut first_refusal = None;
    let mut only_codecs = true;
    for section in &offer.sections {
        if offer.is_disabled(section) {
            sections.push(rejected(section, "the offer itself turns it down"));
            continue;
        }
        match accept(offer, section, Role::Subscribe, capabilities, &mut seen) {
            Ok(accepted) => sections.push(accepted),
            Err(refusal) => {
                only_codecs &= refusal.is_about_codecs();
                first_refusal.get_or_insert((section.place(), refusal));
                sections.push(rejected(section, refusal.reason()));
            }
        }
    }
    if sections.iter().any(is_media) {
        return Ok(sections);
    }
    // draft-ietf-wish-whep §4.6.2: at least one track; never an answer that cannot carry media.
    Err(match first_refusal {
        Some((place, refusal)) if only_codecs => {
            Unsupported::nothing_in_common(place, refusal.words(capabilities))
        }
        Some((place, refusal)) => Unsupported::new(place, refusal.words(capabilities)),
        None => Unsupported {
            nothing_in_common: true,
            ..Unsupported::session("there is no audio or video m-section to watch with")
        },
    })
}

/// Which kinds have been accepted so far.
#[derive(Default)]
struct Seen {
    audio: bool,
    video: bool,
    application: bool,
}

/// Why one section cannot be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SectionRefusal {
    Kind,
    Profile,
    OutsideBundle,
    MidTooLong,
    SecondAudio,
    SecondVideo,
    SecondApplication,
    NoDataChannels,
    NoMux,
    NoAudioCodec,
    NoVideoCodec,
}

impl SectionRefusal {
    fn reason(self) -> &'static str {
        match self {
            Self::Kind => "only audio, video and data channels are understood here",
            Self::Profile => {
                "the profile of its m-line is not that of WebRTC: UDP/TLS/RTP/SAVPF, or \
                 UDP/DTLS/SCTP for data channels"
            }
            Self::OutsideBundle => {
                "it is not in the BUNDLE group (a=group:BUNDLE), but all media shares one transport"
            }
            Self::MidTooLong => "its a=mid is too long to be carried in packets",
            Self::SecondAudio => "a stream has one audio track, this is a second one",
            Self::SecondVideo => "a stream has one video track, this is a second one",
            Self::SecondApplication => "one data channel m-section is enough, this is a second one",
            Self::NoDataChannels => "data channels are not supported",
            Self::NoMux => "a=rtcp-mux is needed: RTP and RTCP share one port",
            Self::NoAudioCodec => "none of its audio codecs is supported",
            Self::NoVideoCodec => "none of its video codecs is supported",
        }
    }

    /// The reason, with what would be accepted.
    fn words(self, capabilities: &Capabilities) -> Cow<'static, str> {
        let kind = match self {
            Self::NoAudioCodec => MediaKind::Audio,
            Self::NoVideoCodec => MediaKind::Video,
            Self::MidTooLong => {
                let max = capabilities.mid_size_max;
                return format!("{}: at most {max} characters", self.reason()).into();
            }
            _ => return self.reason().into(),
        };
        let codecs = capabilities.codecs.iter();
        let names: Vec<&str> = codecs
            .filter(|codec| codec.kind() == kind)
            .map(|codec| codec.name())
            .collect();
        format!("{}; these are: {}", self.reason(), names.join(", ")).into()
    }

    fn is_about_codecs(self) -> bool {
        matches!(
            self,
            Self::NoAudioCodec | Self::NoVideoCodec | Self::NoDataChannels
        )
    }
}

fn accept(
    offer: &Offer,
    section: &Section,
    role: Role,
    capabilities: &Capabilities,
    seen: &mut Seen,
) -> Result<SectionPlan, SectionRefusal> {
    if offer.bundle.as_ref().is_some_and(|mids| !mids.is_empty()) && !offer.is_bundled(section) {
        return Err(SectionRefusal::OutsideBundle);
    }
    if section
        .mid
        .as_ref()
        .is_some_and(|mid| mid.len() > capabilities.mid_size_max)
    {
        return Err(SectionRefusal::MidTooLong);
    }
    match section.kind() {
        Some(kind) => {
            let track = accept_media(offer, section, kind, role, capabilities)?;
            let (flag, refusal) = match kind {
                MediaKind::Audio => (&mut seen.audio, SectionRefusal::SecondAudio),
                MediaKind::Video => (&mut seen.video, SectionRefusal::SecondVideo),
            };
            if std::mem::replace(flag, true) {
                return Err(refusal);
            }
            Ok(SectionPlan::Media(track))
        }
        None if section.media == "application" => {
            let application = accept_application(section, capabilities)?;
            if std::mem::replace(&mut seen.application, true) {
                return Err(SectionRefusal::SecondApplication);
            }
            Ok(SectionPlan::Application(application))
        }
        None => Err(SectionRefusal::Kind),
    }
}

fn accept_media(
    offer: &Offer,
    section: &Section,
    kind: MediaKind,
    role: Role,
    capabilities: &Capabilities,
) -> Result<TrackPlan, SectionRefusal> {
    if !section.is_rtp() {
        return Err(SectionRefusal::Profile);
    }
    if !is_multiplexed(offer, section) {
        return Err(SectionRefusal::NoMux);
    }
    let extensions = extensions(section, role, capabilities);
    let codecs = negotiate::codecs(section, kind, role, capabilities);
    if codecs.is_empty() {
        return Err(match kind {
            MediaKind::Audio => SectionRefusal::NoAudioCodec,
            MediaKind::Video => SectionRefusal::NoVideoCodec,
        });
    }
    let (rids, simulcast) = match role {
        Role::Publish if capabilities.simulcast && tells_layers(&extensions) => {
            simulcast(section, &codecs, capabilities)
        }
        _ => (Vec::new(), Vec::new()),
    };
    let sim_ssrcs = match role {
        Role::Publish if capabilities.simulcast && simulcast.is_empty() => sim_ssrcs(section),
        _ => Vec::new(),
    };
    Ok(TrackPlan {
        mid: mid_of(section),
        mid_offered: section.mid.is_some(),
        kind,
        direction: match role {
            Role::Publish => Direction::RecvOnly,
            Role::Subscribe => Direction::SendOnly,
        },
        proto: section.proto.clone(),
        codecs,
        extensions,
        ssrcs: ssrcs(section),
        sim_ssrcs: sim_ssrcs
            .into_iter()
            .take(capabilities.layers_max)
            .collect(),
        rids,
        simulcast,
        lanes: lanes(section, kind, role, capabilities),
        msid: section.msid.clone(),
        extmap_allow_mixed: section.level.extmap_allow_mixed || offer.session.extmap_allow_mixed,
        rtcp_rsize: section.rtcp_rsize,
    })
}

/// RFC 9725 §4.4.1: RTCP is multiplexed. In a bundle-only section the attribute may be left to
/// the section that stands for the transport (RFC 9143 §7.1.2).
fn is_multiplexed(offer: &Offer, section: &Section) -> bool {
    section.level.rtcp_mux
        || offer.session.rtcp_mux
        || ((section.bundle_only || section.port == 0)
            && offer
                .transport_section()
                .is_some_and(|tagged| tagged.level.rtcp_mux || tagged.media == "application"))
}

fn accept_application(
    section: &Section,
    capabilities: &Capabilities,
) -> Result<ApplicationPlan, SectionRefusal> {
    if !capabilities.data_channels {
        return Err(SectionRefusal::NoDataChannels);
    }
    let format = section.formats.first().map(String::as_str);
    let sctp_port = match section.proto.as_str() {
        // RFC 8841 §5: 5000 where nothing is said, as every client has it.
        "UDP/DTLS/SCTP" | "TCP/DTLS/SCTP" if format == Some("webrtc-datachannel") => {
            section.sctp_port.unwrap_or(5000)
        }
        // Before the RFC the port stood in the m-line and was explained by a=sctpmap.
        "DTLS/SCTP" | "UDP/DTLS/SCTP" | "TCP/DTLS/SCTP" => section
            .sctp_port
            .or_else(|| format.and_then(|format| format.parse().ok()))
            .ok_or(SectionRefusal::Profile)?,
        _ => return Err(SectionRefusal::Profile),
    };
    Ok(ApplicationPlan {
        mid: mid_of(section),
        mid_offered: section.mid.is_some(),
        proto: section.proto.clone(),
        format: format.unwrap_or_default().to_owned(),
        sctp_port,
        // RFC 8841 §6.1: 64 K where nothing is said.
        max_message_size: section.max_message_size.unwrap_or(65_536),
    })
}

/// An offer with a single m-line needs no mid; its number serves inside.
fn mid_of(section: &Section) -> String {
    section
        .mid
        .clone()
        .unwrap_or_else(|| section.index.to_string())
}

/// RFC 8285 §5: the answer takes from the offer, ids unchanged, what it understands.
fn extensions(section: &Section, role: Role, capabilities: &Capabilities) -> Vec<ExtensionPlan> {
    let useless = match role {
        Role::Publish => OfferedDirection::RecvOnly,
        Role::Subscribe => OfferedDirection::SendOnly,
    };
    let mut agreed: Vec<ExtensionPlan> = Vec::new();
    for offered in &section.extensions {
        let direction = offered.direction;
        if direction == Some(useless) || direction == Some(OfferedDirection::Inactive) {
            continue;
        }
        if capabilities.extensions.contains(&offered.extension)
            && !agreed
                .iter()
                .any(|known| known.extension == offered.extension)
        {
            agreed.push(ExtensionPlan {
                id: offered.id,
                extension: offered.extension.clone(),
                directed: direction.is_some_and(|d| d != OfferedDirection::SendRecv),
            });
        }
    }
    agreed
}

/// RFC 5576 §4.2: repair SSRCs are found by their group and stand with what they repair.
fn ssrcs(section: &Section) -> Vec<SsrcPlan> {
    section
        .ssrcs
        .iter()
        .filter(|known| {
            !section
                .fid_groups
                .iter()
                .any(|(media, repair)| *repair == known.ssrc && *media != known.ssrc)
        })
        .map(|known| SsrcPlan {
            ssrc: known.ssrc,
            rtx: section
                .fid_groups
                .iter()
                .find(|(media, repair)| *media == known.ssrc && *repair != known.ssrc)
                .map(|(_, repair)| *repair),
            cname: known.cname.clone(),
        })
        .collect()
}

/// RFC 8853 §5.5: which layer a packet is of, and of which section, stands in its header extensions
/// alone.
fn tells_layers(extensions: &[ExtensionPlan]) -> bool {
    let agreed = |wanted| extensions.iter().any(|known| known.extension == wanted);
    agreed(Extension::Mid) && agreed(Extension::Rid)
}

/// The sources of simulcast as it was said before there were rids, each of them announced.
fn sim_ssrcs(section: &Section) -> Vec<u32> {
    let announced = |ssrc: &u32| section.ssrcs.iter().any(|known| known.ssrc == *ssrc);
    let mut ssrcs: Vec<u32> = Vec::new();
    for ssrc in section.sim_group.iter().copied().filter(announced) {
        if !ssrcs.contains(&ssrc) {
            ssrcs.push(ssrc);
        }
    }
    ssrcs
}

/// The layers that another node brings one by one, or that it would take so.
fn lanes(
    section: &Section,
    kind: MediaKind,
    role: Role,
    capabilities: &Capabilities,
) -> Option<Vec<LanePlan>> {
    let lanes = section.lanes.clone().filter(|_| kind == MediaKind::Video)?;
    let fits = |lane: &LanePlan| lane.rid.len() <= capabilities.rid_size_max;
    match role {
        // Which there are is for the sender to say.
        Role::Subscribe => Some(Vec::new()),
        Role::Publish if lanes.len() > capabilities.layers_max => None,
        Role::Publish => lanes.iter().all(fits).then_some(lanes),
    }
}

/// RFC 8853 §5.3.2: streams whose rid cannot be used fall out, the rest is answered.
fn simulcast(
    section: &Section,
    codecs: &[crate::plan::CodecPlan],
    capabilities: &Capabilities,
) -> (Vec<RidPlan>, Vec<SimulcastLayer>) {
    let mut rids: Vec<RidPlan> = Vec::new();
    let mut layers = Vec::new();
    for layer in &section.simulcast_send {
        if layers.len() == capabilities.layers_max {
            break;
        }
        let mut alternatives = Vec::new();
        for (id, paused) in layer {
            let known = section.rids.iter().find(|rid| rid.sends && rid.id == *id);
            let Some(known) = known.filter(|_| !rids.iter().any(|rid| rid.id == *id)) else {
                continue;
            };
            if known.id.len() > capabilities.rid_size_max {
                // Half of a simulcast would be worse than its first stream.
                return (Vec::new(), Vec::new());
            }
            if let Some(restrictions) = negotiate::rid_restrictions(&known.restrictions, codecs) {
                rids.push(RidPlan {
                    id: known.id.clone(),
                    restrictions,
                });
                alternatives.push((known.id.clone(), *paused));
            }
        }
        if !alternatives.is_empty() {
            layers.push(SimulcastLayer { alternatives });
        }
    }
    (rids, layers)
}

/// RFC 9143 §9.1: within a bundle one payload type means one codec with one set of parameters.
fn check_payload_types(offer: &Offer, sections: &[SectionPlan]) -> Result<(), Unsupported> {
    let mut owners: [Option<String>; 128] = [const { None }; 128];
    for (section, offered) in sections.iter().zip(&offer.sections) {
        let SectionPlan::Media(track) = section else {
            continue;
        };
        for codec in &track.codecs {
            let meaning = format!(
                "{:?}/{}/{:?} {}",
                codec.codec, codec.clock_rate, codec.channels, codec.fmtp
            );
            let repair = codec
                .rtx_pt
                .map(|pt| (pt, format!("rtx {} {:?}", codec.pt, track.kind)));
            for (pt, meaning) in std::iter::once((codec.pt, meaning)).chain(repair) {
                let Some(owner) = owners.get_mut(usize::from(pt)) else {
                    continue;
                };
                if owner.as_ref().is_some_and(|known| *known != meaning) {
                    return Err(Unsupported::new(
                        offered.place(),
                        format!("payload type {pt} stands for two different codecs in the bundle"),
                    ));
                }
                *owner = Some(meaning);
            }
        }
    }
    Ok(())
}

/// RFC 9143 §9.2, RFC 8285 §5: within a bundle an id means one extension. The earlier section
/// keeps it, the later one does without. Arrival times are told only of numbered packets.
fn settle_extensions(sections: &mut [SectionPlan]) {
    let mut owners: std::collections::BTreeMap<u8, Extension> = std::collections::BTreeMap::new();
    for section in sections {
        let SectionPlan::Media(track) = section else {
            continue;
        };
        track.extensions.retain(|agreed| {
            owners
                .entry(agreed.id)
                .or_insert_with(|| agreed.extension.clone())
                == &agreed.extension
        });
        if track.extension_id(&Extension::TransportSequence).is_none() {
            for codec in &mut track.codecs {
                codec.feedback.transport_cc = false;
            }
        }
        if !tells_layers(&track.extensions) {
            track.rids.clear();
            track.simulcast.clear();
        }
    }
}

/// The answer's BUNDLE group: the offer's, without what was not accepted (RFC 9143 §7.3.3).
fn accepted_bundle(offer: &Offer, sections: &[SectionPlan]) -> Vec<String> {
    offer
        .bundle
        .iter()
        .flatten()
        .filter(|mid| {
            offer
                .sections
                .iter()
                .zip(sections)
                .any(|(offered, section)| {
                    offered.mid.as_ref() == Some(mid)
                        && !matches!(section, SectionPlan::Rejected(_))
                })
        })
        .cloned()
        .collect()
}

fn first_accepted<'a>(offer: &'a Offer, sections: &[SectionPlan]) -> Option<&'a Section> {
    offer
        .sections
        .iter()
        .zip(sections)
        .find(|(_, section)| !matches!(section, SectionPlan::Rejected(_)))
        .map(|(offered, _)| offered)
}

/// What holds for the transport: said in its own section, at session level, or in the section
/// that the offer put first in its BUNDLE group (RFC 9143 §7.1.3).
fn remote_ice(offer: &Offer, transport: &Section) -> Result<RemoteIce, Unsupported> {
    let (ufrag, pwd) = offer
        .credentials(transport)
        .or_else(|| {
            offer
                .transport_section()
                .and_then(|tagged| offer.credentials(tagged))
        })
        .ok_or_else(|| {
            Unsupported::new(transport.place(), "a=ice-ufrag and a=ice-pwd are missing")
        })?;
    let mut options = offer.session.ice_options.unwrap_or_default();
    options.merge(transport.level.ice_options.unwrap_or_default());
    Ok(RemoteIce {
        ufrag: ufrag.to_owned(),
        pwd: pwd.to_owned(),
        lite: offer.session.ice_lite || transport.level.ice_lite,
        options,
    })
}

/// The candidates of the bundle's transport. Where its section has none, those of sections with
/// the same credentials serve: some clients write them into one section only.
fn candidates(offer: &Offer, transport: &Section) -> (Vec<crate::Candidate>, bool) {
    let credentials = offer.credentials(transport);
    let source = if transport.candidates.is_empty() {
        offer
            .sections
            .iter()
            .find(|section| {
                !section.candidates.is_empty() && offer.credentials(section) == credentials
            })
            .unwrap_or(transport)
    } else {
        transport
    };
    (
        source.candidates.clone(),
        offer.session.end_of_candidates || source.level.end_of_candidates,
    )
}

/// RFC 8842 §5.3: the answerer chooses where the offerer left the choice; we choose to wait.
fn dtls_role(offer: &Offer, transport: &Section, origin: Origin) -> Result<DtlsRole, Unsupported> {
    let setup = transport
        .level
        .setup
        .or(offer.session.setup)
        .or_else(|| {
            offer
                .transport_section()
                .and_then(|section| section.level.setup)
        })
        .unwrap_or(Setup::ActPass);
    match (setup, origin) {
        (Setup::ActPass, Origin::Answer) => Err(Unsupported::new(
            transport.place(),
            "an answer has a=setup:active or a=setup:passive",
        )),
        (Setup::ActPass | Setup::Active, _) => Ok(DtlsRole::Passive),
        (Setup::Passive, _) => Ok(DtlsRole::Active),
        (Setup::HoldConn, _) => Err(Unsupported::new(
            transport.place(),
            "a=setup:holdconn opens no connection",
        )),
    }
}

fn is_media(section: &SectionPlan) -> bool {
    matches!(section, SectionPlan::Media(_))
}

fn rejected(section: &Section, reason: &'static str) -> SectionPlan {
    SectionPlan::Rejected(RejectedSection {
        mid: section.mid.clone(),
        media: section.media.clone(),
        proto: section.proto.clone(),
        format: section.formats.first().cloned().unwrap_or_default(),
        reason,
    })
}
