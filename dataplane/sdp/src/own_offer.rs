//! Offers of our own, and the answers to them.

use std::collections::BTreeSet;

use crate::answer::Lines;
use crate::capabilities::{Capabilities, Role};
use crate::codec::{Codec, MediaKind};
use crate::error::{Malformed, Refusal, Unsupported};
use crate::extension::Extension;
use crate::judge::{Origin, judge_from};
use crate::limits::Limits;
use crate::local::Local;
use crate::offer::Offer;
use crate::plan::{ApplicationPlan, Direction, ExtensionPlan, Feedback, Plan, TrackPlan};
use crate::section::{OfferedDirection, Section};

/// The tracks of an offer to viewers, made from those of a publisher.
///
/// Shape: the publisher's mids, codecs and payload types, so that packets pass unchanged; what
/// concerns one hop only (feedback, retransmissions, header extensions) is ours: `capabilities`
/// are those for viewers.
///
/// Source: draft-ietf-wish-whep §4.3.2.
#[must_use]
pub fn tracks_for_viewers(published: &[TrackPlan], capabilities: &Capabilities) -> Vec<TrackPlan> {
    let mut tracks = published.to_vec();
    let mut free = free_payload_types(published);
    for track in &mut tracks {
        "UDP/TLS/RTP/SAVPF".clone_into(&mut track.proto);
        track.ssrcs.clear();
        track.sim_ssrcs.clear();
        track.rids.clear();
        track.simulcast.clear();
        track.lanes = None;
        track
            .extensions
            .retain(|agreed| capabilities.extensions.contains(&agreed.extension));
        let is_video = track.kind == MediaKind::Video;
        let transport_cc = track.extension_id(&Extension::TransportSequence).is_some();
        for codec in &mut track.codecs {
            codec.feedback = Feedback {
                nack: is_video,
                nack_pli: is_video,
                ccm_fir: is_video,
                transport_cc,
                goog_remb: is_video,
            };
            if is_video && codec.rtx_pt.is_none() {
                codec.rtx_pt = free.next();
            }
            if codec.codec == Codec::Opus {
                // RFC 7587 §7: always written with two channels, whatever the publisher wrote.
                codec.channels = Some(2);
            }
        }
    }
    add_mid(&mut tracks, capabilities);
    tracks
}

/// RFC 3551 §6, RFC 9143 §9.1: dynamic payload types that mean nothing in the bundle yet.
fn free_payload_types(tracks: &[TrackPlan]) -> impl Iterator<Item = u8> + use<> {
    let codecs = tracks.iter().flat_map(|track| &track.codecs);
    let taken: BTreeSet<u8> = codecs
        .flat_map(|codec| std::iter::once(codec.pt).chain(codec.rtx_pt))
        .collect();
    (96..=127)
        .chain(35..=63)
        .filter(move |pt| !taken.contains(pt))
}

/// RFC 9143 §15: packets of a bundle say which section they belong to.
fn add_mid(tracks: &mut [TrackPlan], capabilities: &Capabilities) {
    if !capabilities.extensions.contains(&Extension::Mid) {
        return;
    }
    let all = || tracks.iter().flat_map(|track| &track.extensions);
    let known = all().find(|agreed| agreed.extension == Extension::Mid);
    let taken: BTreeSet<u8> = all().map(|agreed| agreed.id).collect();
    // RFC 8285 §4.2: the ids of the one-byte form.
    let free = (1..=14).find(|id| !taken.contains(id));
    let Some(id) = known.map(|agreed| agreed.id).or(free) else {
        return;
    };
    for track in tracks {
        if track.extension_id(&Extension::Mid).is_none() {
            track.extensions.push(ExtensionPlan {
                id,
                extension: Extension::Mid,
                directed: false,
            });
        }
    }
}

/// Renders an offer of our own: the counter-offer to a viewer whose offer could not carry the
/// stream, or one to another server.
///
/// Shape: one section per track, all with this direction, in one BUNDLE group; lines end in CR LF.
/// `tracks` are made by [`tracks_for_viewers`] or [`tracks_to_receive`](crate::tracks_to_receive);
/// payload types, extension ids and parameters are taken from them, direction and simulcast are
/// not. `data` is the mid of a last section for data channels. All mids must differ.
///
/// Source: draft-ietf-wish-whep §4.3.2 (406), RFC 9429 §5.2.1 (initial offers), RFC 8841 §5.
#[must_use]
pub fn render_offer(
    tracks: &[TrackPlan],
    direction: Direction,
    data: Option<&str>,
    local: &Local,
) -> String {
    let mut out = Lines::session(local);
    let mids = tracks.iter().map(|track| track.mid.as_str());
    let mids: Vec<&str> = mids.chain(data).collect();
    out.line(format_args!("a=group:BUNDLE {}", mids.join(" ")));
    let allow_mixed = tracks.iter().any(|track| track.extmap_allow_mixed);
    if allow_mixed {
        out.line("a=extmap-allow-mixed");
    }
    out.ice_abilities(local);
    for track in tracks {
        out.media(&offered(track, direction), local);
        // RFC 8842 §5.2: the offerer leaves the choice.
        out.transport(local, "actpass");
    }
    if let Some(mid) = data {
        out.application(&ApplicationPlan::of_ours(mid), local);
        out.transport(local, "actpass");
    }
    out.text
}

/// Judges the answer to an offer rendered from `tracks` and `data`.
///
/// Shape: the plan has what the answer kept, in the answer's order of preference; sections the
/// answer turned down or made inactive are rejected ones.
///
/// # Errors
/// [`Refusal::Malformed`] when it is no SDP or not the answer to that offer,
/// [`Refusal::Unsupported`] when it cannot carry media.
///
/// Source: draft-ietf-wish-whep §4.3.2 and §4.3.5, RFC 9725 §4.2, RFC 3264 §7, RFC 9429 §5.10.
pub fn judge_answer(
    tracks: &[TrackPlan],
    direction: Direction,
    data: Option<&str>,
    text: &str,
    limits: &Limits,
    capabilities: &Capabilities,
) -> Result<Plan, Refusal> {
    let mut answer = Offer::parse(text, limits)?;
    if answer.sections.len() != tracks.len() + usize::from(data.is_some()) {
        // RFC 3264 §6: as many m-lines as in the offer.
        return Err(Malformed::session("it has not as many m-lines as the offer").into());
    }
    let mut inactive = BTreeSet::new();
    for (section, track) in answer.sections.iter_mut().zip(tracks) {
        check_section(section, track, direction)?;
        if section.port != 0 && section.level.direction == Some(OfferedDirection::Inactive) {
            section.port = 0;
            inactive.extend(section.mid.clone());
        }
        keep_what_was_offered(section, &offered(track, direction))?;
    }
    if let (Some(section), Some(mid)) = (answer.sections.get(tracks.len()), data) {
        check_data_section(section, mid)?;
    }
    if let Some(bundle) = &mut answer.bundle {
        bundle.retain(|mid| !inactive.contains(mid));
    }
    let capabilities = &Capabilities {
        data_channels: data.is_some(),
        ..capabilities.clone()
    };
    let role = match direction {
        Direction::SendOnly => Role::Subscribe,
        Direction::RecvOnly => Role::Publish,
    };
    let mut plan = judge_from(&answer, role, capabilities, Origin::Answer)?;
    check_meanings(&plan, tracks)?;
    settle_lanes(&mut plan, tracks);
    Ok(plan)
}

/// Layers have sources of their own where both sides know of that; the sender's are used.
fn settle_lanes(plan: &mut Plan, tracks: &[TrackPlan]) {
    for answered in plan.tracks_mut() {
        let offered = tracks.iter().find(|track| track.mid == answered.mid);
        let ours = offered.and_then(|track| track.lanes.as_ref());
        answered.lanes = match (ours, answered.direction) {
            (Some(ours), Direction::SendOnly) => answered.lanes.take().map(|_| ours.clone()),
            (Some(_), Direction::RecvOnly) => answered.lanes.take(),
            (None, _) => None,
        };
    }
}

/// RFC 3264 §6: the last section is that of the data channels, or is turned down.
fn check_data_section(section: &Section, mid: &str) -> Result<(), Malformed> {
    if section.media != "application" {
        return Err(Malformed::new(
            section.place(),
            "the offer has data channels here",
        ));
    }
    let needs_none = section.mid.is_none() && section.port == 0;
    if section.mid.as_deref() != Some(mid) && !needs_none {
        return Err(Malformed::new(
            section.place(),
            "the offer has another mid here",
        ));
    }
    Ok(())
}

/// RFC 3264 §6.1: a payload type of ours means in the answer what it means in the offer.
fn check_meanings(plan: &Plan, tracks: &[TrackPlan]) -> Result<(), Malformed> {
    for answered in plan.tracks() {
        let offered = tracks.iter().find(|track| track.mid == answered.mid);
        for codec in &answered.codecs {
            let ours = offered.and_then(|track| track.codec(codec.pt));
            if ours.is_none_or(|ours| ours.codec != codec.codec) {
                return Err(Malformed::session(format!(
                    "payload type {} stands for another codec than in the offer",
                    codec.pt
                )));
            }
        }
    }
    Ok(())
}

/// A track as it stands in our offer.
fn offered(track: &TrackPlan, direction: Direction) -> TrackPlan {
    let mut offered = track.clone();
    offered.mid_offered = true;
    offered.direction = direction;
    offered.rtcp_rsize = true;
    // One stream is sent at a time, whatever the publisher sends.
    offered
        .extensions
        .retain(|agreed| !matches!(agreed.extension, Extension::Rid | Extension::RepairedRid));
    for agreed in &mut offered.extensions {
        agreed.directed = false;
    }
    offered
}

/// RFC 3264 §6, RFC 9429 §5.10: the same kinds and mids in the same order; what we only send the
/// answer only receives, and the other way round.
fn check_section(
    section: &Section,
    track: &TrackPlan,
    direction: Direction,
) -> Result<(), Refusal> {
    if section.kind() != Some(track.kind) {
        return Err(Malformed::new(section.place(), "the offer has another kind here").into());
    }
    let is_same = section.mid.as_deref() == Some(track.mid.as_str());
    // A rejected section needs no mid (RFC 9429 §5.3.1).
    let needs_none = section.mid.is_none() && section.port == 0;
    if !is_same && !needs_none {
        return Err(Malformed::new(section.place(), "the offer has another mid here").into());
    }
    let (fitting, rule) = match direction {
        Direction::SendOnly => (
            OfferedDirection::RecvOnly,
            "the answer to a sendonly m-section is recvonly or inactive",
        ),
        Direction::RecvOnly => (
            OfferedDirection::SendOnly,
            "the answer to a recvonly m-section is sendonly or inactive",
        ),
    };
    match section.level.direction {
        None | Some(OfferedDirection::Inactive) => Ok(()),
        Some(answered) if answered == fitting || section.port == 0 => Ok(()),
        Some(_) => Err(Unsupported::new(section.place(), rule).into()),
    }
}

/// RFC 3264 §6.1, RFC 8285 §5: an answer can only take away.
fn keep_what_was_offered(section: &mut Section, track: &TrackPlan) -> Result<(), Refusal> {
    let is_known = |pt: u8| {
        track
            .codecs
            .iter()
            .any(|codec| codec.pt == pt || codec.rtx_pt == Some(pt))
    };
    if section.port != 0 && !section.payloads.iter().any(|payload| is_known(payload.pt)) {
        return Err(Malformed::new(
            section.place(),
            "none of its payload types stands in the offer",
        )
        .into());
    }
    section.payloads.retain(|payload| is_known(payload.pt));
    section.extensions.retain(|answered| {
        track
            .extensions
            .iter()
            .any(|agreed| agreed.id == answered.id && agreed.extension == answered.extension)
    });
    Ok(())
}
