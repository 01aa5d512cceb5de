//! Certificates, and a client that checks them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64ct::{Base64, Encoding};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SupportedProtocolVersion};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use whitewater_control::Tls;

use crate::client::{Reply, collect};

/// A certificate for `localhost` and 127.0.0.1 with its key.
pub(crate) struct Pair {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::of(&rcgen::PKCS_ECDSA_P256_SHA256)
    }

    pub(crate) fn of(kind: &'static SignatureAlgorithm) -> Self {
        Self::named(kind, &["localhost", "127.0.0.1"])
    }

    pub(crate) fn named(kind: &'static SignatureAlgorithm, names: &[&str]) -> Self {
        let key = KeyPair::generate_for(kind).expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.self_signed(&key).expect("a certificate");
        Pair {
            certificate: certificate.der().clone(),
            certificate_pem: pem("CERTIFICATE", certificate.der()),
            key_pem: pem("PRIVATE KEY", &key.serialize_der()),
        }
    }
}

/// RFC 7468 §3.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let mut buffer = vec![0; der.len().div_ceil(3) * 4];
    let text = Base64::encode(der, &mut buffer).expect("room");
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem += std::str::from_utf8(line).expect("ASCII");
        pem += "\n";
    }
    pem + &format!("-----END {label}-----\n")
}

/// A folder with both files. Dropped, it is removed.
pub(crate) struct Files {
    folder: PathBuf,
}

impl Files {
    pub(crate) fn new(name: &str, pair: &Pair) -> Self {
        let name = format!("whitewater-tls-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let files = Files { folder };
        files.write(&pair.certificate_pem, &pair.key_pem);
        files
    }

    pub(crate) fn write(&self, certificate: &str, key: &str) {
        std::fs::write(self.certificate(), certificate).expect("written");
        std::fs::write(self.key(), key).expect("written");
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("chain.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.join("key.pem")
    }

    pub(crate) fn tls(&self) -> Tls {
        Tls::Files {
            certificate: self.certificate(),
            key: self.key(),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What a client accepts and asks for.
pub(crate) struct Caller {
    pub(crate) versions: &'static [&'static SupportedProtocolVersion],
    pub(crate) protocols: &'static [&'static str],
    pub(crate) name: &'static str,
    /// Its own address.
    pub(crate) from: [u8; 4],
}

impl Default for Caller {
    fn default() -> Self {
        Caller {
            versions: rustls::ALL_VERSIONS,
            protocols: &["http/1.1"],
            name: "localhost",
            from: [127, 0, 0, 1],
        }
    }
}

impl Caller {
    /// Connects; the server has to show exactly this certificate, and it has to be for the name.
    pub(crate) async fn connect(
        &self,
        to: SocketAddr,
        certificate: &CertificateDer<'static>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).expect("a certificate");
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(self.versions)
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        self.shake_hands(to, config).await
    }

    /// The certificate that is shown.
    pub(crate) async fn look(&self, to: SocketAddr) -> std::io::Result<CertificateDer<'static>> {
        let stream = self.connect_to_any(to).await?;
        let shown = stream.get_ref().1.peer_certificates().expect("some");
        Ok(shown[0].clone())
    }

    /// Connects to whoever is there.
    pub(crate) async fn connect_to_any(
        &self,
        to: SocketAddr,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(self.versions)
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_no_client_auth();
        self.shake_hands(to, config).await
    }

    async fn shake_hands(
        &self,
        to: SocketAddr,
        mut config: ClientConfig,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let protocols = self.protocols.iter();
        config.alpn_protocols = protocols.map(|name| name.as_bytes().to_vec()).collect();
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((self.from, 0)))?;
        let stream = socket.connect(to).await?;
        let name = ServerName::try_from(self.name).expect("a name");
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }
}

/// One request over a secured connection, in the protocol that was agreed on. A header `:host`
/// is the name the server is called by.
pub(crate) async fn send(
    stream: TlsStream<TcpStream>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = TokioIo::new(stream);
    let host = headers.iter().find(|(name, _)| *name == ":host");
    let host = host.map_or("localhost", |(_, host)| host);
    let uri = if is_h2 {
        format!("https://{host}{path}")
    } else {
        path.to_owned()
    };
    let mut request = Request::builder().method(method).uri(uri);
    if !is_h2 {
        request = request.header("host", host);
    }
    for (name, value) in headers.iter().filter(|(name, _)| *name != ":host") {
        request = request.header(*name, *value);
    }
    let request = request
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .expect("a request");
    let response = if is_h2 {
        let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
        let (mut sender, connection) = shaken.expect("HTTP/2");
        tokio::spawn(connection);
        sender.send_request(request).await
    } else {
        let shaken = hyper::client::conn::http1::handshake(io).await;
        let (mut sender, connection) = shaken.expect("HTTP/1");
        tokio::spawn(connection);
        sender.send_request(request).await
    };
    collect(response.expect("an answer")).await
}

/// Takes every certificate.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
