//! What a viewer's packets are numbered.

use std::time::Duration;

use whitewater_link::LAYERS_ALL;

use super::switching::{meta, offer_to, published, track};
use super::*;
use crate::forward::scale::Limit;

/// A time to start from.
pub(super) fn start() -> Instant {
    Instant::now()
}

#[test]
fn nothing_is_sent_before_a_key_frame_and_everything_after_it() {
    let mut track = track(MediaKind::Video);
    let tracks = published("VP8", 100);
    let now = Instant::now();
    let first = track.rewrite(now, Epoch(1), &tracks, &meta(now, 100, 9, 10, false));
    assert_eq!(first, Err(DropReason::AwaitingKeyframe));
    assert!(track.is_waiting());
    let key = track.rewrite(now, Epoch(1), &tracks, &meta(now, 100, 9, 11, true));
    let key = key.expect("forwarded");
    assert!(key.seq < 0x8000, "the rollover counter can be guessed");
    let next = track.rewrite(now, Epoch(1), &tracks, &meta(now, 100, 9, 12, false));
    let next = next.expect("forwarded");
    assert_eq!(next.seq, key.seq + 1);
    assert_eq!(next.timestamp.wrapping_sub(key.timestamp), 3_000);
    assert!(!track.is_waiting());
}

#[test]
fn media_we_cannot_read_is_sent_after_a_while() {
    let mut track = track(MediaKind::Video);
    let tracks = published("VP8", 100);
    let now = Instant::now();
    let held = track.rewrite(now, Epoch(1), &tracks, &meta(now, 100, 9, 1, false));
    assert_eq!(held, Err(DropReason::AwaitingKeyframe));
    let later = now + limits::KEYFRAME_WAIT_MAX;
    let sent = track.rewrite(later, Epoch(1), &tracks, &meta(later, 100, 9, 2, false));
    assert!(sent.is_ok());
}

#[test]
fn another_publisher_continues_the_numbering_with_another_payload_type() {
    let mut track = track(MediaKind::Video);
    let now = Instant::now();
    let vp8 = published("VP8", 100);
    let before = track.rewrite(now, Epoch(1), &vp8, &meta(now, 100, 9, 60_000, true));
    let before = before.expect("forwarded");
    let vp9 = published("VP9", 35);
    let later = now + Duration::from_secs(1);
    let stranger = meta(later, 35, 77, 5, false);
    let held = track.rewrite(later, Epoch(2), &vp9, &stranger);
    assert_eq!(held, Err(DropReason::AwaitingKeyframe));
    let after = track.rewrite(later, Epoch(2), &vp9, &meta(later, 35, 77, 6, true));
    let after = after.expect("forwarded");
    assert_eq!(after.seq, before.seq + 1);
    assert_ne!(after.pt, before.pt);
    let step = after.timestamp.wrapping_sub(before.timestamp);
    assert_eq!(step, 90_000, "a second passed");
}

#[test]
fn what_the_viewer_cannot_decode_is_not_sent() {
    let mut track = track(MediaKind::Video);
    let tracks = published("H266", 100);
    let now = Instant::now();
    let refused = track.rewrite(now, Epoch(1), &tracks, &meta(now, 100, 9, 1, true));
    assert_eq!(refused, Err(DropReason::NoPayloadType));
    assert!(!track.carries(&tracks[0]));
    assert!(track.carries(&published("VP8", 1)[0]));
}

#[test]
fn a_muted_track_shows_no_loss_and_comes_back_with_a_key_frame() {
    let mut track = track(MediaKind::Video);
    let tracks = published("VP8", 100);
    let now = Instant::now();
    let rewrite = |track: &mut EgressTrack, seq, key| {
        track.rewrite(now, Epoch(1), &tracks, &meta(now, 100, 9, seq, key))
    };
    let before = rewrite(&mut track, 1, true).expect("forwarded");
    track.mute(true);
    for seq in 2..500 {
        assert_eq!(rewrite(&mut track, seq, false), Err(DropReason::Muted));
    }
    track.mute(false);
    assert!(track.is_waiting());
    let held = rewrite(&mut track, 500, false);
    assert_eq!(held, Err(DropReason::AwaitingKeyframe));
    let after = rewrite(&mut track, 501, true).expect("forwarded");
    assert_eq!(after.seq, before.seq + 1);
}

#[test]
fn a_second_copy_is_never_sent_under_a_number_that_was_used() {
    let mut track = track(MediaKind::Video);
    let tracks = published("VP8", 100);
    let now = Instant::now();
    let first = track.rewrite(now, Epoch(1), &tracks, &meta(now, 100, 9, 1, true));
    assert!(first.is_ok());
    let again = track.rewrite(now, Epoch(1), &tracks, &meta(now, 100, 9, 1, true));
    assert_eq!(again, Err(DropReason::TooLate));
}

/// Two layers of one track, with nothing in common.
fn of_layer(now: Instant, layer: u8, seq: u64, keyframe_start: bool) -> PacketMeta {
    let base = u32::from(layer) * 2_000_000_000;
    PacketMeta {
        layer,
        timestamp: base.wrapping_add(seq as u32 * 3_000),
        pictures: Some(PictureNumbers {
            codec: whitewater_link::PictureCodec::Vp8,
            picture_id: 100 * u16::from(layer) + seq as u16,
            tl0_pic_idx: 0,
        }),
        ..meta(now, 100, 40 + u32::from(layer), seq, keyframe_start)
    }
}

#[test]
fn a_layer_flows_until_the_chosen_one_brings_a_key_frame() {
    let mut track = track(MediaKind::Video);
    let now = Instant::now();
    track.aim(Some(0));
    assert_eq!(track.awaits(), 0b01);
    assert!(
        offer_to(&mut track, &of_layer(now, 1, 1, true)).is_none(),
        "not chosen"
    );
    let first = offer_to(&mut track, &of_layer(now, 0, 1, true)).expect("sent");
    assert_eq!(
        (track.awaits(), track.uses(), first.pictures),
        (0, 0b01, None)
    );

    assert!(track.aim(Some(1)));
    assert_eq!(
        (track.awaits(), track.uses(), track.asked_for()),
        (0b10, 0b11, 0b11)
    );
    assert!(offer_to(&mut track, &of_layer(now, 1, 2, false)).is_none());
    let second = offer_to(&mut track, &of_layer(now, 0, 2, false)).expect("it still flows");
    let later = now + Duration::from_millis(40);
    let switched = offer_to(&mut track, &of_layer(later, 1, 3, true)).expect("sent");
    assert_eq!((second.seq, switched.seq), (first.seq + 1, first.seq + 2));
    assert_eq!(switched.timestamp.wrapping_sub(second.timestamp), 3_600);
    // The first layer's pictures were 1 and 2.
    assert_eq!(switched.pictures.map(|numbers| numbers.picture_id), Some(3));
    assert_eq!((track.awaits(), track.uses()), (0, 0b10));
    // Stragglers of the first are not for it any more, not even a key frame.
    assert!(offer_to(&mut track, &of_layer(later, 0, 3, true)).is_none());
    let next = offer_to(&mut track, &of_layer(later, 1, 4, false)).expect("sent");
    assert_eq!(next.seq, switched.seq + 1);
    assert_eq!(next.pictures.map(|numbers| numbers.picture_id), Some(4));
}

#[test]
fn while_none_is_chosen_the_first_that_can_be_decoded_is_sent_and_then_kept() {
    let mut track = track(MediaKind::Video);
    let now = Instant::now();
    assert_eq!((track.awaits(), track.uses()), (LAYERS_ALL, LAYERS_ALL));
    assert!(offer_to(&mut track, &of_layer(now, 1, 1, false)).is_none());
    assert!(offer_to(&mut track, &of_layer(now, 1, 2, true)).is_some());
    assert!(offer_to(&mut track, &of_layer(now, 0, 1, true)).is_none());
    assert!(offer_to(&mut track, &of_layer(now, 1, 3, false)).is_some());
}

#[test]
fn pictures_taken_together_still_have_timestamps_of_their_own() {
    let mut track = track(MediaKind::Video);
    let now = Instant::now();
    track.aim(Some(0));
    let before = offer_to(&mut track, &of_layer(now, 0, 1, true)).expect("sent");
    track.aim(Some(1));
    let after = offer_to(&mut track, &of_layer(now, 1, 1, true)).expect("sent");
    assert_eq!(after.timestamp.wrapping_sub(before.timestamp), 1);
}

#[test]
fn a_muted_track_uses_no_layer() {
    let mut track = track(MediaKind::Video);
    track.aim(Some(2));
    track.mute(true);
    assert_eq!((track.awaits(), track.uses()), (0, 0));
    track.mute(false);
    assert_eq!((track.awaits(), track.uses()), (0b100, 0b100));
    assert_eq!(super::bit(9), 0, "there are no more bits");
}

#[test]
fn what_lies_above_the_layer_of_a_scalable_stream_is_left_out_of_the_numbering() {
    let mut track = track(MediaKind::Video);
    let tracks = published("VP9", 100);
    let now = Instant::now();
    // Two spatial layers of one packet each.
    let send = |track: &mut EgressTrack, picture: u64, key: bool| {
        let mut sent = Vec::new();
        for spatial in 0..2 {
            let mut meta = meta(
                now,
                100,
                9,
                2 * picture + u64::from(spatial),
                key && spatial == 0,
            );
            meta.marker = spatial == 1;
            meta.timestamp = picture as u32 * 3_000;
            meta.scale = Some(whitewater_link::Scale {
                spatial,
                temporal: 0,
                switches_up: false,
                opens: 0,
                ends_frame: true,
                is_discardable: false,
            });
            let rewritten = track.rewrite(now, Epoch(1), &tracks, &meta);
            sent.extend(rewritten.ok().map(|packet| (packet.seq, packet.marker)));
        }
        sent
    };
    let whole = send(&mut track, 0, true);
    let start = whole[0].0;
    assert_eq!(whole, [(start, false), (start + 1, true)]);
    let base = Limit {
        spatial: 0,
        temporal: u8::MAX,
    };
    assert!(track.aim_within(base));
    assert_eq!(send(&mut track, 1, false), [(start + 2, true)]);
    assert_eq!(send(&mut track, 2, false), [(start + 3, true)]);
    assert_eq!(track.awaits(), 0);
    track.aim_within(Limit::NONE);
    assert_eq!(track.awaits(), 1, "a key picture");
    assert_eq!(send(&mut track, 3, false), [(start + 4, true)]);
    assert_eq!(
        send(&mut track, 4, true),
        [(start + 5, false), (start + 6, true)]
    );
    assert_eq!(track.awaits(), 0);
}
