//! Reads the SRTP keys of a connection off its DTLS handshake.
//!
//! str0m derives the SRTP keys inside and has no way to hand them out; its DTLS provider is
//! ours to choose, so a wrapper around the stock one keeps a copy of the keying material
//! (RFC 5764 §4.2) as it passes. Data channels of publishers go the same way: the wrapper takes their
//! records out before str0m sees them, and puts ours in ([`Records`]).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use dimpl::Dtls;
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
    SrtpProfile,
};
use str0m::crypto::{CryptoError, CryptoProvider};

use crate::limits;

/// Filled when the handshake of one connection is done.
#[derive(Clone, Default)]
pub struct KeyCell(Arc<OnceLock<Keys>>);

/// What the handshake exported.
pub struct Keys {
    /// The negotiated protection profile.
    pub profile: SrtpProfile,
    /// The exporter's output: client key, server key, client salt, server salt.
    pub material: Vec<u8>,
}

impl KeyCell {
    /// The keys, once there are any.
    pub fn keys(&self) -> Option<&Keys> {
        self.0.get()
    }
}

impl fmt::Debug for KeyCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.keys() {
            Some(_) => "KeyCell(filled)",
            None => "KeyCell(empty)",
        })
    }
}

/// Application data of one connection that is polled by the library: SCTP packets (RFC 8261).
#[derive(Debug, Default)]
pub struct Records {
    /// What the peer sent, each of one record; at most [`limits::RECORDS_PER_POLL_MAX`] of them.
    pub received: VecDeque<Vec<u8>>,
    /// What is to be sent.
    pub to_send: VecDeque<bytes::Bytes>,
}

/// Runs `poll`, in which the library asks its DTLS for output, with the records of this connection
/// in reach.
pub fn passing<T>(records: &mut Records, poll: impl FnOnce() -> T) -> T {
    PASSING.with(|passing| passing.replace(Some(std::mem::take(records))));
    let polled = poll();
    *records = PASSING.with(RefCell::take).unwrap_or_default();
    polled
}

/// The crypto of every connection: aws-lc-rs, with its DTLS tapped.
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = str0m::crypto::from_feature_flags();
    provider.dtls_provider = &TAP;
    Arc::new(provider)
}

/// Whether application data is for the library that uses DTLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppData {
    /// It is.
    #[default]
    Passed,
    /// It is kept from it, for [`passing`].
    Taken,
}

/// Runs `build`, which makes exactly one DTLS instance on this thread, and returns the cell its
/// keys will appear in.
pub fn tapped<T>(app_data: AppData, build: impl FnOnce() -> T) -> (T, KeyCell) {
    let cell = KeyCell::default();
    NEXT.with(|next| next.replace(Some((cell.clone(), app_data))));
    let built = build();
    NEXT.with(|next| next.replace(None));
    (built, cell)
}

thread_local! {
    /// Hands the cell to the provider, whose `new_dtls` has no argument it could travel in.
    static NEXT: RefCell<Option<(KeyCell, AppData)>> = const { RefCell::new(None) };
    /// The records of the connection that is polled on this thread now.
    static PASSING: RefCell<Option<Records>> = const { RefCell::new(None) };
}

static TAP: TapProvider = TapProvider;

#[derive(Debug)]
struct TapProvider;

impl TapProvider {
    fn stock() -> &'static dyn DtlsProvider {
        str0m::crypto::from_feature_flags().dtls_provider
    }
}

impl DtlsProvider for TapProvider {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        Self::stock().generate_certificate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        // As the stock provider has it (ICE has proved the peer's address, so cookies are
        // needless), but for the times of retransmission.
        let mut config = dimpl::Config::builder()
            .use_server_cookie(false)
            .flight_start_rto(limits::HANDSHAKE_RTO)
            .flight_retries(limits::HANDSHAKE_RETRIES_MAX);
        if let Some(mtu) = mtu {
            config = config.mtu(mtu);
        }
        let config = config
            .build()
            .map_err(|error| CryptoError::Other(error.to_string()))?;
        let (config, certificate) = (Arc::new(config), cert.clone());
        let inner = match version {
            DtlsVersion::Dtls12 => Dtls::new_12(config, certificate, now),
            DtlsVersion::Dtls13 => Dtls::new_13(config, certificate, now),
            _ => Dtls::new_auto(config, certificate, now),
        };
        let (cell, app_data) = NEXT.with(|next| next.take()).unwrap_or_default();
        Ok(Box::new(TapInstance {
            inner,
            cell,
            app_data,
            is_connected: false,
        }))
    }
}

struct TapInstance {
    inner: Dtls,
    cell: KeyCell,
    app_data: AppData,
    is_connected: bool,
}

impl TapInstance {
    /// Puts the next record of ours in. One at a time: each is sent before the next.
    fn put_in(&mut self) {
        let next = |passing: &RefCell<Option<Records>>| {
            let mut passing = passing.borrow_mut();
            passing.as_mut()?.to_send.pop_front()
        };
        if let Some(record) = PASSING.with(next) {
            // What DTLS does not take is lost, and sent again by SCTP.
            let _ = self.inner.send_application_data(&record);
        }
    }

    /// Takes a record of the peer's out.
    fn take_out(record: &[u8]) {
        PASSING.with(|passing| {
            if let Some(records) = passing.borrow_mut().as_mut()
                && records.received.len() < limits::RECORDS_PER_POLL_MAX
            {
                records.received.push_back(record.to_vec());
            }
        });
    }
}

/// The library's has the keys in it.
impl fmt::Debug for TapInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TapInstance").finish_non_exhaustive()
    }
}

impl DtlsInstance for TapInstance {
    fn set_active(&mut self, active: bool) {
        self.inner.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.inner.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        let takes = self.app_data == AppData::Taken && self.is_connected;
        if takes {
            self.put_in();
        }
        let output = self.inner.poll_output(buf);
        match &output {
            DtlsOutput::KeyingMaterial(material, profile) => {
                // A second export would be a renegotiation, which DTLS-SRTP does not have.
                let _ = self.cell.0.set(Keys {
                    profile: *profile,
                    material: material.to_vec(),
                });
            }
            DtlsOutput::Connected => self.is_connected = true,
            DtlsOutput::ApplicationData(record) if takes => {
                Self::take_out(record);
                // Heard before, and so without a meaning.
                return DtlsOutput::Connected;
            }
            _ => {}
        }
        output
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.inner.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.inner.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.inner.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.inner.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.inner.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.inner.close()
    }
}
