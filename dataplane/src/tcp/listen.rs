//! Which TCP addresses are listened on.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};
use whitewater_link::ShardIndex;

/// A bound and listening socket.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) socket: TcpListener,
    /// The shard whose port it is; `None` where all share one.
    pub(crate) shard: Option<ShardIndex>,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum Refused {
    /// HTTP listens there.
    Http(u16),
    /// The kernel's word.
    Kernel(SocketAddr, io::Error),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Http(port) => write!(
                f,
                "TCP port {port} is HTTP's: choose another for http.listen or media.udp"
            ),
            Refused::Kernel(address, error) => write!(f, "TCP {address}: {error}"),
        }
    }
}

/// Listens on the addresses of `udp`, over TCP. Where HTTP has the port on one address of all,
/// such as loopback, every other one of `interfaces` is listened on by itself.
///
/// # Errors
/// Why there is nothing to listen on.
pub(crate) fn listen(
    udp: SocketAddr,
    http: &[SocketAddr],
    interfaces: &[IpAddr],
    shard: Option<ShardIndex>,
) -> Result<Vec<Listening>, Refused> {
    let mut refused = Refused::Http(udp.port());
    let mut sockets = Vec::new();
    for address in addresses(udp, http, interfaces) {
        match open(address) {
            Ok(socket) => sockets.push(Listening { socket, shard }),
            Err(error) => refused = Refused::Kernel(address, error),
        }
    }
    if sockets.is_empty() {
        return Err(refused);
    }
    Ok(sockets)
}

fn addresses(udp: SocketAddr, http: &[SocketAddr], interfaces: &[IpAddr]) -> Vec<SocketAddr> {
    let same_port = http.iter().filter(|http| http.port() == udp.port());
    let taken: Vec<IpAddr> = same_port.map(|http| http.ip().to_canonical()).collect();
    if taken
        .iter()
        .any(|ip| ip.is_unspecified() || *ip == udp.ip())
    {
        return Vec::new();
    }
    if taken.is_empty() || !udp.ip().is_unspecified() {
        return vec![udp];
    }
    let reached = |ip: &&IpAddr| (udp.is_ipv6() || ip.is_ipv4()) && !taken.contains(ip);
    let others = interfaces.iter().filter(reached);
    others.map(|ip| SocketAddr::new(*ip, udp.port())).collect()
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Connections of a server that has just ended do not keep the port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

const BACKLOG: i32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(udp: &str, http: &[&str]) -> Vec<String> {
        let interfaces =
            ["127.0.0.1", "192.0.2.7", "2001:db8::7"].map(|ip| ip.parse().expect("an address"));
        let address = |text: &str| text.parse().expect("an address");
        let http: Vec<SocketAddr> = http.iter().map(|http| address(http)).collect();
        let chosen = addresses(address(udp), &http, &interfaces);
        chosen.iter().map(SocketAddr::to_string).collect()
    }

    #[test]
    fn the_media_address_is_listened_on_where_http_is_elsewhere() {
        assert_eq!(chosen("0.0.0.0:7", &[]), ["0.0.0.0:7"]);
        assert_eq!(chosen("[::]:7", &["0.0.0.0:8"]), ["[::]:7"]);
        assert_eq!(chosen("192.0.2.7:7", &["127.0.0.1:7"]), ["192.0.2.7:7"]);
    }

    #[test]
    fn http_on_loopback_leaves_the_other_addresses() {
        let v4 = ["192.0.2.7:7"];
        assert_eq!(chosen("0.0.0.0:7", &["127.0.0.1:7"]), v4);
        let both = ["192.0.2.7:7", "[2001:db8::7]:7"];
        assert_eq!(chosen("[::]:7", &["127.0.0.1:7"]), both);
        let rest = ["[2001:db8::7]:7"];
        assert_eq!(chosen("[::]:7", &["127.0.0.1:7", "192.0.2.7:7"]), rest);
    }

    #[test]
    fn http_everywhere_leaves_nothing() {
        for http in ["0.0.0.0:7", "[::]:7"] {
            assert_eq!(chosen("0.0.0.0:7", &["127.0.0.1:7", http]), [""; 0]);
        }
        assert_eq!(chosen("192.0.2.7:7", &["192.0.2.7:7"]), [""; 0]);
    }
}
