//! Segmentation that the kernel refuses.

use crate::*;
use whitewater_net::Outgoing;

#[test]
fn refused_segmentation_is_switched_off_and_nothing_is_lost() {
    each_kind(|setup| {
        // Without transmit checksums the kernel refuses UDP_SEGMENT with EINVAL.
        let (mut backend, _bell) =
            setup.open_with("127.0.0.1:0", |config| config.checksums = false);
        assert!(backend.gso());
        let peers = [peer("127.0.0.1:0"), peer("127.0.0.1:0")];
        let mut outgoing = Outgoing::default();
        for peer in &peers {
            for index in 0..9 {
                assert!(outgoing.push(addr(peer), None, payload(index, 800)));
            }
        }
        let outcome = backend.send(&outgoing);
        assert!(outcome.gso_switched_off, "{setup:?} {outcome:?}");
        assert!(!backend.gso());
        assert_eq!(
            (outcome.sent, outcome.dropped()),
            (18, 0),
            "{setup:?} {outcome:?}"
        );
        for peer in &peers {
            for index in 0..9 {
                assert_eq!(receive_from(peer).0, payload(index, 800), "{setup:?}");
            }
        }
        let outcome = backend.send(&outgoing);
        assert!(!outcome.gso_switched_off);
        assert_eq!((outcome.sent, outcome.messages), (18, 18), "{setup:?}");
    });
}

#[test]
fn a_train_of_more_bytes_than_one_send_carries_is_cut_and_gso_stays_on() {
    each_kind(|setup| {
        let mut backend = setup.open("127.0.0.1:0");
        let peer = peer("127.0.0.1:0");
        let mut outgoing = Outgoing::default();
        for index in 0..2 {
            assert!(outgoing.push(addr(&peer), None, payload(index, 40_000)));
        }
        outgoing.trains.truncate(1);
        outgoing.trains[0].size = 80_000;
        let outcome = backend.send(&outgoing);
        assert_eq!(
            (outcome.sent, outcome.messages),
            (2, 2),
            "{setup:?} {outcome:?}"
        );
        assert!(backend.gso());
        for index in 0..2 {
            assert_eq!(receive_from(&peer).0, payload(index, 40_000));
        }
    });
}

#[test]
fn gso_and_gro_are_off_when_configured_off() {
    each_setup(|setup| {
        let backend = setup.open("127.0.0.1:0");
        assert_eq!(backend.gso(), setup.gso);
        let can = setup.kind != BackendKind::TokioUring;
        assert_eq!(backend.gro(), setup.gro && can);
    });
}
