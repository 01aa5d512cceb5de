//! HTTPS or not: what the configuration says of it, and what a person is told.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use whitewater_control::Tls;

use crate::config::Config;
use crate::node::StartError;

/// How a started node is secured, for its greeting.
pub(crate) struct Security {
    /// The name to call it by, if one is configured.
    name: Option<String>,
    fingerprint: Option<String>,
    is_self_signed: bool,
    redirect: Option<SocketAddr>,
    admin: Option<SocketAddr>,
}

impl Security {
    pub(crate) fn new(
        config: &Config,
        fingerprint: Option<&str>,
        redirect: Option<SocketAddr>,
        admin: Option<SocketAddr>,
    ) -> Self {
        let mut names = config.http.hosts.iter();
        Security {
            name: names.next().map(|name| name.as_str().to_owned()),
            fingerprint: fingerprint.map(str::to_owned),
            is_self_signed: config.tls.self_signed,
            redirect,
            admin,
        }
    }

    /// The URL of the page without its path: something a person can put into a browser.
    pub(crate) fn base(&self, listen: SocketAddr) -> String {
        if self.fingerprint.is_none() {
            return format!("http://{}", reachable(listen));
        }
        // Certificates are for names.
        match (&self.name, listen.port()) {
            (Some(name), 443) => format!("https://{name}"),
            (Some(name), port) => format!("https://{name}:{port}"),
            (None, _) => format!("https://{}", reachable(listen)),
        }
    }

    /// Lines of the greeting, each with its beginning.
    pub(crate) fn lines(&self) -> String {
        let mut text = String::new();
        if let Some(admin) = self.admin {
            let is_plain = self.fingerprint.is_none() || admin.ip().to_canonical().is_loopback();
            let scheme = if is_plain { "http" } else { "https" };
            text += &format!("\n  Manage    {scheme}://{}/", reachable(admin));
        }
        let Some(fingerprint) = &self.fingerprint else {
            return text;
        };
        let kind = if self.is_self_signed {
            "self-signed certificate, "
        } else {
            ""
        };
        text += &format!("\n  TLS       {kind}SHA-256 {fingerprint}");
        if let Some(redirect) = self.redirect {
            text += &format!("\n  Redirect  http://{} to HTTPS", reachable(redirect));
        }
        text
    }
}

/// What cannot be meant.
pub(crate) fn refuse(config: &Config) -> Result<(), StartError> {
    let tls = &config.tls;
    let has = |path: &std::path::Path| !path.as_os_str().is_empty();
    let refused = match (has(&tls.certificate), has(&tls.key), tls.self_signed) {
        (true, false, _) => "tls.certificate is set and tls.key is not: both are needed",
        (false, true, _) => "tls.key is set and tls.certificate is not: both are needed",
        (true, true, true) => {
            "tls.self_signed = true makes a certificate, and tls.certificate names one: remove the \
             one or the other"
        }
        (false, false, false) if tls.redirect_listen.is_some() => {
            "tls.redirect_listen shows the way to HTTPS, and there is none: set tls.certificate \
             and tls.key"
        }
        (false, false, _) if tls.hsts_max_age_s > 0 => {
            "tls.hsts_max_age_s needs a certificate that browsers accept: set tls.certificate and \
             tls.key. Behind a proxy that speaks HTTPS, let the proxy say it"
        }
        _ => return Ok(()),
    };
    Err(StartError::Config(refused))
}

/// What the control plane is to be told of TLS.
pub(crate) fn tls(config: &Config) -> Tls {
    let tls = &config.tls;
    if tls.self_signed {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let names = names(config, host.trim(), &whitewater_dataplane::interfaces());
        Tls::SelfSigned { names }
    } else if tls.certificate.as_os_str().is_empty() {
        Tls::Off
    } else {
        Tls::Files {
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
        }
    }
}

/// All the names a client may know this machine by.
fn names(config: &Config, host: &str, interfaces: &[IpAddr]) -> Vec<String> {
    let mut names = vec!["localhost".to_owned()];
    // RFC 1123 §2.1. Others cannot be in a certificate.
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    if !host.is_empty() && host.bytes().all(is_name) {
        names.push(host.to_owned());
    }
    let hosts = config.http.hosts.iter();
    names.extend(hosts.map(|name| name.as_str().trim_matches(['[', ']']).to_owned()));
    let own = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
        config.http.listen.ip(),
    ];
    let all = own.iter().chain(&config.media.advertise).chain(interfaces);
    names.extend(
        all.map(|ip| ip.to_canonical())
            .filter(|ip| !ip.is_unspecified())
            .map(|ip| ip.to_string()),
    );
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// An address a person can put into a browser.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let flag = |line: &str| {
            let (path, value) = line.split_once('=').expect("an assignment");
            crate::config::Flag {
                path: path.to_owned(),
                value: Some(value.to_owned()),
                written: "--set".to_owned(),
            }
        };
        let sources = crate::config::Sources {
            flags: text.split_whitespace().map(flag).collect(),
            ..crate::config::Sources::default()
        };
        crate::config::load(&sources)
            .expect("a good configuration")
            .config
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_key() {
        for (text, named) in [
            ("tls.certificate=c.pem", "tls.key is not"),
            ("tls.key=k.pem", "tls.certificate is not"),
            (
                "tls.key=k.pem tls.certificate=c.pem tls.self_signed=true",
                "tls.self_signed",
            ),
            ("tls.redirect_listen=127.0.0.1:80", "tls.redirect_listen"),
            ("tls.hsts_max_age_s=60", "tls.hsts_max_age_s"),
            (
                "tls.hsts_max_age_s=60 tls.self_signed=true",
                "tls.hsts_max_age_s",
            ),
        ] {
            let error = refuse(&config(text)).expect_err(text).to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
        for text in [
            "",
            "tls.certificate=c.pem tls.key=k.pem tls.hsts_max_age_s=60",
            "tls.self_signed=true tls.redirect_listen=127.0.0.1:80",
            "tls.redirect_listen=",
        ] {
            assert!(refuse(&config(text)).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_self_signed_certificate_has_all_names_once() {
        let config = config(
            "http.listen=192.0.2.7:7777 http.hosts=studio.example,[2001:db8::7] \
             media.advertise=203.0.113.7",
        );
        let interfaces = [[127, 0, 0, 1], [192, 0, 2, 7], [10, 0, 0, 5]].map(IpAddr::from);
        assert_eq!(
            names(&config, "box", &interfaces),
            [
                "localhost",
                "box",
                "studio.example",
                "2001:db8::7",
                "127.0.0.1",
                "::1",
                "192.0.2.7",
                "203.0.113.7",
                "10.0.0.5"
            ]
        );
        let bad = names(&config, "no name", &[]);
        assert!(!bad.contains(&"no name".to_owned()));
    }
}
