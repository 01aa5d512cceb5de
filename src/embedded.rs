//! Nodes that a manager starts itself: processes of this program on loopback, started again when
//! they end, and ended with the manager.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use whitewater_control::{NodeEntry, NodeName, random_token};

use crate::cli::Inheritance;
use crate::config::{Config, Token};

/// All of them.
pub(crate) struct Embedded {
    entries: Vec<NodeEntry>,
    keepers: JoinSet<()>,
    ending: watch::Sender<bool>,
}

/// How one is started.
#[derive(Clone)]
struct Recipe {
    program: PathBuf,
    arguments: Vec<String>,
    /// What the manager shows, and what else the node takes.
    tokens: String,
    alias: NodeName,
}

impl Embedded {
    /// Starts as many as are configured; must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn start(config: &Config, inheritance: &Inheritance) -> io::Result<Self> {
        let mut embedded = Embedded {
            entries: Vec::new(),
            keepers: JoinSet::new(),
            ending: watch::Sender::new(false),
        };
        for index in 0..config.manager.embedded {
            let listen = free_address()?;
            let token = random_token()?;
            let alias = NodeName::parse(&format!("embedded-{index}")).map_err(io::Error::other)?;
            let recipe = Recipe::new(config, inheritance, index, listen, &alias, &token)?;
            let child = recipe.spawn()?;
            let ending = embedded.ending.subscribe();
            embedded.keepers.spawn(keep(recipe, child, ending));
            embedded.entries.push(NodeEntry {
                alias,
                url: format!("http://{listen}"),
                token,
                region: None,
                pub_max: None,
                sub_max: None,
            });
        }
        Ok(embedded)
    }

    /// For the manager.
    pub(crate) fn entries(&self) -> &[NodeEntry] {
        &self.entries
    }

    /// Ends all of them in order.
    pub(crate) async fn end(mut self) {
        self.ending.send_replace(true);
        while self.keepers.join_next().await.is_some() {}
    }
}

impl Recipe {
    fn new(
        config: &Config,
        inheritance: &Inheritance,
        index: u16,
        listen: SocketAddr,
        alias: &NodeName,
        token: &str,
    ) -> io::Result<Self> {
        let mut udp = config.media.udp;
        if udp.port() != 0 {
            udp.set_port(udp.port().saturating_add(index));
        }
        let own = [
            ("http.listen", listen.to_string()),
            ("http.admin_listen", String::new()),
            // The manager says who the client is.
            ("http.trusted_proxies", "127.0.0.1".to_owned()),
            ("media.udp", udp.to_string()),
            ("media.ports_per_core", "false".to_owned()),
            ("media.shards", shards(config).to_string()),
            ("node.alias", alias.to_string()),
            ("auth.open", "false".to_owned()),
            ("tls.certificate", String::new()),
            ("tls.key", String::new()),
            ("tls.self_signed", "false".to_owned()),
            ("tls.redirect_listen", String::new()),
            ("tls.hsts_max_age_s", "0".to_owned()),
            ("publish.redirect", String::new()),
            ("play.redirect", String::new()),
            ("cluster.etcd", String::new()),
            // They get streams from each other.
            ("cascade.allow", "127.0.0.1".to_owned()),
        ];
        let mut arguments = vec!["serve".to_owned(), "--end-with-parent".to_owned()];
        if let Some(file) = &inheritance.file {
            arguments.push("--config".to_owned());
            arguments.push(file.display().to_string());
        }
        let is_own = |assignment: &&String| {
            let key = assignment.split('=').next().unwrap_or_default().trim();
            own.iter().any(|(own, _)| *own == key)
        };
        let inherited = inheritance.assignments.iter();
        let inherited = inherited.filter(|assignment| !is_own(assignment)).cloned();
        let own_assignments = own.iter().map(|(key, value)| format!("{key}={value}"));
        for assignment in inherited.chain(own_assignments) {
            arguments.push("--set".to_owned());
            arguments.push(assignment);
        }
        let others = config.auth.tokens.iter().map(Token::expose);
        let tokens: Vec<_> = [token].into_iter().chain(others).collect();
        Ok(Recipe {
            program: std::env::current_exe()?,
            arguments,
            tokens: tokens.join(","),
            alias: alias.clone(),
        })
    }

    fn spawn(&self) -> io::Result<Child> {
        Command::new(&self.program)
            .args(&self.arguments)
            // Not as a flag: every user of the machine can read those.
            .env("WHITEWATER_AUTH_TOKENS", &self.tokens)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
    }
}

/// Keeps one running until the end.
async fn keep(recipe: Recipe, mut child: Child, mut ending: watch::Receiver<bool>) {
    loop {
        let status = tokio::select! {
            status = child.wait() => status,
            () = over(&mut ending) => return end(child).await,
        };
        match status {
            Ok(status) => tracing::warn!(node = %recipe.alias, %status, "the node ended"),
            Err(error) => tracing::warn!(node = %recipe.alias, %error, "the node is lost"),
        }
        child = loop {
            let rest = tokio::time::sleep(RESTART_AFTER);
            tokio::select! {
                () = rest => {}
                () = over(&mut ending) => return,
            }
            match recipe.spawn() {
                Ok(child) => break child,
                Err(error) => {
                    tracing::error!(node = %recipe.alias, %error, "the node does not start");
                }
            }
        };
    }
}

/// Ready at the end, or when nobody is left to tell of it.
async fn over(ending: &mut watch::Receiver<bool>) {
    let _ = ending.wait_for(|ending| *ending).await;
}

/// Lets it say goodbye.
async fn end(mut child: Child) {
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(pid) = pid {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::TERM);
    }
    if tokio::time::timeout(END_WITHIN, child.wait())
        .await
        .is_err()
    {
        let _ = child.kill().await;
    }
}

/// The cores divided among the nodes.
fn shards(config: &Config) -> usize {
    match config.media.shards {
        0 => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            (cores / usize::from(config.manager.embedded).max(1)).max(1)
        }
        count => count.into(),
    }
}

/// One that nobody listened on a moment ago.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

const RESTART_AFTER: Duration = Duration::from_secs(1);
const END_WITHIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_told_what_the_manager_was_told_unless_it_is_its_own() {
        let inheritance = Inheritance {
            file: Some("/etc/w.toml".into()),
            assignments: vec![
                "node.sub_max=2".to_owned(),
                "http.listen=0.0.0.0:1".to_owned(),
                "media.udp = 0.0.0.0:1".to_owned(),
            ],
        };
        let alias = NodeName::parse("embedded-1").expect("an alias");
        let listen = "127.0.0.1:7".parse().expect("an address");
        let config = Config::default();
        let recipe = Recipe::new(&config, &inheritance, 1, listen, &alias, "hush").expect("one");
        let all = recipe.arguments.join(" ");
        for part in [
            "serve --end-with-parent --config /etc/w.toml",
            "--set node.sub_max=2",
            "--set http.listen=127.0.0.1:7",
            "--set media.udp=0.0.0.0:7778",
            "--set node.alias=embedded-1",
        ] {
            assert!(all.contains(part), "{part} in {all}");
        }
        assert_eq!(all.matches("http.listen").count(), 1, "{all}");
        assert_eq!(all.matches("media.udp").count(), 1, "{all}");
        assert!(!all.contains("hush"), "{all}");
    }
}
