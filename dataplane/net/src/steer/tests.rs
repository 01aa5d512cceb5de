//! With a real group of sockets: the kernel's word counts.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::*;

/// Sockets that share one port of all addresses of both families, and a selector over them.
struct Group {
    sockets: Vec<UdpSocket>,
    port: u16,
}

impl Group {
    /// `None` where there is no IPv6.
    fn open(ip: IpAddr) -> Option<Self> {
        let mut group = Group {
            sockets: Vec::new(),
            port: 0,
        };
        for _ in 0..SOCKETS {
            let address = SocketAddr::new(ip, group.port);
            let socket = match shared(address) {
                Err(_) if ip.is_ipv6() => return None,
                bound => bound.expect("a socket"),
            };
            socket
                .set_read_timeout(Some(Duration::from_millis(1)))
                .expect("a timeout");
            group.port = socket.local_addr().expect("bound").port();
            group.sockets.push(socket);
        }
        Some(group)
    }

    fn selector(&self) -> Selector {
        Selector::attach(self.sockets[0].as_fd(), SOCKETS, SEED).expect("needs no capability")
    }

    /// The number of the socket that a datagram from `from` reaches.
    fn reached(&self, from: &UdpSocket, bytes: &[u8]) -> u16 {
        let ip = from.local_addr().expect("bound").ip();
        from.send_to(bytes, (ip, self.port)).expect("sent");
        let mut buffer = [0; 2048];
        for _ in 0..1000 {
            for (number, socket) in self.sockets.iter().enumerate() {
                if let Ok(size) = socket.recv(&mut buffer) {
                    assert_eq!(&buffer[..size], bytes);
                    return number as u16;
                }
            }
        }
        panic!("no socket has it");
    }
}

fn shared(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A group for IPv4 alone and one for both families, each with the addresses it is reached at.
fn groups() -> Vec<(Group, Vec<IpAddr>)> {
    let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let single = Group::open(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).expect("IPv4");
    let mut groups = vec![(single, vec![v4])];
    if let Some(dual) = Group::open(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) {
        let mut reachable = vec![v4];
        if UdpSocket::bind((v6, 0)).is_ok() {
            reachable.push(v6);
        }
        groups.push((dual, reachable));
    }
    groups
}

/// The start of a check with this user name (RFC 8445 §7.1).
fn binding_request(user_name: &str) -> Vec<u8> {
    let padded = user_name.len().next_multiple_of(4);
    let mut bytes = vec![0, 1, 0, padded as u8 + 4, 0x21, 0x12, 0xa4, 0x42];
    bytes.extend([7; 12]);
    bytes.extend([0, 6, 0, user_name.len() as u8]);
    bytes.extend(user_name.bytes());
    bytes.resize(24 + padded, 0);
    bytes
}

#[test]
fn a_check_reaches_the_socket_that_its_user_name_begins_with() {
    for (group, reachable) in groups() {
        let _selector = group.selector();
        for ip in reachable {
            let from = UdpSocket::bind((ip, 0)).expect("a socket");
            for number in 0..SOCKETS {
                let check = binding_request(&format!("{number:02x}abcdefgh:peer"));
                assert_eq!(group.reached(&from, &check), number, "{ip}");
            }
        }
    }
}

#[test]
fn what_names_no_socket_goes_where_the_kernel_has_it() {
    let (group, _) = groups().remove(0);
    let from = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let usual = group.reached(&from, b"anything");
    let _selector = group.selector();
    let other = format!("{:02x}", (usual + 1) % SOCKETS);
    let mut response = binding_request(&other);
    response[0] = 1;
    let mut no_cookie = binding_request(&other);
    no_cookie[4] = 0;
    let mut other_attribute = binding_request(&other);
    other_attribute[21] = 0x25;
    let mut cut = binding_request(&other);
    cut.truncate(25);
    let unnamed = [SOCKETS, 0xff].map(|number| binding_request(&format!("{number:02x}abc:peer")));
    let no_digits = ["zz:", "/0:", "0/:", ":0:", "0G:", "`0:"].map(binding_request);
    for datagram in [vec![], vec![0], response, no_cookie, other_attribute, cut]
        .into_iter()
        .chain(unnamed)
        .chain(no_digits)
    {
        assert_eq!(group.reached(&from, &datagram), usual, "{datagram:02x?}");
    }
}

#[test]
fn pinned_peers_reach_their_socket_and_others_stay_where_they_were() {
    for (group, reachable) in groups() {
        let mut selector = group.selector();
        for ip in reachable {
            let peers: Vec<UdpSocket> = (0..24)
                .map(|_| UdpSocket::bind((ip, 0)).expect("a socket"))
                .collect();
            let usual: Vec<u16> = peers.iter().map(|p| group.reached(p, b"media")).collect();
            let pinned = &peers[..12];
            // Many more, so that the tree is deep.
            let strangers = (0..900_u16).map(|n| (SocketAddr::from(([192, 0, 2, 9], n)), 0));
            let pins: Vec<(SocketAddr, u16)> = pinned
                .iter()
                .zip(&usual)
                .map(|(peer, usual)| (peer.local_addr().expect("bound"), (usual + 1) % SOCKETS))
                .chain(strangers)
                .collect();
            assert!(selector.pin(&pins).expect("accepted") >= 12);
            for (index, peer) in peers.iter().enumerate() {
                let expected = pins[..12].get(index).map_or(usual[index], |(_, to)| *to);
                assert_eq!(group.reached(peer, b"media"), expected, "{ip}");
            }
            selector.pin(&[]).expect("accepted");
            for (peer, usual) in peers.iter().zip(&usual) {
                assert_eq!(group.reached(peer, b"media"), *usual, "{ip}");
            }
        }
    }
}

#[test]
fn a_program_never_grows_beyond_what_the_kernel_takes() {
    let (group, _) = groups().remove(0);
    let mut selector = group.selector();
    let peer = |n: u32| SocketAddr::from((Ipv4Addr::from_bits(n), 9));
    let pins: Vec<_> = (0..5000).map(|n| (peer(n), (n % 4) as u16)).collect();
    let count = selector.pin(&pins).expect("accepted");
    assert!((100..=PINS_MAX).contains(&count), "{count} peers");
    assert!(program(&pins[..PINS_MAX], SOCKETS, SEED).len() <= libc::BPF_MAXINSNS as usize);
}

#[test]
fn a_socket_without_a_group_is_refused() {
    let alone = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    assert!(Selector::attach(alone.as_fd(), 2, SEED).is_err());
}

const SOCKETS: u16 = 4;
const SEED: u32 = 0x1234_5678;
