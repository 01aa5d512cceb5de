use std::net::Ipv4Addr;

use whitewater_link::Network;
use whitewater_sdp::CandidateKind;

use super::super::ice::LiteAgent;
use super::*;
use crate::admission::hmac_sha1;

const PORT: u16 = 40_000;
/// Where our checks seem to come from.
const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));

fn credentials(name: &str) -> Credentials {
    Credentials {
        ufrag: format!("{name}-ufrag"),
        pwd: format!("{name}-password-of-enough-length"),
    }
}

fn server(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn candidate(addr: SocketAddr, priority: u32) -> Candidate {
    Candidate {
        foundation: "1".to_owned(),
        component: 1,
        transport: CandidateTransport::Udp,
        priority,
        addr,
        kind: CandidateKind::Host,
        related: None,
        ufrag: None,
    }
}

fn private() -> Reach {
    let block = Network {
        address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)),
        prefix_len: 24,
    };
    Reach {
        allowed: vec![block],
    }
}

fn dialler(now: Instant, candidates: &[Candidate]) -> Dialler {
    let dialling = Dialling {
        local: credentials("ours"),
        remote: credentials("theirs"),
        candidates,
        port: PORT,
        family: Family::V4,
        reach: private(),
        tie_breaker: 0x0123_4567_89ab_cdef,
    };
    Dialler::new(now, dialling, hmac_sha1)
}

/// The server's side.
fn lite() -> LiteAgent {
    LiteAgent::new(credentials("theirs"), credentials("ours"), hmac_sha1)
}

/// Everything that is due, with where it goes.
fn sent(dialler: &mut Dialler, now: Instant) -> Vec<(SocketAddr, Vec<u8>)> {
    let checks = std::iter::from_fn(|| dialler.poll(now));
    checks.map(|(to, bytes)| (to.addr, bytes)).collect()
}

/// The server at `at` answers one check.
fn answer(
    lite: &mut LiteAgent,
    dialler: &mut Dialler,
    now: Instant,
    at: SocketAddr,
    check: &[u8],
) -> Checked {
    let us = PeerAddr::udp(SocketAddr::new(OURS, PORT));
    let reply = lite.check(now, us, at.ip(), check).expect("a good check");
    dialler
        .check(now, PeerAddr::dialled(PORT, at), OURS, &reply.reply)
        .expect("a good answer")
}

/// Runs until the path stands; when it does.
fn connect(
    dialler: &mut Dialler,
    lite: &mut LiteAgent,
    from: Instant,
    alive: SocketAddr,
) -> Instant {
    let mut now = from;
    while dialler.path().is_none() {
        now = dialler.due().max(now);
        assert!(now - from < Duration::from_secs(3), "it connects soon");
        for (to, check) in sent(dialler, now) {
            if to == alive {
                answer(lite, dialler, now, to, &check);
            }
        }
    }
    now
}

#[test]
fn a_restart_checks_the_new_addresses_under_new_credentials() {
    // RFC 8445 §9, RFC 9725 §4.3.3
    let start = Instant::now();
    let mut dialler = dialler(start, &[candidate(server(1), 100)]);
    let now = connect(&mut dialler, &mut lite(), start, server(1));
    let next = credentials("theirs-again");
    let none = dialler.redial(now, next.clone(), &[]);
    assert_eq!(none, None, "nobody asked for it");

    dialler.renew(credentials("ours-again"));
    assert!(dialler.path().is_some(), "until it is answered");
    let left = dialler.redial(now, next.clone(), &[candidate(server(2), 100)]);
    assert_eq!(left, Some(vec![PeerAddr::dialled(PORT, server(1))]));
    assert!(dialler.path().is_none() && dialler.addresses().next().is_none());
    let again = credentials("ours-again");
    let mut renewed = LiteAgent::new(next.clone(), again.clone(), hmac_sha1);
    let later = connect(&mut dialler, &mut renewed, now, server(2));
    let path = dialler.path().expect("it stands");
    assert_eq!(path.remote.addr, server(2));
    assert!(!dialler.is_over(later + limits::CONSENT_EXPIRES_AFTER / 2));

    // One that names no addresses has those it had.
    dialler.renew(credentials("ours"));
    assert!(dialler.redial(later, credentials("theirs"), &[]).is_some());
    connect(&mut dialler, &mut lite(), later, server(2));
}

#[test]
fn a_restart_that_leads_nowhere_is_given_up() {
    let start = Instant::now();
    let mut dialler = dialler(start, &[candidate(server(1), 100)]);
    let now = connect(&mut dialler, &mut lite(), start, server(1));
    dialler.renew(credentials("ours-again"));
    let _ = dialler.redial(now, credentials("theirs-again"), &[]);
    assert!(!dialler.is_over(now + limits::DIAL_TIMEOUT / 2));
    assert!(dialler.is_over(now + limits::DIAL_TIMEOUT));
}

#[test]
fn a_pair_is_nominated_once_it_is_valid() {
    let start = Instant::now();
    let mut dialler = dialler(start, &[candidate(server(1), 100)]);
    let mut lite = lite();
    let [(to, check)] = &sent(&mut dialler, start)[..] else {
        panic!("one check");
    };
    assert_eq!(*to, server(1));
    assert!(!StunMessage::parse(check).expect("STUN").use_candidate());
    let checked = answer(&mut lite, &mut dialler, start, server(1), check);
    assert_eq!(checked.verified, Some(PeerAddr::dialled(PORT, server(1))));
    assert!(!checked.path_changed && checked.reply.is_empty());
    assert_eq!((dialler.path(), lite.path()), (None, None));

    let [(_, check)] = &sent(&mut dialler, start)[..] else {
        panic!("it is nominated at once");
    };
    assert!(StunMessage::parse(check).expect("STUN").use_candidate());
    let checked = answer(&mut lite, &mut dialler, start, server(1), check);
    assert!(checked.path_changed);
    let path = dialler.path().expect("a path");
    assert_eq!(path.remote, PeerAddr::dialled(PORT, server(1)));
    assert_eq!(path.local, OURS);
    assert!(lite.path().is_some());
    assert!(sent(&mut dialler, start).is_empty());
}

#[test]
fn the_candidate_that_answers_is_found_among_those_that_do_not() {
    let start = Instant::now();
    let candidates: Vec<_> = (1..=5_u16)
        .map(|port| candidate(server(port), 100 - u32::from(port)))
        .collect();
    let mut dialler = dialler(start, &candidates);
    let first = sent(&mut dialler, start);
    assert_eq!(first.len(), 1, "checks are paced");
    assert_eq!(first[0].0, server(1), "the most wanted is first");
    let at = connect(&mut dialler, &mut lite(), start, server(4));
    let remote = dialler.path().expect("a path").remote;
    assert_eq!(remote, PeerAddr::dialled(PORT, server(4)));
    assert!(at - start < Duration::from_millis(200), "{:?}", at - start);
}

#[test]
fn a_lost_check_is_sent_again_and_nothing_after_the_last() {
    let start = Instant::now();
    let mut dialler = dialler(start, &[candidate(server(1), 100)]);
    let mut now = start;
    let mut count = 0;
    while !dialler.is_over(now) {
        count += sent(&mut dialler, now).len();
        let due = dialler.due();
        assert!(due > now, "time goes on");
        now = due;
    }
    assert_eq!(count, limits::CHECKS_PER_CANDIDATE_MAX as usize);
    assert_eq!(now - start, limits::DIAL_TIMEOUT);
}

#[test]
fn consent_is_asked_for_every_few_seconds_and_ends_when_it_is_not_given() {
    let start = Instant::now();
    let mut dialler = dialler(start, &[candidate(server(1), 100)]);
    let mut lite = lite();
    let mut now = connect(&mut dialler, &mut lite, start, server(1));
    for _ in 0..20 {
        let before = now;
        now = dialler.due();
        let gap = now - before;
        // RFC 7675 §5.1.
        assert!((4.0..=6.0).contains(&gap.as_secs_f64()), "{gap:?}");
        let [(to, check)] = &sent(&mut dialler, now)[..] else {
            panic!("one check");
        };
        answer(&mut lite, &mut dialler, now, *to, check);
        assert!(!dialler.is_over(now));
    }
    let consented_at = now;
    while !dialler.is_over(now) {
        sent(&mut dialler, now);
        now = dialler.due().max(now + Duration::from_millis(1));
    }
    let lasted = now - consented_at;
    assert!((29.9..=30.1).contains(&lasted.as_secs_f64()), "{lasted:?}");
}

#[test]
fn an_answer_counts_only_from_where_the_check_went_and_once() {
    let now = Instant::now();
    let candidates = [candidate(server(1), 100), candidate(server(2), 90)];
    let mut dialler = dialler(now, &candidates);
    let mut lite = lite();
    let (to, check) = sent(&mut dialler, now).remove(0);
    let us = PeerAddr::udp(SocketAddr::new(OURS, PORT));
    let reply = lite.check(now, us, to.ip(), &check).expect("good").reply;
    let mut hear = |from: SocketAddr, bytes: &[u8]| {
        let from = PeerAddr::dialled(PORT, from);
        dialler.check(now, from, OURS, bytes).map(|c| c.verified)
    };
    assert!(hear(server(2), &reply).is_err(), "another candidate's");
    assert!(hear(server(9), &reply).is_err(), "nobody's");
    let mut forged = LiteAgent::new(
        Credentials {
            pwd: "some other password of length".to_owned(),
            ..credentials("theirs")
        },
        credentials("ours"),
        hmac_sha1,
    );
    assert!(forged.check(now, us, to.ip(), &check).is_err());
    assert!(hear(server(1), &reply[..reply.len() - 8]).is_err());
    assert!(hear(server(1), b"\0\x01\0\0").is_err());
    assert!(matches!(hear(server(1), &reply), Ok(Some(_))));
    assert!(hear(server(1), &reply).is_err(), "it was answered");
}

#[test]
fn candidates_that_may_not_be_called_are_not_checked() {
    let now = Instant::now();
    let tcp = Candidate {
        transport: CandidateTransport::TcpPassive,
        ..candidate(server(1), 100)
    };
    let candidates = [
        candidate(SocketAddr::from(([127, 0, 0, 1], 1)), 100),
        candidate(SocketAddr::from(([169, 254, 169, 254], 80)), 100),
        candidate(SocketAddr::from(([192, 168, 0, 1], 1)), 100),
        candidate("[::1]:1".parse().expect("an address"), 100),
        candidate("[::ffff:127.0.0.1]:1".parse().expect("an address"), 100),
        candidate(SocketAddr::from(([8, 8, 8, 8], 0)), 100),
        tcp,
    ];
    assert_eq!(dialler(now, &candidates).candidate_count(), 0);
    let good = [
        candidate(SocketAddr::from(([8, 8, 8, 8], 1)), 1),
        candidate(server(1), 2),
        candidate(server(1), 3),
    ];
    assert_eq!(dialler(now, &good).candidate_count(), 2);
    let many: Vec<_> = (1..=100).map(|port| candidate(server(port), 1)).collect();
    assert_eq!(
        dialler(now, &many).candidate_count(),
        limits::DIALLED_CANDIDATES_MAX
    );
}

#[test]
fn a_full_agents_check_is_answered_and_leads_to_it() {
    let now = Instant::now();
    let mut dialler = dialler(now, &[]);
    assert!(sent(&mut dialler, now).is_empty());
    let check = |controlling: bool, pwd: &str| {
        let request = StunMessage::binding_request(
            "ours-ufrag:theirs-ufrag",
            TransId::new(),
            controlling,
            7,
            1000,
            false,
        );
        render(request, pwd, hmac_sha1).expect("it fits")
    };
    let pwd = credentials("ours").pwd;
    let from = |addr| PeerAddr::dialled(PORT, addr);
    let outside = SocketAddr::from(([192, 168, 0, 1], 5));

    let forged = check(false, "some other password of length");
    assert!(dialler.check(now, from(server(5)), OURS, &forged).is_err());
    // RFC 8445 §7.3.1.1: the offerer stays in control.
    let conflict = check(true, &pwd);
    let checked = dialler.check(now, from(server(5)), OURS, &conflict);
    let reply = checked.expect("authentic").reply;
    let code = StunMessage::parse(&reply).expect("STUN").error_code();
    assert_eq!(code.map(|(code, _)| code), Some(487));
    // Answered, but not called.
    let stray = dialler.check(now, from(outside), OURS, &check(false, &pwd));
    assert!(!stray.expect("authentic").reply.is_empty());
    assert!(sent(&mut dialler, now).is_empty());

    let checked = dialler.check(now, from(server(5)), OURS, &check(false, &pwd));
    let reply = checked.expect("authentic").reply;
    let reply = StunMessage::parse(&reply).expect("STUN");
    assert_eq!(reply.mapped_address(), Some(server(5)));
    let [(to, _)] = &sent(&mut dialler, now)[..] else {
        panic!("it is checked at once");
    };
    assert_eq!(*to, server(5));
    connect(&mut dialler, &mut lite(), now, server(5));
}
