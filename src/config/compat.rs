//! Keys of Live777's configuration file which have another name here.
//!
//! Keys of the same name and meaning (`http.listen`, `strategy.*`, `sdp.*`, `auth.tokens`,
//! `auth.secret`, `log.level`) need no entry. Values of old names are turned into what the new key
//! takes and are judged there.

use std::net::{IpAddr, SocketAddr};

use super::node::{Kind, Node};

/// A key under its old name.
pub(crate) struct OldKey {
    /// Its full name in Live777's file.
    pub(crate) path: &'static str,
    /// The full name of its counterpart.
    pub(crate) new_path: &'static str,
    /// Turns the value into one for the counterpart; what would be allowed if it cannot.
    pub(crate) convert: fn(Node) -> Result<Node, &'static str>,
    /// What is different, for the hint.
    pub(crate) about: &'static str,
}

/// Keys that are accepted under their old name.
pub(crate) static OLD_KEYS: &[OldKey] = &[
    OldKey {
        path: "http.cors",
        new_path: "http.allowed_origins",
        convert: cors,
        about: "true is [\"*\"], false is []; WHIP, WHEP and session routes are always open",
    },
    OldKey {
        path: "ice_servers",
        new_path: "ice.servers",
        convert: Ok,
        about: "the value is the same",
    },
    OldKey {
        path: "nodes",
        new_path: "manager.nodes",
        convert: Ok,
        about: "the value is the same, without mode",
    },
    OldKey {
        path: "auth.accounts",
        new_path: "manager.accounts",
        convert: Ok,
        about: "the value is the same",
    },
    OldKey {
        path: "webrtc.ice_lite",
        new_path: "ice.lite",
        convert: Ok,
        about: "the value is the same",
    },
    OldKey {
        path: "webrtc.ice_udp_addrs",
        new_path: "media.advertise",
        convert: ice_udp_addrs,
        about: "addresses without ports, \"auto\" is []; the one UDP port is that of media.udp",
    },
];

/// Sections and keys of Live777 and LiveMan which nothing here corresponds to.
pub(crate) static WITHOUT_COUNTERPART: &[&str] = &[
    "auto_record",
    "cascade.check_attempts",
    "cascade.check_tick_time",
    "cascade.close_other_sub",
    "cascade.maximum_idle_time",
    "cascade.mode",
    "database",
    "extra_ice",
    "hooks",
    "http.public",
    "net4mqtt",
    "playback",
    "record_sync",
    "recorder",
    "rtsp",
    "stream",
];

/// Environment variables of Live777 that are not read, and what to set in their place.
pub(crate) static OLD_ENVIRONMENT: &[(&str, &str)] = &[
    ("PORT", "WHITEWATER_HTTP_LISTEN"),
    ("LOG_LEVEL", "WHITEWATER_LOG_LEVEL"),
    ("LIVE777_WEBRTC_ICE_UDP_ADDRS", "WHITEWATER_MEDIA_ADVERTISE"),
    ("LIVE777_WEBRTC_ICE_UDP_ADDR", "WHITEWATER_MEDIA_ADVERTISE"),
    ("LIVETWO_WEBRTC_ICE_UDP_ADDR", "WHITEWATER_MEDIA_ADVERTISE"),
];

fn cors(mut node: Node) -> Result<Node, &'static str> {
    let origins = match node.kind {
        Kind::Switch(true) => vec![Node {
            span: node.span.clone(),
            kind: Kind::Text("*".into()),
        }],
        Kind::Switch(false) => Vec::new(),
        _ => return Err("true or false"),
    };
    node.kind = Kind::List(origins);
    Ok(node)
}

fn ice_udp_addrs(mut node: Node) -> Result<Node, &'static str> {
    let allowed = "a list of \"auto\" and IP addresses with port 0, as \"192.0.2.7:0\"";
    let Kind::List(items) = node.kind else {
        return Err(allowed);
    };
    let mut addresses = Vec::with_capacity(items.len());
    for item in items {
        let Kind::Text(text) = &item.kind else {
            return Err(allowed);
        };
        if text == "auto" {
            continue;
        }
        let address = match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 => {
                return Err("addresses with port 0: media uses one port, set it with media.udp");
            }
            Ok(address) => address.ip(),
            Err(_) => text.parse::<IpAddr>().map_err(|_| allowed)?,
        };
        addresses.push(Node {
            kind: Kind::Text(address.to_string()),
            ..item
        });
    }
    node.kind = Kind::List(addresses);
    Ok(node)
}
