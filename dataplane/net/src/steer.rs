//! Which socket of a SO_REUSEPORT group the kernel hands a datagram to.
//!
//! By itself the kernel picks one by a hash of the addresses and ports. A classic BPF program on
//! the group can pick another; unlike eBPF it needs no capability. Ours reads the number out of
//! the user name of a STUN binding request, finds the peers it was told of in a search tree that
//! is part of the program, and leaves the rest to the kernel. A new program replaces the old one
//! in one step, so the tree is changed by compiling it anew.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libc::sock_filter;

use crate::sys;

/// The selector of one group.
#[derive(Debug)]
pub struct Selector {
    /// Any socket of the group.
    socket: OwnedFd,
    socket_count: u16,
    seed: u32,
    pins_max: usize,
}

impl Selector {
    /// A selector for the group that `socket` belongs to, which has `socket_count` sockets;
    /// their numbers are the order in which they were bound. `seed` makes it unpredictable
    /// which peers' addresses look alike.
    ///
    /// A STUN binding request (RFC 8489 §5) whose first attribute is USERNAME and starts with two
    /// hexadecimal digits goes to the socket of this number from now on.
    ///
    /// # Errors
    /// The kernel's; the group stays as it was.
    pub fn attach(socket: BorrowedFd<'_>, socket_count: u16, seed: u32) -> io::Result<Self> {
        let mut selector = Self {
            socket: socket.try_clone_to_owned()?,
            socket_count,
            seed,
            pins_max: PINS_MAX,
        };
        selector.pin(&[])?;
        Ok(selector)
    }

    /// Hands the datagrams of these peers to the sockets of these numbers, and no longer those of
    /// other peers. Returns how many peers there was room for: the first so many count.
    ///
    /// # Errors
    /// The kernel's; the group stays as it was.
    pub fn pin(&mut self, pins: &[(SocketAddr, u16)]) -> io::Result<usize> {
        loop {
            let count = pins.len().min(self.pins_max);
            let program = program(&pins[..count], self.socket_count, self.seed);
            match sys::attach_reuseport_program(self.socket.as_fd(), &program) {
                Ok(()) => return Ok(count),
                // net.core.optmem_max: 20 KiB before Linux 6.7, room for some hundreds.
                Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && count > 0 => {
                    self.pins_max = count / 2;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// The whole program. Datagrams are seen from the start of their UDP payload.
fn program(pins: &[(SocketAddr, u16)], socket_count: u16, seed: u32) -> Vec<sock_filter> {
    let mut program = by_user_name(socket_count);
    if pins.is_empty() {
        program.push(ret(NO_SOCKET));
        return program;
    }
    program.extend(hash_of_source(seed));
    let mut table: Vec<(u32, u16)> = pins
        .iter()
        .filter(|(_, socket)| *socket < socket_count)
        .map(|(peer, socket)| (key(*peer, seed), *socket))
        .collect();
    table.sort_by_key(|(key, _)| *key);
    // Two peers with one key: one of them is where the other is.
    table.dedup_by_key(|(key, _)| *key);
    search(&table, &mut program);
    program
}

/// Returns the number in the user name of a binding request; goes on behind itself otherwise.
fn by_user_name(socket_count: u16) -> Vec<sock_filter> {
    let mut code = Vec::new();
    // Where the accumulator is not as it should be, all that is left is jumped over.
    let mut checks = Vec::new();
    let mut require = |code: &mut Vec<sock_filter>, load: Option<(u16, u32)>, jump, k| {
        if let Some((size, at)) = load {
            code.push(load_absolute(size, at));
        }
        checks.push(code.len());
        code.push(compare(jump, k));
    };
    // Header 20, attribute header 4, two digits.
    code.push(plain(LOAD_SIZE, 0));
    require(&mut code, None, JUMP_IF_AT_LEAST, 26);
    require(&mut code, Some((HALF, 0)), JUMP_IF_EQUAL, BINDING_REQUEST);
    require(&mut code, Some((WORD, 4)), JUMP_IF_EQUAL, MAGIC_COOKIE);
    require(&mut code, Some((HALF, 20)), JUMP_IF_EQUAL, USERNAME);
    code.push(load_absolute(BYTE, 24));
    code.extend(hexadecimal_digit());
    code.push(plain(SHIFT_LEFT, 4));
    code.push(plain(STORE, 0));
    code.push(load_absolute(BYTE, 25));
    code.extend(hexadecimal_digit());
    code.push(plain(TO_X, 0));
    code.push(plain(LOAD_MEMORY, 0));
    code.push(plain(OR_X, 0));
    // What was no digit is too large.
    code.push(sock_filter {
        jt: 1,
        ..compare(JUMP_IF_AT_LEAST, socket_count.into())
    });
    code.push(plain(RETURN_ACCUMULATOR, 0));
    let end = code.len();
    for check in checks {
        code[check].jf = (end - check - 1) as u8;
    }
    code
}

/// Turns a lower-case digit in the accumulator into its value, anything else into another number.
fn hexadecimal_digit() -> [sock_filter; 4] {
    [
        sock_filter {
            jf: 1,
            ..compare(JUMP_IF_AT_LEAST, u32::from(b'a'))
        },
        plain(SUBTRACT, u32::from(b'a' - b'0') - 10),
        plain(SUBTRACT, u32::from(b'0')),
        // Keeps what has no value out of the other digit's way.
        plain(AND, 0x0fff_ffff),
    ]
}

/// Leaves [`key`] of the sender in the accumulator. Returns [`NO_SOCKET`] for headers that are not
/// as they are everywhere: IPv4 with options, IPv6 with extensions.
fn hash_of_source(seed: u32) -> Vec<sock_filter> {
    let mut v4 = vec![plain(LOAD_X, seed)];
    mix(&mut v4, (WORD, NETWORK + 12));
    mix(&mut v4, (HALF, NETWORK + 20));

    let mut v6 = vec![
        load_absolute(BYTE, NETWORK + 6),
        sock_filter {
            jt: 1,
            ..compare(JUMP_IF_EQUAL, UDP)
        },
        ret(NO_SOCKET),
        plain(LOAD_X, seed),
    ];
    for word in 0..4 {
        mix(&mut v6, (WORD, NETWORK + 8 + 4 * word));
    }
    mix(&mut v6, (HALF, NETWORK + 40));

    let mut code = vec![
        load_absolute(BYTE, NETWORK),
        // Version 4, a header of five words.
        sock_filter {
            jf: v4.len() as u8 + 1,
            ..compare(JUMP_IF_EQUAL, 0x45)
        },
    ];
    code.append(&mut v4);
    code.push(plain(JUMP, v6.len() as u32 + 3));
    code.push(plain(AND, 0xf0));
    code.push(sock_filter {
        jt: 1,
        ..compare(JUMP_IF_EQUAL, 0x60)
    });
    code.push(ret(NO_SOCKET));
    code.append(&mut v6);
    code.push(plain(AND, KEY_MAX));
    code
}

/// X = mix of X and the value at `at`; the accumulator is the same.
fn mix(code: &mut Vec<sock_filter>, (size, at): (u16, u32)) {
    code.extend([
        load_absolute(size, at),
        plain(XOR_X, 0),
        plain(MULTIPLY, MULTIPLIER),
        plain(TO_X, 0),
        plain(SHIFT_RIGHT, 15),
        plain(XOR_X, 0),
        plain(TO_X, 0),
    ]);
}

/// What [`hash_of_source`] computes.
fn key(peer: SocketAddr, seed: u32) -> u32 {
    let mix = |hash: u32, value: u32| {
        let product = (hash ^ value).wrapping_mul(MULTIPLIER);
        product ^ (product >> 15)
    };
    let hash = match peer.ip().to_canonical() {
        IpAddr::V4(ip) => mix(seed, ip.to_bits()),
        IpAddr::V6(ip) => {
            let words = [96, 64, 32, 0].map(|shift| (ip.to_bits() >> shift) as u32);
            words.into_iter().fold(seed, mix)
        }
    };
    mix(hash, peer.port().into()) & KEY_MAX
}

/// Returns the socket of the key in the accumulator, [`NO_SOCKET`] for others. `table` is sorted.
fn search(table: &[(u32, u16)], code: &mut Vec<sock_filter>) {
    if table.len() <= LEAF_LEN_MAX {
        for &(key, socket) in table {
            code.push(sock_filter {
                jf: 1,
                ..compare(JUMP_IF_EQUAL, key)
            });
            code.push(ret(socket.into()));
        }
        code.push(ret(NO_SOCKET));
        return;
    }
    let (left, right) = table.split_at(table.len() / 2);
    let pivot = right.first().map_or(0, |(key, _)| *key);
    // Conditional jumps reach 255 instructions, the plain one reaches everything.
    code.push(sock_filter {
        jf: 1,
        ..compare(JUMP_IF_AT_LEAST, pivot)
    });
    let jump = code.len();
    code.push(plain(JUMP, 0));
    search(left, code);
    code[jump].k = (code.len() - jump - 1) as u32;
    search(right, code);
}

fn plain(code: u16, k: u32) -> sock_filter {
    sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// Goes on in either case until a distance is filled in.
fn compare(code: u16, k: u32) -> sock_filter {
    plain(code, k)
}

fn load_absolute(size: u16, at: u32) -> sock_filter {
    plain((libc::BPF_LD | libc::BPF_ABS) as u16 | size, at)
}

fn ret(value: u32) -> sock_filter {
    plain((libc::BPF_RET | libc::BPF_K) as u16, value)
}

const WORD: u16 = libc::BPF_W as u16;
const HALF: u16 = libc::BPF_H as u16;
const BYTE: u16 = libc::BPF_B as u16;
const LOAD_SIZE: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_LEN) as u16;
const LOAD_MEMORY: u16 = (libc::BPF_LD | libc::BPF_MEM) as u16;
const LOAD_X: u16 = (libc::BPF_LDX | libc::BPF_IMM) as u16;
const STORE: u16 = libc::BPF_ST as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JUMP_IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const SUBTRACT: u16 = (libc::BPF_ALU | libc::BPF_SUB | libc::BPF_K) as u16;
const MULTIPLY: u16 = (libc::BPF_ALU | libc::BPF_MUL | libc::BPF_K) as u16;
const SHIFT_LEFT: u16 = (libc::BPF_ALU | libc::BPF_LSH | libc::BPF_K) as u16;
const SHIFT_RIGHT: u16 = (libc::BPF_ALU | libc::BPF_RSH | libc::BPF_K) as u16;
const OR_X: u16 = (libc::BPF_ALU | libc::BPF_OR | libc::BPF_X) as u16;
const XOR_X: u16 = (libc::BPF_ALU | libc::BPF_XOR | libc::BPF_X) as u16;
const TO_X: u16 = (libc::BPF_MISC | libc::BPF_TAX) as u16;
const RETURN_ACCUMULATOR: u16 = (libc::BPF_RET | libc::BPF_A) as u16;
/// linux/filter.h; where the network header starts, whatever the socket has taken off.
const NETWORK: u32 = libc::SKF_NET_OFF as u32;
/// An index no group has: the kernel falls back to its own hash.
const NO_SOCKET: u32 = u32::MAX;
/// RFC 8489 §5, a binding request.
const BINDING_REQUEST: u32 = 0x0001;
/// RFC 8489 §5.
const MAGIC_COOKIE: u32 = 0x2112_a442;
/// RFC 8489 §14.3.
const USERNAME: u32 = 0x0006;
const UDP: u32 = libc::IPPROTO_UDP as u32;
/// Odd, with its bits well spread: 2^32 divided by the golden ratio.
const MULTIPLIER: u32 = 0x9e37_79b9;
/// 31 bits: with the highest one a comparison takes the kernel an instruction more.
const KEY_MAX: u32 = 0x7fff_ffff;
/// So many keys are compared one by one.
const LEAF_LEN_MAX: usize = 8;
/// The most peers of one program: 2.5 instructions each, of the 4,096 that a program may have.
const PINS_MAX: usize = 1024;

#[cfg(test)]
mod tests;
