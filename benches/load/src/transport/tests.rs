use super::*;

/// What the server sends, and from which of its addresses.
type Reply = (SocketAddr, Vec<u8>);

/// The server's side of one connection, as much as is needed to meet ours.
struct Server {
    crypto: Arc<CryptoProvider>,
    dtls: Box<dyn DtlsInstance>,
    /// Where it is reached, and which of these pairs was nominated.
    addresses: Vec<SocketAddr>,
    nominated: Option<SocketAddr>,
    checks: usize,
    silent: bool,
    secured: bool,
}

const HERE: &str = "192.0.2.1:1000";
const THERE: &str = "192.0.2.2:2000";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn answer(identity: &Identity, lite: bool) -> Answer {
    Answer {
        ufrag: "theirs".into(),
        password: "their password, long".into(),
        lite,
        fingerprint: identity.fingerprint.to_vec(),
        server_is_active: false,
        // The first one leads nowhere.
        candidates: vec![at("192.0.2.9:9"), at("[2001:db8::1]:5"), at(THERE)],
        audio: None,
        video: None,
    }
}

impl Server {
    fn new(identity: &Identity, now: Instant) -> Self {
        let provider = identity.crypto.dtls_provider;
        let dtls = provider.new_dtls(&identity.certificate, now, DtlsVersion::Dtls12, None);
        let mut dtls = dtls.unwrap();
        dtls.set_active(false);
        dtls.handle_timeout(now).unwrap();
        Server {
            crypto: identity.crypto.clone(),
            dtls,
            addresses: vec![at(THERE)],
            nominated: None,
            checks: 0,
            silent: false,
            secured: false,
        }
    }

    fn take(&mut self, to: SocketAddr, bytes: &[u8], out: &mut Vec<Reply>) {
        if self.silent || !self.addresses.contains(&to) {
            return;
        }
        let hmac = self.crypto.sha1_hmac_provider;
        let sign = |key: &[u8], parts: &[&[u8]]| hmac.sha1_hmac(key, parts);
        if bytes[0] < 4 {
            let message = StunMessage::parse(bytes).unwrap();
            if !message.is_binding_request() {
                return;
            }
            assert_eq!(message.split_username(), Some(("theirs", "ours")));
            assert!(message.verify(b"their password, long", sign));
            self.checks += 1;
            // RFC 8445 §8.1.1: a pair is seen to be valid before it is nominated, and only one is.
            assert!(self.checks > 1 || !message.use_candidate());
            if message.use_candidate() {
                assert_eq!(*self.nominated.get_or_insert(to), to);
            }
            let mut buf = [0; 512];
            let reply = StunMessage::binding_reply(message.trans_id(), at(HERE));
            let len = reply
                .to_bytes(Some(b"their password, long"), &mut buf, sign)
                .unwrap();
            out.push((to, buf[..len].to_vec()));
            return;
        }
        assert_eq!(
            self.nominated,
            Some(to),
            "DTLS goes over the nominated pair"
        );
        self.dtls.handle_packet(bytes).unwrap();
        self.pump(to, out);
    }

    fn pump(&mut self, from: SocketAddr, out: &mut Vec<Reply>) {
        let mut buf = [0; 2048];
        loop {
            match self.dtls.poll_output(&mut buf) {
                DtlsOutput::Packet(bytes) => out.push((from, bytes.to_vec())),
                DtlsOutput::Timeout(_) => return,
                DtlsOutput::Connected => self.secured = true,
                _ => {}
            }
        }
    }
}

/// Both sides until nothing more is said; what happened at ours.
fn exchange(client: &mut Transport, server: &mut Server, now: Instant) -> Vec<Progress> {
    let mut progress = Vec::new();
    for _ in 0..50 {
        let mut sent = Vec::new();
        progress.extend(client.poll(now, &mut |to, bytes| sent.push((to, bytes.to_vec()))));
        let mut replies = Vec::new();
        for (to, bytes) in &sent {
            server.take(*to, bytes, &mut replies);
        }
        let idle = sent.is_empty();
        while !replies.is_empty() {
            let mut sent = Vec::new();
            for (from, bytes) in std::mem::take(&mut replies) {
                let send: Sending<'_> = &mut |to, bytes| sent.push((to, bytes.to_vec()));
                progress.extend(if bytes[0] < 4 {
                    client.on_stun(now, from, &bytes, send)
                } else {
                    client.on_dtls(&bytes, send)
                });
            }
            for (to, bytes) in sent {
                server.take(to, &bytes, &mut replies);
            }
        }
        // Nobody asks a broken connection again, which may have been due for a check.
        let broken = matches!(progress.last(), Some(Progress::Broken(_)));
        if broken || (idle && client.due() > now) {
            break;
        }
    }
    progress
}

fn client(identity: &Identity, answer: &Answer, now: Instant) -> Transport {
    Transport::new(
        identity,
        answer,
        "ours",
        "our password, long",
        at(HERE),
        now,
    )
    .unwrap()
}

#[test]
fn lite_and_full_servers_are_reached_and_give_the_same_keys() {
    for lite in [true, false] {
        let (ours, theirs) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let now = Instant::now();
        let mut client = client(&ours, &answer(&theirs, lite), now);
        let mut server = Server::new(&theirs, now);
        let progress = exchange(&mut client, &mut server, now);
        assert!(
            matches!(progress[..], [Progress::Nominated(to), Progress::Secured(_)] if to == at(THERE)),
            "{progress:?}"
        );
        assert!(server.secured);
        assert_eq!(server.checks, 2);
    }
}

#[test]
fn answers_to_checks_that_do_not_nominate_make_no_nomination() {
    let (ours, theirs) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let start = Instant::now();
    let mut client = client(&ours, &answer(&theirs, true), start);
    let mut server = Server::new(&theirs, start);
    // A busy server: two checks are under way before it answers the first of them.
    let mut replies = Vec::new();
    for now in [start, start + CHECK_INTERVAL] {
        client.poll(now, &mut |to, bytes| server.take(to, bytes, &mut replies));
    }
    assert_eq!(replies.len(), 2);
    let now = start + CHECK_INTERVAL * 2;
    for (from, bytes) in replies {
        let progress = client.on_stun(now, from, &bytes, &mut |_, _| panic!("nothing to send"));
        assert!(progress.is_none() && server.nominated.is_none());
    }
    let progress = exchange(&mut client, &mut server, now);
    assert!(
        matches!(progress[..], [Progress::Nominated(_), Progress::Secured(_)]),
        "{progress:?}"
    );
    assert_eq!(server.nominated, Some(at(THERE)));
}

#[test]
fn of_a_server_with_several_addresses_one_pair_is_nominated() {
    let (ours, theirs) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let now = Instant::now();
    let mut client = client(&ours, &answer(&theirs, true), now);
    let mut server = Server::new(&theirs, now);
    server.addresses.push(at("192.0.2.9:9"));
    let progress = exchange(&mut client, &mut server, now);
    assert!(
        matches!(progress[..], [Progress::Nominated(to), Progress::Secured(_)] if Some(to) == server.nominated),
        "{progress:?}"
    );
    assert!(server.secured);
    assert_eq!(server.checks, 3);
}

#[test]
fn another_certificate_than_the_answer_names_is_refused() {
    let (ours, theirs) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let now = Instant::now();
    let mut client = client(&ours, &answer(&ours, true), now);
    let mut server = Server::new(&theirs, now);
    let progress = exchange(&mut client, &mut server, now);
    assert!(
        matches!(
            progress.last(),
            Some(Progress::Broken(Broken::OtherCertificate))
        ),
        "{progress:?}"
    );
}

#[test]
fn consent_ends_with_the_answers_to_checks() {
    let (ours, theirs) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let start = Instant::now();
    let mut client = client(&ours, &answer(&theirs, true), start);
    let mut server = Server::new(&theirs, start);
    exchange(&mut client, &mut server, start);
    for second in 1..=60 {
        let now = start + Duration::from_secs(second);
        assert!(
            exchange(&mut client, &mut server, now).is_empty(),
            "second {second}"
        );
    }
    // Every four to six seconds.
    assert!((10..=16).contains(&server.checks), "{}", server.checks);
    server.silent = true;
    let broken = (61..200).find(|second| {
        let now = start + Duration::from_secs(*second);
        let progress = exchange(&mut client, &mut server, now);
        matches!(progress[..], [Progress::Broken(Broken::ConsentLost)])
    });
    assert!((84..=96).contains(&broken.unwrap()), "{broken:?}");
}

#[test]
fn a_server_that_answers_no_check_is_given_up_on() {
    let identity = Identity::generate().unwrap();
    let start = Instant::now();
    let mut client = client(&identity, &answer(&identity, true), start);
    let mut server = Server::new(&identity, start);
    server.silent = true;
    let mut now = start;
    let broken = loop {
        if let Some(progress) = exchange(&mut client, &mut server, now).pop() {
            break progress;
        }
        now = client.due();
    };
    assert!(matches!(broken, Progress::Broken(Broken::NoCheckAnswered)));
    assert_eq!(now - start, CONNECT_MAX);
}

#[test]
fn checks_of_a_full_server_are_answered_and_forged_ones_are_not() {
    let identity = Identity::generate().unwrap();
    let now = Instant::now();
    let mut client = client(&identity, &answer(&identity, false), now);
    let hmac = identity.crypto.sha1_hmac_provider;
    let sign = |key: &[u8], parts: &[&[u8]]| hmac.sha1_hmac(key, parts);
    for (password, replies) in [("our password, long", 1), ("guessed", 0)] {
        let check = StunMessage::binding_request("ours:theirs", TransId::new(), false, 1, 1, false);
        let mut buf = [0; 512];
        let len = check
            .to_bytes(Some(password.as_bytes()), &mut buf, sign)
            .unwrap();
        let mut sent = Vec::new();
        let send: Sending<'_> = &mut |to, bytes| sent.push((to, bytes.to_vec()));
        assert!(client.on_stun(now, at(THERE), &buf[..len], send).is_none());
        assert_eq!(sent.len(), replies);
        for (to, bytes) in sent {
            assert_eq!(to, at(THERE));
            let reply = StunMessage::parse(&bytes).unwrap();
            assert_eq!(reply.mapped_address(), Some(at(THERE)));
            assert!(reply.verify(b"our password, long", sign));
        }
    }
    // Noise is nothing.
    for bytes in [&[][..], &[0; 20], &[1, 1, 0, 0]] {
        assert!(
            client
                .on_stun(now, at(THERE), bytes, &mut |_, _| panic!("an answer"))
                .is_none()
        );
    }
}

#[test]
fn candidates_of_another_family_are_no_way() {
    let identity = Identity::generate().unwrap();
    let mut answer = answer(&identity, true);
    answer.candidates = vec![at("[2001:db8::1]:5")];
    let (now, family) = (Instant::now(), at(HERE));
    assert!(Transport::new(&identity, &answer, "ours", "p", family, now).is_none());
}
