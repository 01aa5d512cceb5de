use super::*;

fn caller(networks: &[&str], hosts: &[&str]) -> Caller {
    Caller::new(&Cascade {
        networks: networks
            .iter()
            .map(|text| {
                let (address, bits) = text.split_once('/').expect("a block");
                Network {
                    address: address.parse().expect("an address"),
                    prefix_len: bits.parse().expect("a number"),
                }
            })
            .collect(),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        ..Cascade::default()
    })
}

async fn look_up(caller: &Caller, url: &str) -> Result<Target, Failure> {
    let parsed = Url::parse(url).map_err(|_| Failure::Blocked)?;
    caller.look_up(parsed).await
}

/// Ways to write this machine, its networks and the metadata servers of clouds.
const INSIDE: &[&str] = &[
    "http://127.0.0.1/whep/a",
    "http://127.0.0.1:80/whep/a",
    "https://127.0.0.1/whep/a",
    "http://127.1/whep/a",
    "http://127.0.1/whep/a",
    "http://127.255.255.254/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://0/",
    "http://0.0.0.0/",
    "http://0.0.0.0:7777/whip/a",
    "http://0.1.2.3/",
    "http://localhost/",
    "http://LOCALHOST/",
    "http://localhost:7777/whip/a",
    "http://10.0.0.1/",
    "http://10.255.255.255/",
    "http://167772161/",
    "http://0xa.0.0.1/",
    "http://012.0.0.1/",
    "http://100.64.0.1/",
    "http://100.100.100.200/latest/meta-data",
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.170.2/v2/credentials",
    "http://169.254.1/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://168.63.129.16/",
    "http://172.16.0.1/",
    "http://172.31.255.254/",
    "http://192.0.0.192/",
    "http://192.0.2.1/",
    "http://192.168.0.1/",
    "http://192.168.1/",
    "http://3232235777/",
    "http://198.18.0.1/",
    "http://198.51.100.1/",
    "http://203.0.113.1/",
    "http://224.0.0.1/",
    "http://239.255.255.250:1900/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[::]/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::1]:7777/whip/a",
    "http://[::127.0.0.1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:0:0]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::1]/",
    "http://[100::1]/",
    "http://[2001::1]/",
    "http://[2001:db8::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/latest/meta-data",
    "http://[fe80::1]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://user@127.0.0.1/",
    "http://example.com@127.0.0.1/",
    "ftp://127.0.0.1/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "unix:/run/docker.sock",
];

#[tokio::test]
async fn nothing_inside_is_called_by_default_however_it_is_written() {
    assert!(INSIDE.len() >= 60, "{}", INSIDE.len());
    let caller = caller(&[], &[]);
    for url in INSIDE {
        let found = look_up(&caller, url).await;
        // A form that the system's own resolver does not know leads nowhere either.
        let kept_out = matches!(found, Err(Failure::Blocked | Failure::Unreachable(_)));
        assert!(kept_out, "{url}: {found:?}");
        if let Ok(url) = Url::parse(url)
            && url.host.parse::<std::net::IpAddr>().is_ok()
        {
            assert!(matches!(found, Err(Failure::Blocked)), "{url:?}");
        }
    }
}

#[tokio::test]
async fn servers_of_the_internet_and_those_that_are_named_are_called() {
    let open = caller(&[], &[]);
    for url in ["https://8.8.8.8/whep/a", "http://[2606:4700::1111]/whip/a"] {
        let target = look_up(&open, url).await.expect(url);
        assert!(!target.is_named && !target.is_loopback());
    }
    let inner = caller(&["10.1.0.0/16", "::1/128"], &["localhost"]);
    for (url, allowed) in [
        ("http://10.1.2.3/", true),
        ("http://[::ffff:10.1.2.3]/", true),
        ("http://10.2.0.1/", false),
        ("http://[::1]:81/", true),
        ("http://localhost:81/", true),
        ("http://127.0.0.1:81/", false),
    ] {
        let target = look_up(&inner, url).await;
        match (&target, allowed) {
            (Ok(target), true) => assert!(target.is_named, "{url}"),
            (Err(Failure::Blocked | Failure::Unreachable(_)), false) => {}
            _ => panic!("{url}: {target:?}"),
        }
    }
    assert!(inner.names_host("LocalHost."));
    assert!(!inner.names_host("localhost.evil.example"));
}

#[test]
fn of_a_name_with_good_and_bad_addresses_only_the_good_ones_are_called() {
    let open = caller(&[], &[]);
    let url = Url::parse("http://both.example/whep/a").expect("a URL");
    let found = |addresses: &[&str]| {
        let parse = |text: &&str| format!("{text}:80").parse().expect("an address");
        let addresses = addresses.iter().map(parse).collect();
        open.judge(url.clone(), addresses)
    };
    let target = found(&["127.0.0.1", "8.8.8.8", "10.0.0.1"]).expect("one is good");
    // What is called later is what was judged: another look at the name would change nothing.
    let called: Vec<String> = target.addresses.iter().map(SocketAddr::to_string).collect();
    assert_eq!(called, ["8.8.8.8:80"]);
    assert!(matches!(
        found(&["127.0.0.1", "[::1]"]),
        Err(Failure::Blocked)
    ));
    assert!(matches!(found(&[]), Err(Failure::Unreachable(_))));
    let many = vec!["8.8.8.8"; 100];
    assert_eq!(found(&many).expect("good").addresses.len(), ADDRESSES_MAX);
}

#[test]
fn candidates_may_be_where_their_server_may_be() {
    let inner = caller(&["10.1.0.0/16"], &["edge.example"]);
    let reach = |url: &str, address: &str| {
        let url = Url::parse(url).expect("a URL");
        let address: SocketAddr = address.parse().expect("an address");
        let target = inner.judge(url, vec![address]).expect("it may be called");
        inner.reach_of(&target)
    };
    let ip = |text: &str| text.parse().expect("an address");
    let of_host = reach("http://edge.example/", "192.168.3.4:80");
    assert!(of_host.allows(ip("192.168.3.4")), "the host's own address");
    assert!(of_host.allows(ip("10.1.9.9")));
    assert!(!of_host.allows(ip("192.168.3.5")), "its neighbour");
    let of_block = reach("http://10.1.2.3/", "10.1.2.3:80");
    assert!(!of_block.allows(ip("192.168.3.4")));
    assert!(!of_block.allows(ip("127.0.0.1")));
}

#[test]
fn a_token_is_a_bearer_token_unless_it_says_otherwise() {
    for (token, value) in [
        ("abc", "Bearer abc"),
        ("Bearer abc", "Bearer abc"),
        ("Basic dTpw", "Basic dTpw"),
        ("bearer abc", "bearer abc"),
    ] {
        let made = authorization(token).expect(token);
        assert_eq!(made.as_bytes(), value.as_bytes());
        assert!(made.is_sensitive());
        assert!(!format!("{made:?}").contains("abc"));
    }
    for bad in ["a\nb", "a\r\nX: y", "a\0"] {
        assert!(authorization(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let headers = |text: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, text.parse().expect("a value"));
        retry_after(&headers)
    };
    assert_eq!(headers("3"), Some(Duration::from_secs(3)));
    assert_eq!(headers("999999999"), Some(RETRY_AFTER_MAX));
    assert_eq!(headers("soon"), None);
    assert_eq!(headers("-1"), None);
    let past = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH);
    assert_eq!(headers(&past), Some(Duration::ZERO));
    let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
    let after = headers(&later).expect("a date");
    assert!((50..=60).contains(&after.as_secs()), "{after:?}");
    assert_eq!(retry_after(&HeaderMap::new()), None);
}

#[test]
fn another_server_hears_a_token_only_if_it_is_named() {
    let caller = caller(&["10.0.0.0/8"], &["edge.example"]);
    let target = |url: &str, address: &str| {
        let address = address.parse().expect("an address");
        let url = Url::parse(url).expect("a URL");
        caller.judge(url, vec![address]).expect("it may be called")
    };
    let first = target("https://a.example/whep/x", "8.8.8.8:443");
    for (url, address, hears) in [
        ("https://a.example/session/1", "8.8.8.8:443", true),
        ("https://A.EXAMPLE:443/session/1", "8.8.8.8:443", true),
        ("https://a.example:8443/session/1", "8.8.8.8:8443", false),
        ("https://b.example/session/1", "8.8.8.8:443", false),
        ("https://edge.example/session/1", "9.9.9.9:443", true),
        ("https://10.0.0.7/session/1", "10.0.0.7:443", true),
    ] {
        assert_eq!(target(url, address).hears_token_of(&first), hears, "{url}");
    }
}
