use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use whitewater_model::cluster::{Bounds, NodeName, Patience};

use crate::Config;

/// Everything a manager is told at start.
#[derive(Clone, Debug)]
pub struct ManagerConfig {
    /// Its own HTTP side. The node's policy in it means nothing.
    pub http: Config,
    /// The nodes that are known from the start.
    pub nodes: Vec<NodeEntry>,
    /// For nodes without a token of their own: those that register.
    pub node_token: String,
    /// Hand on the token of whoever asks instead of the node's.
    pub hands_on_tokens: bool,
    /// Whether calls of WHIP and WHEP are answered with the node's URL.
    pub calls: Calls,
    /// How often nodes are asked what they have.
    pub poll_every: Duration,
    /// How long a node may take for an answer to that.
    pub poll_timeout: Duration,
    /// How long a node may take for the answer to a client's request.
    pub call_timeout: Duration,
    /// How large trees of nodes may become.
    pub bounds: Bounds,
    /// How long differences may last.
    pub patience: Patience,
    /// How long the viewers of a node that is drained may take to go elsewhere.
    pub drain_max: Duration,
    /// Where managers meet; without URLs there is one.
    pub etcd: EtcdAccess,
    /// Certificates, in PEM, that nodes and etcd are trusted by instead of those of the system.
    pub ca_file: Option<PathBuf>,
    /// Who may log in at the page.
    pub accounts: Vec<Account>,
    /// The Red5 dialect's token for its admin routes; empty: they are closed.
    pub red5_token: String,
}

impl Default for ManagerConfig {
    fn default() -> Self {
        ManagerConfig {
            http: Config::default(),
            nodes: Vec::new(),
            node_token: String::new(),
            hands_on_tokens: false,
            calls: Calls::Proxied,
            poll_every: Duration::from_millis(500),
            poll_timeout: Duration::from_secs(2),
            call_timeout: Duration::from_secs(10),
            bounds: Bounds::default(),
            patience: Patience::default(),
            drain_max: Duration::from_secs(60),
            etcd: EtcdAccess::default(),
            ca_file: None,
            accounts: Vec::new(),
            red5_token: String::new(),
        }
    }
}

/// What a manager does with the calls of WHIP and WHEP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Calls {
    /// It makes them itself, and those of their sessions.
    #[default]
    Proxied,
    /// It says where to make them (307).
    Redirected,
}

/// How an etcd is reached.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EtcdAccess {
    /// Its members' URLs, `http://` or `https://`.
    pub urls: Vec<String>,
    /// Who logs in there; empty: nobody, it asks for nothing.
    pub username: String,
    /// The password.
    pub password: String,
}

/// The password is a secret.
impl fmt::Debug for EtcdAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdAccess")
            .field("urls", &self.urls)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// A node that is known from the start.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeEntry {
    /// Its name.
    pub alias: NodeName,
    /// Where its API is, without a slash at the end.
    pub url: String,
    /// What it is asked with, a bearer token; empty: none.
    pub token: String,
    /// Where it stands; none: what it says itself.
    pub region: Option<String>,
    /// Publishers it takes; none: what it says itself.
    pub pub_max: Option<u32>,
    /// Viewers it takes; none: what it says itself.
    pub sub_max: Option<u32>,
}

/// The token is a secret.
impl fmt::Debug for NodeEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeEntry")
            .field("alias", &self.alias)
            .field("url", &self.url)
            .field("has_token", &!self.token.is_empty())
            .field("region", &self.region)
            .field("pub_max", &self.pub_max)
            .field("sub_max", &self.sub_max)
            .finish()
    }
}

/// Somebody who may log in.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The name.
    pub username: String,
    /// The password.
    pub password: String,
}

/// The password is a secret.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}
