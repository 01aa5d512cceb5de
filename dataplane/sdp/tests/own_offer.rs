//! Offers to other servers, and the answers to them.

use std::collections::BTreeSet;

use whitewater_sdp::{
    Capabilities, Codec, Direction, DtlsRole, Extension, LanePlan, Limits, Local, LocalIce,
    LocalSender, Match, MediaKind, Offer, Plan, Refusal, Role, TrackPlan, codec_match, judge,
    judge_answer, render_answer, render_offer, tracks_for_viewers, tracks_to_receive,
};

fn local(name: &str, lite: bool, mids: &[&str]) -> Local {
    let sender = |(index, mid): (usize, &&str)| LocalSender {
        mid: (*mid).to_owned(),
        track_id: format!("track-{mid}"),
        ssrc: 1000 + index as u32,
        rtx: Some(2000 + index as u32),
        cname: name.to_owned(),
    };
    Local {
        session_id: 7,
        ice: LocalIce {
            ufrag: format!("{name}-ufrag"),
            pwd: format!("{name}-password-of-enough-length"),
            lite,
            options: vec!["ice2".to_owned()],
        },
        fingerprint: [7; 32],
        candidates: Vec::new(),
        stream_id: name.to_owned(),
        senders: mids.iter().enumerate().map(sender).collect(),
        max_message_size: 65_536,
    }
}

/// What this server does as a client: it is not the lite side.
fn client() -> Capabilities {
    Capabilities {
        ice_lite: false,
        simulcast: false,
        data_channels: false,
        ..Capabilities::default()
    }
}

fn receiving() -> (Vec<TrackPlan>, String) {
    let tracks = tracks_to_receive(&client());
    let offer = render_offer(
        &tracks,
        Direction::RecvOnly,
        None,
        &local("here", false, &[]),
    );
    (tracks, offer)
}

/// The other server's side of it.
fn answered(offer: &str) -> (Plan, String) {
    let parsed = Offer::parse(offer, &Limits::default()).expect("sound SDP");
    let plan = judge(&parsed, Role::Subscribe, &Capabilities::default()).expect("it can be served");
    let answer = render_answer(&plan, &local("there", true, &["0", "1"]));
    (plan, answer)
}

fn taken(tracks: &[TrackPlan], answer: &str) -> Result<Plan, Refusal> {
    let limits = Limits::default();
    judge_answer(
        tracks,
        Direction::RecvOnly,
        None,
        answer,
        &limits,
        &client(),
    )
}

#[test]
fn everything_that_can_be_forwarded_is_asked_for() {
    let (tracks, offer) = receiving();
    let kinds: Vec<_> = tracks.iter().map(|track| track.kind).collect();
    assert_eq!(kinds, [MediaKind::Audio, MediaKind::Video]);
    for codec in client().codecs {
        let track = tracks.iter().find(|track| track.kind == codec.kind());
        let codecs = &track.expect("a track of its kind").codecs;
        assert!(codecs.iter().any(|known| known.codec == codec), "{codec:?}");
    }
    // RFC 9143 §9: a number means one thing in the whole bundle.
    let codecs = || tracks.iter().flat_map(|track| &track.codecs);
    let numbers: Vec<u8> = codecs()
        .flat_map(|codec| std::iter::once(codec.pt).chain(codec.rtx_pt))
        .collect();
    let different: BTreeSet<u8> = numbers.iter().copied().collect();
    assert_eq!(different.len(), numbers.len());
    // RFC 5761 §4: 64 to 95 would look like RTCP.
    assert!(
        different
            .iter()
            .all(|pt| !(64..96).contains(pt) && *pt < 128)
    );
    for track in &tracks {
        let ids: BTreeSet<u8> = track.extensions.iter().map(|agreed| agreed.id).collect();
        assert_eq!(ids.len(), track.extensions.len());
        assert!(ids.iter().all(|id| (1..=14).contains(id)));
        assert!(track.extension_id(&Extension::Mid).is_some());
        assert_eq!(track.extension_id(&Extension::Rid), None);
    }
    assert_eq!(offer.matches("a=recvonly").count(), 2);
    assert_eq!(offer.matches("a=setup:actpass").count(), 2);
    for absent in ["a=ice-lite", "a=ssrc", "a=simulcast", "a=msid"] {
        assert!(!offer.contains(absent), "{absent}");
    }
}

#[test]
fn publishers_of_every_kind_find_their_codec_in_what_is_asked_for() {
    let (tracks, _) = receiving();
    for (codec, fmtp) in [
        (Codec::Opus, "minptime=10;useinbandfec=1"),
        (Codec::Opus, "sprop-stereo=1;stereo=1"),
        (Codec::Vp8, "max-fr=60"),
        (Codec::H264, "packetization-mode=1;profile-level-id=42e01f"),
        (Codec::H264, "packetization-mode=1;profile-level-id=42e034"),
        (Codec::H264, "packetization-mode=1;profile-level-id=42001f"),
        (Codec::H264, "packetization-mode=0;profile-level-id=42e01f"),
        (Codec::H264, "packetization-mode=1;profile-level-id=4d0028"),
        (Codec::H264, "packetization-mode=1;profile-level-id=640c1f"),
        (Codec::H264, "packetization-mode=1;profile-level-id=640033"),
        (
            Codec::H265,
            "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST",
        ),
        (Codec::H265, "level-id=153;profile-id=2;tier-flag=0"),
        (Codec::Vp9, ""),
        (Codec::Vp9, "profile-id=2"),
        (Codec::Av1, "level-idx=5;profile=0;tier=0"),
        (Codec::Av1, ""),
    ] {
        let all = || tracks.iter().flat_map(|track| &track.codecs);
        let mut publisher = all()
            .find(|known| known.codec == codec)
            .expect("it")
            .clone();
        publisher.fmtp = fmtp.to_owned();
        let best = all().map(|known| codec_match(&publisher, known)).max();
        assert!(best > Some(Match::None), "{codec:?} {fmtp}");
    }
}

#[test]
fn the_answer_of_a_server_like_this_one_is_taken_whole() {
    let (tracks, offer) = receiving();
    let (theirs, answer) = answered(&offer);
    let ours = taken(&tracks, &answer).expect("it fits");
    assert_eq!(ours.role, Role::Publish);
    // They wait for the handshake, so that we begin.
    assert_eq!(theirs.dtls_role, DtlsRole::Passive);
    assert_eq!(ours.dtls_role, DtlsRole::Active);
    assert!(ours.remote_ice.lite);
    for (ours, offered) in ours.tracks().zip(&tracks) {
        assert_eq!(ours.codecs.len(), offered.codecs.len());
        assert_eq!(ours.extensions, offered.extensions);
        assert_eq!(ours.direction, Direction::RecvOnly);
        let told = ours.ssrcs.first().expect("their source");
        let is_video = ours.kind == MediaKind::Video;
        assert_eq!(told.rtx.is_some(), is_video, "with its repairs");
        assert!(ours.codecs.iter().any(|codec| codec.feedback.nack));
    }
}

#[test]
fn an_answer_may_turn_sections_down_and_not_turn_them_round() {
    let (tracks, offer) = receiving();
    let (_, answer) = answered(&offer);
    for direction in ["a=recvonly", "a=sendrecv"] {
        let turned = answer.replace("a=sendonly", direction);
        assert!(matches!(
            taken(&tracks, &turned),
            Err(Refusal::Unsupported(_))
        ));
    }
    let (head, video) = answer.split_at(answer.find("m=video").expect("video"));
    let silent = head.to_owned() + &video.replace("a=sendonly", "a=inactive");
    let plan = taken(&tracks, &silent).expect("audio is left");
    let kinds: Vec<_> = plan.tracks().map(|track| track.kind).collect();
    assert_eq!(
        (kinds.as_slice(), plan.sections.len()),
        (&[MediaKind::Audio][..], 2)
    );
    assert!(matches!(taken(&tracks, head), Err(Refusal::Malformed(_))));
    let all_silent = answer.replace("a=sendonly", "a=inactive");
    assert!(taken(&tracks, &all_silent).is_err());
    // RFC 3264 §6.1: a number that stands for something else, one that was not offered.
    let opus = tracks[0].codecs[0].pt;
    let renamed = answer.replace(
        &format!("a=rtpmap:{opus} opus/48000/2"),
        &format!("a=rtpmap:{opus} PCMU/8000"),
    );
    assert!(taken(&tracks, &renamed).is_err());
    // RFC 8842 §5.3: the answerer chooses.
    let undecided = answer.replace("a=setup:passive", "a=setup:actpass");
    assert!(taken(&tracks, &undecided).is_err());
}

#[test]
fn what_is_published_here_is_offered_on_with_sources_and_taken_there() {
    let (_, offer) = receiving();
    let (_, answer) = answered(&offer);
    let published = taken(&tracks_to_receive(&client()), &answer).expect("it fits");
    let published: Vec<TrackPlan> = published.tracks().cloned().collect();
    let tracks = tracks_for_viewers(&published, &client());
    let here = local("here", false, &["0", "1"]);
    let offer = render_offer(&tracks, Direction::SendOnly, None, &here);
    assert_eq!(offer.matches("a=sendonly").count(), 2);
    assert_eq!(offer.matches("a=ssrc-group:FID").count(), 1);
    let parsed = Offer::parse(&offer, &Limits::default()).expect("sound SDP");
    let plan = judge(&parsed, Role::Publish, &Capabilities::default()).expect("it can be served");
    let answer = render_answer(&plan, &local("there", true, &[]));
    let limits = Limits::default();
    let ours = judge_answer(
        &tracks,
        Direction::SendOnly,
        None,
        &answer,
        &limits,
        &client(),
    );
    let ours = ours.expect("it fits");
    assert_eq!(ours.role, Role::Subscribe);
    assert_eq!(ours.tracks().count(), 2);
    // Two lite sides would both wait to be checked.
    let lite = Capabilities {
        ice_lite: true,
        ..client()
    };
    let refused = judge_answer(&tracks, Direction::SendOnly, None, &answer, &limits, &lite);
    assert!(matches!(refused, Err(Refusal::Unsupported(_))));
}

#[test]
fn data_channels_are_offered_last_and_may_be_turned_down() {
    // RFC 8841 §5
    let tracks = tracks_to_receive(&client());
    let here = local("here", false, &[]);
    let offer = render_offer(&tracks, Direction::RecvOnly, Some("data0"), &here);
    assert!(offer.contains("a=group:BUNDLE 0 1 data0\r\n"));
    assert!(offer.contains("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"));
    assert!(offer.contains("a=sctp-port:5000\r\na=max-message-size:65536\r\n"));
    assert_eq!(offer.matches("a=setup:actpass").count(), 3);
    let taken = |answer: &str, data| {
        let limits = Limits::default();
        let direction = Direction::RecvOnly;
        judge_answer(&tracks, direction, data, answer, &limits, &client())
    };
    let (_, answer) = answered(&offer);
    let plan = taken(&answer, Some("data0")).expect("it is the answer");
    let application = plan.application().expect("it was taken");
    assert_eq!(
        (application.sctp_port, application.max_message_size),
        (5000, 65_536)
    );
    // Not where nothing was offered, not under another name, not in another place.
    assert!(taken(&answer, None).is_err());
    assert!(taken(&answer, Some("other")).is_err());
    let (_, without) = answered(&receiving().1);
    assert!(taken(&without, Some("data0")).is_err());
    let none = Capabilities {
        data_channels: false,
        ..Capabilities::default()
    };
    let parsed = Offer::parse(&offer, &Limits::default()).expect("sound SDP");
    let plan = judge(&parsed, Role::Subscribe, &none).expect("media is enough");
    let answer = render_answer(&plan, &local("there", true, &["0", "1"]));
    let plan = taken(&answer, Some("data0")).expect("it may be turned down");
    assert!(plan.application().is_none());
    assert_eq!(plan.tracks().count(), 2);
}

fn lanes() -> Vec<LanePlan> {
    let lane = |(number, rid): (u32, &str)| LanePlan {
        rid: rid.to_owned(),
        ssrc: 1001 + 10 * number,
        rtx: Some(2001 + 10 * number),
    };
    (0..).zip(["h", "m", "l"]).map(lane).collect()
}

/// A text as a server writes or reads it that does not know the attribute.
fn plain(text: &str) -> String {
    let is_ours = |line: &&str| line.starts_with("a=whitewater-layers");
    let lines = text.split_inclusive("\r\n");
    lines.filter(|line| !is_ours(line)).collect()
}

fn video(plan: &Plan) -> &TrackPlan {
    let mut tracks = plan.tracks();
    tracks.find(|t| t.kind == MediaKind::Video).expect("video")
}

#[test]
fn a_server_that_is_asked_for_a_stream_may_send_its_layers_one_by_one() {
    let (tracks, offer) = receiving();
    assert_eq!(offer.matches("a=whitewater-layers\r\n").count(), 1);
    let (mut theirs, _) = answered(&offer);
    assert_eq!(video(&theirs).lanes, Some(Vec::new()), "it may");
    let them = local("there", true, &["0", "1"]);
    for track in theirs.tracks_mut().filter(|track| track.lanes.is_some()) {
        track.lanes = Some(lanes());
    }
    let answer = render_answer(&theirs, &them);
    let line = "a=whitewater-layers:h 1001 2001;m 1011 2011;l 1021 2021\r\n";
    assert!(answer.contains(line), "{answer}");
    let ours = taken(&tracks, &answer).expect("it fits");
    assert_eq!(video(&ours).lanes, Some(lanes()));
    assert!(ours.tracks().all(|t| t.simulcast.is_empty()));

    // One that knows nothing of it sends one plain source, and is taken at its word.
    let ours = taken(&tracks, &plain(&answer)).expect("it fits");
    assert_eq!(video(&ours).lanes, None);
    assert_eq!(video(&ours).ssrcs[0].ssrc, 1001);
    // Where it was not asked for it means nothing.
    let mut other = tracks.clone();
    other.iter_mut().for_each(|track| track.lanes = None);
    let ours = taken(&other, &answer).expect("it fits");
    assert_eq!(video(&ours).lanes, None);
    // Too many, and names that cannot be kept.
    for bad in ["a 1;b 2;c 3;d 4;e 5", "much-too-long 1;b 2", "h 1;h 2", "h"] {
        let line = format!("a=whitewater-layers:{bad}\r\n");
        let answer = plain(&answer) + &line;
        let ours = taken(&tracks, &answer).expect("it fits");
        assert_eq!(video(&ours).lanes, None, "{bad}");
    }
}

#[test]
fn layers_are_offered_one_by_one_to_whoever_takes_them_so() {
    let (_, offer) = receiving();
    let (_, answer) = answered(&offer);
    let published = taken(&tracks_to_receive(&client()), &answer).expect("it fits");
    let published: Vec<TrackPlan> = published.tracks().cloned().collect();
    let mut tracks = tracks_for_viewers(&published, &client());
    assert!(tracks.iter().all(|track| track.lanes.is_none()));
    let is_video = |track: &&mut TrackPlan| track.kind == MediaKind::Video;
    for track in tracks.iter_mut().filter(is_video) {
        track.lanes = Some(lanes());
    }
    let here = local("here", false, &["0", "1"]);
    let offer = render_offer(&tracks, Direction::SendOnly, None, &here);
    let judged = |offer: &str| {
        let parsed = Offer::parse(offer, &Limits::default()).expect("sound SDP");
        judge(&parsed, Role::Publish, &Capabilities::default()).expect("it can be served")
    };
    let theirs = judged(&offer);
    assert_eq!(video(&theirs).lanes, Some(lanes()));
    let them = local("there", true, &[]);
    let taken = |answer: &str| {
        let (limits, direction) = (Limits::default(), Direction::SendOnly);
        judge_answer(&tracks, direction, None, answer, &limits, &client()).expect("it fits")
    };
    let answer = render_answer(&theirs, &them);
    assert_eq!(answer.matches("a=whitewater-layers\r\n").count(), 1);
    assert_eq!(video(&taken(&answer)).lanes, Some(lanes()));

    let theirs = judged(&plain(&offer));
    assert_eq!(video(&theirs).lanes, None);
    assert_eq!(video(&theirs).ssrcs[0].ssrc, 1001, "one plain source");
    assert_eq!(video(&theirs).ssrcs.len(), 1);
    let answer = render_answer(&theirs, &them);
    assert_eq!(video(&taken(&answer)).lanes, None);
}
