//! What secures a session: all of the WebRTC library for a publisher, its DTLS alone for a viewer.
//!
//! Media to a viewer and its feedback are sealed and opened by [`Outlet`](super::outlet), paths are
//! [`LiteAgent`](super::ice::LiteAgent)'s: of the library a viewer needs the handshake, and a
//! session without the rest takes a third of the memory and has nothing to be polled for.

use std::sync::Arc;
use std::time::Instant;

use str0m::config::{CryptoProvider, Fingerprint};
use str0m::crypto::dtls::{DtlsInstance, DtlsOutput};
use str0m::rtp::RtpPacket;
use str0m::{Event, Input, Output, Rtc};
use whitewater_sdp::{DtlsRole, Plan, Role};

use super::keys::{self, AppData, KeyCell, Records};
use super::webrtc::{self, Identity};

/// What secures a session.
pub enum Connection {
    /// Handshake, SRTP and RTCP of a publisher; and its data channels' records, if it has any.
    Media(Box<Rtc>, Option<Box<Records>>),
    /// The handshake of a viewer, and its data channels' records.
    Handshake(Box<Handshake>),
}

/// What a poll brought.
#[allow(
    clippy::large_enum_variant,
    reason = "moved once; a box would be an allocation for each packet"
)]
pub enum Step {
    /// Nothing more until something arrives, or until then.
    Idle(Option<Instant>),
    /// The handshake is done.
    Connected,
    /// Media.
    Packet(RtpPacket),
    /// Application data: an SCTP packet.
    Record(Vec<u8>),
    /// The peer said good-bye.
    Closed,
    /// Something that needs nothing done.
    Other,
}

/// Why a connection is over, in words for the log.
#[derive(Debug)]
pub struct Broken(String);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

impl Connection {
    /// The connection that carries a plan out, with the cell its SRTP keys will appear in.
    ///
    /// # Errors
    /// What the library says, in words for the log.
    pub fn new(plan: &Plan, identity: &Identity, now: Instant) -> Result<(Self, KeyCell), Broken> {
        match plan.role {
            Role::Publish => {
                let (rtc, keys) = webrtc::build(plan, identity, now).map_err(broken)?;
                let records = plan.application().map(|_| Box::default());
                Ok((Connection::Media(rtc, records), keys))
            }
            Role::Subscribe => {
                let (handshake, keys) = Handshake::new(plan, identity, now)?;
                Ok((Connection::Handshake(Box::new(handshake)), keys))
            }
        }
    }

    /// There is a path: what is to be said goes out from now on.
    ///
    /// # Errors
    /// The library's.
    pub fn open(&mut self, now: Instant, crypto: &CryptoProvider) -> Result<(), Broken> {
        match self {
            Connection::Media(rtc, _) => webrtc::connect_path(rtc, crypto, now).map_err(broken),
            Connection::Handshake(handshake) => {
                handshake.open = true;
                handshake.dtls.handle_timeout(now).map_err(broken)
            }
        }
    }

    /// Takes a datagram: any kind for a publisher, DTLS alone for a viewer.
    ///
    /// # Errors
    /// What is wrong with it; the connection may still be [alive](Self::is_alive).
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) -> Result<(), Broken> {
        match self {
            Connection::Media(rtc, _) => webrtc::receive(rtc, now, bytes).map_err(broken),
            Connection::Handshake(handshake) => {
                // It takes no time with a packet: what it answers is timed from here.
                handshake.dtls.handle_timeout(now).map_err(broken)?;
                handshake.dtls.handle_packet(bytes).map_err(broken)
            }
        }
    }

    /// Time has passed.
    ///
    /// # Errors
    /// When that is too much for the connection.
    pub fn time(&mut self, now: Instant) -> Result<(), Broken> {
        match self {
            Connection::Media(rtc, _) => rtc.handle_input(Input::Timeout(now)).map_err(broken),
            Connection::Handshake(handshake) => handshake.dtls.handle_timeout(now).map_err(broken),
        }
    }

    /// What is next; datagrams go to `send`. Until [`Step::Idle`] there is more.
    ///
    /// # Errors
    /// Why the connection is over.
    pub fn poll(&mut self, send: &mut dyn FnMut(&[u8])) -> Result<Step, Broken> {
        match self {
            Connection::Media(rtc, records) => Ok(match poll_media(rtc, records)? {
                Polled::Record(record) => Step::Record(record),
                Polled::Output(output) => step(output, send),
            }),
            Connection::Handshake(handshake) => handshake.poll(send),
        }
    }

    /// Sends application data, in what is polled next. At most a handful before that.
    pub fn send(&mut self, now: Instant, record: bytes::Bytes) {
        match self {
            Connection::Media(rtc, records) => {
                if let Some(records) = records {
                    records.to_send.push_back(record);
                    // The library looks at its DTLS when it has reason to.
                    let _ = rtc.handle_input(Input::Timeout(now));
                }
            }
            Connection::Handshake(handshake) => {
                // What DTLS does not take is lost, and sent again by SCTP.
                let _ = handshake.dtls.send_application_data(&record);
            }
        }
    }

    /// Says good-bye: DTLS close_notify, in what is polled next.
    pub fn close(&mut self, now: Instant) {
        match self {
            Connection::Media(rtc, _) => {
                let _ = rtc.close();
                let _ = rtc.handle_input(Input::Timeout(now));
            }
            Connection::Handshake(handshake) => {
                let _ = handshake.dtls.close();
            }
        }
    }

    /// False when it has failed for good.
    pub fn is_alive(&self) -> bool {
        match self {
            Connection::Media(rtc, _) => rtc.is_alive(),
            Connection::Handshake(handshake) => !handshake.dtls.is_closed(),
        }
    }

    /// The library's connection, for what is particular to publishers.
    pub fn media(&mut self) -> Option<&mut Rtc> {
        match self {
            Connection::Media(rtc, _) => Some(rtc),
            Connection::Handshake(_) => None,
        }
    }
}

/// What the library or its DTLS brought.
#[allow(clippy::large_enum_variant, reason = "as of `Step`")]
enum Polled {
    Output(Output),
    Record(Vec<u8>),
}

fn step(output: Output, send: &mut dyn FnMut(&[u8])) -> Step {
    match output {
        Output::Timeout(at) => Step::Idle(Some(at)),
        Output::Transmit(transmit) => {
            send(&transmit.contents);
            Step::Other
        }
        Output::Event(Event::Connected) => Step::Connected,
        Output::Event(Event::RtpPacket(packet)) => Step::Packet(packet),
        Output::Event(Event::Closed) => Step::Closed,
        Output::Event(_) => Step::Other,
    }
}

fn poll_media(rtc: &mut Rtc, records: &mut Option<Box<Records>>) -> Result<Polled, Broken> {
    let Some(records) = records else {
        return rtc.poll_output().map(Polled::Output).map_err(broken);
    };
    if let Some(record) = records.received.pop_front() {
        return Ok(Polled::Record(record));
    }
    let output = keys::passing(records, || rtc.poll_output()).map_err(broken)?;
    match (output, records.received.is_empty()) {
        // What was brought meanwhile comes first; the library is idle the next time too.
        (Output::Timeout(_), false) => {
            let record = records.received.pop_front();
            Ok(Polled::Record(record.unwrap_or_default()))
        }
        (output, _) => Ok(Polled::Output(output)),
    }
}

/// DTLS with one viewer.
pub struct Handshake {
    dtls: Box<dyn DtlsInstance>,
    /// Of the certificate that the offer announced.
    expected: Fingerprint,
    crypto: Arc<CryptoProvider>,
    /// Whether there is a path to send on.
    open: bool,
    stage: Stage,
}

/// How far a handshake is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begun,
    /// The announced certificate was shown.
    Shown,
    /// It is done, but for the keys.
    Done,
    Secured,
}

impl Handshake {
    fn new(plan: &Plan, identity: &Identity, now: Instant) -> Result<(Self, KeyCell), Broken> {
        let expected = webrtc::fingerprint(plan);
        let expected = expected.ok_or_else(|| Broken("no usable fingerprint".to_owned()))?;
        let (certificate, crypto) = (&identity.certificate, identity.crypto.clone());
        let (dtls, keys) = keys::tapped(AppData::Passed, || {
            let version = str0m::crypto::dtls::DtlsVersion::Dtls12;
            let provider = crypto.dtls_provider;
            provider.new_dtls(certificate, now, version, Some(RECORD_SIZE))
        });
        let mut dtls = dtls.map_err(broken)?;
        dtls.set_active(plan.dtls_role == DtlsRole::Active);
        // Its clock and its random numbers start here; an active side has its first flight ready.
        dtls.handle_timeout(now).map_err(broken)?;
        let handshake = Handshake {
            dtls,
            expected,
            crypto,
            open: false,
            stage: Stage::Begun,
        };
        Ok((handshake, keys))
    }

    fn poll(&mut self, send: &mut dyn FnMut(&[u8])) -> Result<Step, Broken> {
        if !self.open {
            return Ok(Step::Idle(None));
        }
        let mut buf = [0; OUTPUT_SIZE_MAX];
        match self.dtls.poll_output(&mut buf) {
            DtlsOutput::Packet(bytes) => send(bytes),
            DtlsOutput::Timeout(_) if self.stage == Stage::Done => {
                return Err(Broken("no SRTP profile was agreed on".to_owned()));
            }
            DtlsOutput::Timeout(at) => return Ok(Step::Idle(Some(at))),
            DtlsOutput::PeerCert(der) => {
                if !is_of(&self.expected, der, &self.crypto) {
                    return Err(Broken("another certificate than announced".to_owned()));
                }
                self.stage = Stage::Shown;
            }
            DtlsOutput::Connected if self.stage == Stage::Shown => self.stage = Stage::Done,
            DtlsOutput::Connected => return Err(Broken("no certificate was shown".to_owned())),
            // The last event of the handshake. The keys are in their cell.
            DtlsOutput::KeyingMaterial(..) => {
                self.stage = Stage::Secured;
                return Ok(Step::Connected);
            }
            DtlsOutput::CloseNotify => return Ok(Step::Closed),
            DtlsOutput::BufferTooSmall { needed } => {
                return Err(Broken(format!("a certificate of {needed} bytes")));
            }
            DtlsOutput::ApplicationData(record) if self.stage == Stage::Secured => {
                return Ok(Step::Record(record.to_vec()));
            }
            _ => {}
        }
        Ok(Step::Other)
    }
}

/// RFC 8122 §5: the digest of the DER certificate.
fn is_of(expected: &Fingerprint, der: &[u8], crypto: &CryptoProvider) -> bool {
    if expected.hash_func.eq_ignore_ascii_case("sha-256") {
        crypto.sha256_provider.sha256(der)[..] == expected.bytes[..]
    } else if expected.hash_func.eq_ignore_ascii_case("sha-1") {
        crypto.sha1_provider.sha1(der)[..] == expected.bytes[..]
    } else {
        false
    }
}

fn broken(error: impl std::fmt::Display) -> Broken {
    Broken(error.to_string())
}

/// Bytes of a handshake record: what passes everywhere in one IP packet (RFC 8200 §5, less
/// headers).
const RECORD_SIZE: usize = 1200;
/// Bytes of a datagram or of a certificate; browsers' have some 300, RSA ones 1,200.
const OUTPUT_SIZE_MAX: usize = 4096;
