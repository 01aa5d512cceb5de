//! A manager: its configuration, and the nodes it starts itself.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use whitewater_control::{
    About, Account, Bounds, Calls, ManagerConfig, ManagerServer, NodeEntry, Patience,
};

use crate::cli::Inheritance;
use crate::config::{self, Config, Effective};
use crate::embedded::Embedded;
use crate::node::{self, StartError, control_config, file, seconds};
use crate::security::{self, Security};

/// A started manager.
pub struct Manager {
    server: ManagerServer,
    embedded: Embedded,
    listen: SocketAddr,
    security: Security,
    nodes: Vec<String>,
    notes: Vec<String>,
}

impl Manager {
    /// Starts everything; must be called inside a tokio runtime. Nodes that are started here are
    /// told what is in `inheritance`.
    ///
    /// # Errors
    /// [`StartError`] names the address or setting at fault.
    pub fn start(effective: &Effective, inheritance: &Inheritance) -> Result<Manager, StartError> {
        let config = own_side(&effective.config);
        refuse(&config, &effective.config)?;
        let embedded = Embedded::start(&effective.config, inheritance).map_err(StartError::Io)?;
        let manager = manager_config(&config, &effective.config, embedded.entries());
        let nodes = manager.nodes.iter();
        let nodes = nodes.map(|node| format!("{} {}", node.alias, node.url));
        let nodes = nodes.collect();
        let server = ManagerServer::bind(manager).map_err(StartError::Http)?;
        Ok(Manager {
            listen: server.local_addr(),
            security: Security::new(
                &config,
                server.certificate_fingerprint(),
                server.redirect_addr(),
                server.admin_addr(),
            ),
            server,
            embedded,
            nodes,
            notes: notes(effective),
        })
    }

    /// The HTTP address with its real port.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// What a person who starts the manager wants to read: lines, each with its end.
    pub fn greeting(&self) -> String {
        let base = self.security.base(self.listen);
        let mut text = format!(
            "Whitewater {version}, manager\n\
             \n  Page      {base}/\
             \n  Publish   {base}/whip/STREAM   (WHIP)\
             \n  Watch     {base}/whep/STREAM   (WHEP)\
             {security}\n",
            version = env!("CARGO_PKG_VERSION"),
            security = self.security.lines(),
        );
        for node in &self.nodes {
            text += &format!("  Node      {node}\n");
        }
        for note in &self.notes {
            text += &format!("\nnote: {note}\n");
        }
        text.push('\n');
        text
    }

    /// Serves until `stop` is ready. Nodes that were started here end with the manager, the
    /// others go on.
    ///
    /// # Errors
    /// The HTTP listener's.
    pub async fn run(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let result = self.server.run(stop).await;
        self.embedded.end().await;
        result
    }
}

/// The configuration with the manager's address as that of HTTP.
fn own_side(config: &Config) -> Config {
    let mut own = config.clone();
    own.http.listen = config.manager.listen;
    // It registers nowhere.
    own.cluster.etcd.clear();
    own
}

fn refuse(own: &Config, config: &Config) -> Result<(), StartError> {
    if config.manager.accounts.is_empty() {
        node::refuse_unguarded(own)?;
    }
    security::refuse(own)?;
    node::refuse_nameless(config)?;
    let manager = &config.manager;
    if manager.nodes.is_empty() && manager.embedded == 0 && config.cluster.etcd.is_empty() {
        return Err(StartError::Config(
            "the manager has no nodes: name them with --node ALIAS=URL, let it start some with \
             --embedded 3, or let them register in --etcd URL",
        ));
    }
    if is_guarded(config) && config.auth.secret.is_empty() && !config.cluster.etcd.is_empty() {
        return Err(StartError::Config(
            "cluster.etcd is for several managers, and what one of them gives, tokens and session \
             URLs, is to hold at the others: set auth.secret, the same for all",
        ));
    }
    whitewater_control::check_tls(&security::tls(own)).map_err(StartError::Tls)
}

fn notes(effective: &Effective) -> Vec<String> {
    let mut notes = effective.notes.clone();
    if is_guarded(&effective.config) && effective.config.auth.secret.is_empty() {
        let note =
            "auth.secret is not set: session URLs and tokens given here end with this process";
        notes.push(note.to_owned());
    }
    notes
}

/// Whether anybody is asked for credentials.
fn is_guarded(config: &Config) -> bool {
    node::auth_config(&config.auth).asks() || !config.manager.accounts.is_empty()
}

fn manager_config(own: &Config, config: &Config, embedded: &[NodeEntry]) -> ManagerConfig {
    let manager = &config.manager;
    let millis = |count: u32| Duration::from_millis(count.into());
    let token = |token: Option<&config::Token>| {
        token.map_or_else(String::new, |token| token.expose().to_owned())
    };
    let entry = |node: &config::NodeEntry| NodeEntry {
        alias: node.alias.name().clone(),
        url: node.url.as_str().to_owned(),
        token: token(node.token.as_ref()),
        region: node.region.clone(),
        pub_max: node.pub_max,
        sub_max: node.sub_max,
    };
    let account = |account: &config::Account| Account {
        username: account.username.clone(),
        password: account.password.expose().to_owned(),
    };
    ManagerConfig {
        http: control_config(own, About::default()),
        nodes: manager
            .nodes
            .iter()
            .map(entry)
            .chain(embedded.iter().cloned())
            .collect(),
        node_token: token(manager.node_token.as_ref()),
        hands_on_tokens: manager.hand_on_tokens,
        calls: match manager.calls {
            config::Calls::Proxy => Calls::Proxied,
            config::Calls::Redirect => Calls::Redirected,
        },
        poll_every: millis(manager.poll_ms),
        poll_timeout: millis(manager.poll_timeout_ms),
        call_timeout: millis(manager.call_timeout_ms),
        bounds: Bounds {
            depth_max: manager.tree_depth_max,
            fan_out_max: manager.tree_fan_out_max,
        },
        patience: Patience {
            // A publisher that was sent to a node may take as long as the node may.
            arrival: millis(manager.call_timeout_ms) + Duration::from_secs(2),
            idle: seconds(manager.tree_idle_s),
            ..Patience::default()
        },
        drain_max: seconds(manager.drain_s),
        etcd: node::etcd(config),
        ca_file: file(&config.cluster.ca_file),
        accounts: manager.accounts.iter().map(account).collect(),
        red5_token: manager.red5_token.expose().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flag;

    fn refusal(settings: &[(&str, &str)]) -> Option<String> {
        let flag = |(path, value): &(&str, &str)| Flag {
            path: (*path).to_owned(),
            value: Some((*value).to_owned()),
            written: "--set".to_owned(),
        };
        let sources = config::Sources {
            flags: settings.iter().map(flag).collect(),
            ..config::Sources::default()
        };
        let effective = config::load(&sources).expect("a good configuration");
        let refused = refuse(&own_side(&effective.config), &effective.config);
        refused.err().map(|error| error.to_string())
    }

    #[test]
    fn a_manager_needs_nodes_and_on_other_addresses_somebody_who_may_come_in() {
        let node = ("manager.nodes", r#"["a=http://127.0.0.1:1"]"#);
        assert!(refusal(&[]).is_some_and(|text| text.contains("--embedded")));
        assert_eq!(refusal(&[node]), None);
        assert_eq!(refusal(&[("manager.embedded", "1")]), None);
        assert_eq!(refusal(&[("cluster.etcd", "http://127.0.0.1:2379")]), None);
        let everywhere = ("manager.listen", "0.0.0.0:8888");
        assert!(refusal(&[node, everywhere]).is_some_and(|text| text.contains("auth.tokens")));
        assert_eq!(refusal(&[node, everywhere, ("auth.open", "true")]), None);
        let etcd = ("cluster.etcd", "http://127.0.0.1:2379");
        let issuer = ("auth.jwks_url", "https://id.example/keys");
        assert!(refusal(&[etcd, issuer]).is_some_and(|text| text.contains("auth.secret")));
        assert_eq!(refusal(&[node, issuer]), None);
        // The node's own address is not the manager's.
        assert_eq!(refusal(&[node, ("http.listen", "0.0.0.0:7777")]), None);
    }
}
