//! What a client's datagrams travel on: a UDP socket, or frames on a TCP connection (RFC 4571).

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Udp,
    Tcp,
}

/// A client's way to the node.
pub(crate) enum Transport {
    Udp(UdpSocket),
    Tcp(Connection),
}

/// An ICE TCP connection. To the client's WebRTC engine it looks like UDP.
pub(crate) struct Connection {
    stream: TcpStream,
    node: SocketAddr,
    unread: Vec<u8>,
    unwritten: Vec<u8>,
}

impl Transport {
    pub(crate) fn udp(ip: IpAddr) -> Transport {
        let socket = UdpSocket::bind((ip, 0)).expect("a socket");
        socket.set_nonblocking(true).expect("a non-blocking socket");
        Transport::Udp(socket)
    }

    pub(crate) fn tcp(node: SocketAddr) -> Transport {
        let stream = TcpStream::connect(node).expect("the node listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_nonblocking(true).expect("a non-blocking socket");
        Transport::Tcp(Connection {
            stream,
            node,
            unread: Vec::new(),
            unwritten: Vec::new(),
        })
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        match self {
            Transport::Udp(socket) => socket.as_fd(),
            Transport::Tcp(connection) => connection.stream.as_fd(),
        }
    }

    /// The client's own address.
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Transport::Udp(socket) => socket.local_addr().expect("bound"),
            Transport::Tcp(connection) => connection.stream.local_addr().expect("connected"),
        }
    }

    /// Takes one datagram and says who sent it.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match self {
            Transport::Udp(socket) => socket.recv_from(buffer),
            Transport::Tcp(connection) => {
                let size = connection.receive(buffer)?;
                Ok((size, connection.node))
            }
        }
    }

    /// What does not fit is lost over UDP and waits over TCP.
    pub(crate) fn send(&mut self, datagram: &[u8], to: SocketAddr) {
        match self {
            // A full socket is a loss like any other.
            Transport::Udp(socket) => _ = socket.send_to(datagram, to),
            Transport::Tcp(connection) => connection.send(datagram),
        }
    }
}

impl Connection {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.flush();
        loop {
            if let Some((size, rest)) = self.unread.split_first_chunk() {
                let size = usize::from(u16::from_be_bytes(*size));
                if let Some(frame) = rest.get(..size) {
                    buffer[..size].copy_from_slice(frame);
                    self.unread.drain(..2 + size);
                    return Ok(size);
                }
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes)? {
                0 => return Err(io::ErrorKind::WouldBlock.into()),
                size => self.unread.extend(&bytes[..size]),
            }
        }
    }

    fn send(&mut self, datagram: &[u8]) {
        let size = u16::try_from(datagram.len()).expect("a datagram");
        self.unwritten.extend(size.to_be_bytes());
        self.unwritten.extend(datagram);
        self.flush();
    }

    fn flush(&mut self) {
        while !self.unwritten.is_empty() {
            match self.stream.write(&self.unwritten) {
                Ok(size) => drop(self.unwritten.drain(..size)),
                // Full, or closed by the node: then nothing comes back either.
                Err(_) => return,
            }
        }
    }
}
