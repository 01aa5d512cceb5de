//! The types of values: how each is read from what was written, and how it is shown again.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::{Range, RangeInclusive};

use super::node::{Entry, Kind, Node, Shape, shorten};
use super::problem::nearest;

/// Something a key can hold.
pub(crate) trait Value: Sized {
    /// How a value from the environment or a flag is taken.
    const SHAPE: Shape = Shape::Text;

    /// Whether a value is, or holds, something that must never be shown.
    const SECRET: bool = false;

    /// What is accepted, as the end of the sentence "allowed: …".
    fn allowed(range: &RangeInclusive<i64>) -> String;

    /// Judges a written value. `range` bounds whole numbers and is ignored by every other type.
    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused>;

    /// The value in TOML; secrets masked.
    fn render(&self) -> String;
}

/// Why a value is refused.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The part which is refused, if not the whole; empty without a file.
    pub(crate) span: Range<usize>,
    /// The path from the key to that part: `[0].urls[1]`.
    pub(crate) path: String,
    /// What is wrong, after the key: `cannot be "x"`.
    pub(crate) complaint: String,
    pub(crate) allowed: String,
    pub(crate) hint: Option<String>,
}

impl Refused {
    fn new(node: &Node, allowed: impl Into<String>) -> Self {
        Self {
            span: node.span.clone(),
            path: String::new(),
            complaint: format!("cannot be {}", node.shown()),
            allowed: allowed.into(),
            hint: None,
        }
    }

    fn masked(mut self) -> Self {
        self.complaint = "cannot be what is written (not shown: it may be secret)".to_owned();
        self
    }

    fn complaint(mut self, complaint: impl Into<String>) -> Self {
        self.complaint = complaint.into();
        self
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn below(mut self, step: &str) -> Self {
        self.path.insert_str(0, step);
        self
    }
}

impl Value for bool {
    const SHAPE: Shape = Shape::Switch;

    fn allowed(_: &RangeInclusive<i64>) -> String {
        "true or false".to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        match node.kind {
            Kind::Switch(on) => Ok(on),
            _ => Err(Refused::new(node, Self::allowed(range))),
        }
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

macro_rules! whole_numbers {
    ($($number:ty),+) => {$(
        impl Value for $number {
            const SHAPE: Shape = Shape::Number;

            fn allowed(range: &RangeInclusive<i64>) -> String {
                format!("a whole number from {} to {}", range.start(), range.end())
            }

            fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
                match node.kind {
                    Kind::Number(number) if range.contains(&number) => Self::try_from(number).ok(),
                    _ => None,
                }
                .ok_or_else(|| Refused::new(node, Self::allowed(range)))
            }

            fn render(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

whole_numbers!(u16, u32, u64, usize, i64);

impl<T: Value> Value for Vec<T> {
    const SHAPE: Shape = match T::SHAPE {
        Shape::Tables => Shape::Tables,
        _ => Shape::List,
    };
    const SECRET: bool = T::SECRET;

    fn allowed(range: &RangeInclusive<i64>) -> String {
        format!("a list, each {}", T::allowed(range))
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        let Kind::List(items) = &node.kind else {
            let refused = Refused::new(node, Self::allowed(range));
            return Err(if T::SECRET { refused.masked() } else { refused });
        };
        let mut values = Self::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let value = T::read(item, range).map_err(|e| e.below(&format!("[{index}]")))?;
            values.push(value);
        }
        Ok(values)
    }

    fn render(&self) -> String {
        let items: Vec<String> = self.iter().map(Value::render).collect();
        format!("[{}]", items.join(", "))
    }
}

impl Value for SocketAddr {
    fn allowed(_: &RangeInclusive<i64>) -> String {
        "an IP address and a port, as \"127.0.0.1:7777\" or \"[::]:7777\"".to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        let refused = || Refused::new(node, Self::allowed(range));
        let Kind::Text(text) = &node.kind else {
            return Err(match node.kind {
                Kind::Number(port) => refused().hint(every_address(&port.to_string())),
                _ => refused(),
            });
        };
        text.parse().map_err(|_| {
            if let Ok(address) = text.parse::<IpAddr>() {
                let example = SocketAddr::new(address, 7777);
                refused().hint(format!("the port is missing: write \"{example}\""))
            } else if let Some(port) = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")) {
                refused().hint(every_address(port))
            } else if text.starts_with("localhost") {
                refused().hint("names are not looked up: write 127.0.0.1 or [::1]")
            } else {
                refused()
            }
        })
    }

    fn render(&self) -> String {
        quoted(&self.to_string())
    }
}

fn every_address(port: &str) -> String {
    let port = port.parse().unwrap_or(7777_u16);
    format!(
        "the address is missing: write \"0.0.0.0:{port}\" for every IPv4 address, \
         \"[::]:{port}\" for IPv6 too, \"127.0.0.1:{port}\" for this machine only"
    )
}

impl Value for IpAddr {
    fn allowed(_: &RangeInclusive<i64>) -> String {
        "an IP address peers can reach, as \"203.0.113.7\" or \"2001:db8::7\"".to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        let refused = || Refused::new(node, Self::allowed(range));
        let Kind::Text(text) = &node.kind else {
            return Err(refused());
        };
        match text.parse::<Self>() {
            Ok(address) if address.is_unspecified() || address.is_multicast() => {
                Err(refused().hint("nobody can send to this address"))
            }
            Ok(address) => Ok(address),
            Err(_) if text.parse::<SocketAddr>().is_ok() => {
                Err(refused().hint("without a port: the port is that of media.udp"))
            }
            Err(_) => Err(refused()),
        }
    }

    fn render(&self) -> String {
        quoted(&self.to_string())
    }
}

/// A block of IP addresses: an address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The first address of the block.
    pub address: IpAddr,
    /// Leading bits that count: 0..=32 for IPv4, 0..=128 for IPv6.
    pub prefix_len: u8,
}

impl Network {
    /// Whether `address` is in the block; an IPv4 address in IPv6 form counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.prefix_len);
                (own.to_bits() ^ other.to_bits())
                    .checked_shr(shift)
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.prefix_len);
                (own.to_bits() ^ other.to_bits())
                    .checked_shr(shift)
                    .unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }

    /// The block `prefix_len` bits of `address` name, host bits cleared; `None` if it is too long.
    fn new(address: IpAddr, prefix_len: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(v4) => {
                let shift = 32_u32.checked_sub(u32::from(prefix_len))?;
                let kept = u32::MAX.checked_shl(shift).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & kept))
            }
            IpAddr::V6(v6) => {
                let shift = 128_u32.checked_sub(u32::from(prefix_len))?;
                let kept = u128::MAX.checked_shl(shift).unwrap_or(0);
                IpAddr::V6((v6.to_bits() & kept).into())
            }
        };
        Some(Self {
            address,
            prefix_len,
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

impl Value for Network {
    fn allowed(_: &RangeInclusive<i64>) -> String {
        "an IP address or a block of them, as \"10.0.0.0/8\" or \"2001:db8::/32\"".to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        let refused = || Refused::new(node, Self::allowed(range));
        let Kind::Text(text) = &node.kind else {
            return Err(refused());
        };
        let (address, prefix_len) = match text.split_once('/') {
            Some((address, bits)) => (address, bits.parse::<u8>().ok()),
            None => (
                text.as_str(),
                Some(if text.contains(':') { 128 } else { 32 }),
            ),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(refused());
        };
        match prefix_len.and_then(|bits| Self::new(address, bits)) {
            Some(network) if network.address == address => Ok(network),
            Some(network) => Err(refused().hint(format!("write \"{network}\" for the block"))),
            None => Err(refused()),
        }
    }

    fn render(&self) -> String {
        quoted(&self.to_string())
    }
}

/// A web origin (RFC 6454 §6.2), or `*` for every one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// As a browser writes it in the `Origin` header, or `*`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for Origin {
    fn allowed(_: &RangeInclusive<i64>) -> String {
        "an origin as browsers write it, as \"https://studio.example\", or \"*\" for all".to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        let refused = || Refused::new(node, Self::allowed(range));
        let Kind::Text(text) = &node.kind else {
            return Err(refused());
        };
        if text == "*" {
            return Ok(Self(text.clone()));
        }
        let authority = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"));
        let Some(authority) = authority.filter(|rest| !rest.is_empty()) else {
            return Err(refused().hint("it starts with http:// or https://"));
        };
        if authority.contains('/') {
            return Err(refused().hint("an origin has no path, not even a closing slash"));
        }
        if authority.contains('@') {
            return Err(refused().masked());
        }
        let plain = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase() || "-._:[]".contains(c);
        if !authority.chars().all(plain) {
            return Err(refused().hint("lower-case letters, digits, dots and a port only"));
        }
        Ok(Self(text.clone()))
    }

    fn render(&self) -> String {
        quoted(&self.0)
    }
}

/// A text that is never shown: `Debug`, `Display` and the printed configuration mask it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, to compare or sign with; not for logs.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether no secret is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "" } else { MASK })
    }
}

impl Value for Secret {
    const SECRET: bool = true;

    fn allowed(_: &RangeInclusive<i64>) -> String {
        "a text".to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        match &node.kind {
            // A printed configuration that is loaded again would make the mask the secret.
            Kind::Text(text) if text == MASK => Err(Refused::new(node, Self::allowed(range))
                .hint("this is the mask that `config print` shows, not a secret")),
            Kind::Text(text) => Ok(Self(text.clone())),
            _ => Err(Refused::new(node, Self::allowed(range)).masked()),
        }
    }

    fn render(&self) -> String {
        quoted(&self.to_string())
    }
}

/// A bearer token: a secret that fits into an `Authorization` header (RFC 6750 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token(Secret);

impl Token {
    /// The token itself, to compare with; not for logs.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl Value for Token {
    const SECRET: bool = true;

    fn allowed(_: &RangeInclusive<i64>) -> String {
        "a token of visible ASCII characters without spaces".to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        let refused = || Refused::new(node, Self::allowed(range)).masked();
        let secret = Secret::read(node, range).map_err(|cause| Refused {
            hint: cause.hint,
            ..refused()
        })?;
        let visible = |byte: u8| byte.is_ascii_graphic();
        if secret.is_empty() || !secret.expose().bytes().all(visible) {
            return Err(refused());
        }
        Ok(Self(secret))
    }

    fn render(&self) -> String {
        self.0.render()
    }
}

/// A STUN or TURN server that is told to clients in `Link` headers (RFC 9725 §4.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceServer {
    /// URLs of the server, at least one (RFC 7064 §3.1, RFC 7065 §3.1).
    pub urls: Vec<String>,
    /// User name; empty for STUN.
    pub username: String,
    /// Long-term credential; empty for STUN.
    pub credential: Secret,
}

impl Value for IceServer {
    const SHAPE: Shape = Shape::Tables;
    const SECRET: bool = true;

    fn allowed(_: &RangeInclusive<i64>) -> String {
        "{ urls = [\"turn:turn.example:3478\"], username = \"…\", credential = \"…\" }".to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        let Kind::Table(entries) = &node.kind else {
            return Err(Refused::new(node, Self::allowed(range)).masked());
        };
        let mut server = Self {
            urls: Vec::new(),
            username: String::new(),
            credential: Secret::default(),
        };
        for entry in entries {
            server.read_entry(entry, range)?;
        }
        if server.urls.is_empty() {
            return Err(Refused::new(node, Self::allowed(range)).complaint("has no urls"));
        }
        let relays = server.urls.iter().any(|url| url.starts_with("turn"));
        if relays && (server.username.is_empty() || server.credential.is_empty()) {
            let complaint = "is a TURN server without username or credential";
            return Err(Refused::new(node, Self::allowed(range)).complaint(complaint));
        }
        Ok(server)
    }

    fn render(&self) -> String {
        let urls: Vec<String> = self.urls.iter().map(|url| quoted(url)).collect();
        let mut text = format!("{{ urls = [{}]", urls.join(", "));
        if !self.username.is_empty() {
            text += &format!(", username = {}", quoted(&self.username));
        }
        if !self.credential.is_empty() {
            text += &format!(", credential = {}", self.credential.render());
        }
        text + " }"
    }
}

impl IceServer {
    fn read_entry(&mut self, entry: &Entry, range: &RangeInclusive<i64>) -> Result<(), Refused> {
        let below = |refused: Refused| refused.below(&format!(".{}", entry.name));
        match entry.name.as_str() {
            "urls" => self.urls = ice_urls(&entry.node).map_err(below)?,
            "username" => match &entry.node.kind {
                Kind::Text(name) => self.username.clone_from(name),
                _ => return Err(below(Refused::new(&entry.node, "a text"))),
            },
            "credential" => self.credential = Secret::read(&entry.node, range).map_err(below)?,
            _ => {
                let known = ["urls", "username", "credential"];
                let mut refused = Refused::new(&entry.node, known.join(", "));
                refused.span.clone_from(&entry.name_span);
                refused = refused.complaint(format!("has no key {}", shorten(&entry.name)));
                return Err(match nearest(&entry.name, known.into_iter()) {
                    Some(near) => refused.hint(format!("did you mean {near}?")),
                    None => refused,
                });
            }
        }
        Ok(())
    }
}

fn ice_urls(node: &Node) -> Result<Vec<String>, Refused> {
    let one = std::slice::from_ref(node);
    let (items, is_list) = match &node.kind {
        Kind::List(items) => (items.as_slice(), true),
        _ => (one, false),
    };
    let mut urls = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let schemes = ["stun:", "stuns:", "turn:", "turns:"];
        let refused = || Refused::new(item, "a URL as \"stun:stun.example:3478\" or \"turns:…\"");
        let step = if is_list {
            format!("[{index}]")
        } else {
            String::new()
        };
        let Kind::Text(url) = &item.kind else {
            return Err(refused().below(&step));
        };
        if url.contains('@') {
            let hint = "user names and passwords have keys of their own: username, credential";
            return Err(refused().masked().hint(hint).below(&step));
        }
        let host = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
        // Only what RFC 3986 allows: the URL is repeated in a header.
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:[]?=&%".contains(c);
        if !host.is_some_and(|host| !host.is_empty() && host.chars().all(plain)) {
            return Err(refused().below(&step));
        }
        urls.push(url.clone());
    }
    Ok(urls)
}

macro_rules! words {
    ($(
        $(#[doc = $doc:literal])+
        $Name:ident { $( $(#[doc = $word_doc:literal])+ $Word:ident = $word:literal ),+ $(,)? }
    )+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Name {
            $( $(#[doc = $word_doc])+ $Word, )+
        }

        impl $Name {
            /// The word for it in the configuration.
            pub fn as_str(self) -> &'static str {
                match self {
                    $( Self::$Word => $word, )+
                }
            }
        }

        impl Value for $Name {
            fn allowed(_: &RangeInclusive<i64>) -> String {
                let words = [$( quoted($word) ),+];
                format!("one of {}", words.join(", "))
            }

            fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
                let refused = || Refused::new(node, Self::allowed(range));
                let Kind::Text(text) = &node.kind else {
                    return Err(refused());
                };
                match text.to_ascii_lowercase().as_str() {
                    $( $word => Ok(Self::$Word), )+
                    other => Err(match nearest(other, [$( $word ),+].into_iter()) {
                        Some(near) => refused().hint(format!("did you mean \"{near}\"?")),
                        None => refused(),
                    }),
                }
            }

            fn render(&self) -> String {
                quoted(self.as_str())
            }
        }
    )+};
}

words! {
    /// How datagrams enter and leave a shard.
    Backend {
        /// io_uring where the kernel allows it, else mmsg.
        Auto = "auto",
        /// io_uring: multishot receive into a ring of buffers.
        Uring = "uring",
        /// recvmmsg and sendmmsg.
        Mmsg = "mmsg",
        /// The tokio-uring runtime.
        TokioUring = "tokio-uring",
    }

    /// Whether a second publisher of a stream replaces the first.
    Takeover {
        /// Never: the second is refused while the first has a session.
        Never = "never",
        /// Once nothing has been heard of the first for a while.
        Silent = "silent",
        /// Always: the newest publisher wins.
        Always = "always",
    }

    /// What a viewer is told while a stream has no publisher.
    PlayAbsent {
        /// Accepted; media starts with the publisher.
        Wait = "wait",
        /// 409 with Retry-After.
        Refuse = "refuse",
    }

    /// The least important log lines that are still written.
    LogLevel {
        /// None at all.
        Off = "off",
        /// What failed.
        Error = "error",
        /// What someone should look at.
        Warn = "warn",
        /// A few lines per session.
        Info = "info",
        /// What the program decides and why.
        Debug = "debug",
        /// Everything, also per packet in debug builds.
        Trace = "trace",
    }

    /// A video codec that can be forwarded.
    VideoCodec {
        /// VP8 (RFC 7741).
        Vp8 = "vp8",
        /// VP9 (RFC 9628).
        Vp9 = "vp9",
        /// H.264 (RFC 6184).
        H264 = "h264",
        /// H.265 (RFC 7798).
        H265 = "h265",
        /// AV1.
        Av1 = "av1",
    }

    /// An audio codec that can be forwarded.
    AudioCodec {
        /// Opus (RFC 7587).
        Opus = "opus",
        /// G.711 with µ-law (RFC 3551 §4.5.14).
        Pcmu = "pcmu",
        /// G.711 with A-law (RFC 3551 §4.5.14).
        Pcma = "pcma",
        /// G.722 (RFC 3551 §4.5.2).
        G722 = "g722",
    }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// What stands for a secret that is set.
pub(crate) const MASK: &str = "<masked>";
