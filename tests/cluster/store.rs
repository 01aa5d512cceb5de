//! An etcd for managers to meet in.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::http::request;
use crate::node::eventually;

/// An etcd of its own, which may be stopped and started again.
pub(crate) struct Etcd {
    child: Option<Child>,
    folder: PathBuf,
    /// Where it serves.
    pub(crate) http: SocketAddr,
    /// The same as a URL.
    pub(crate) url: String,
    peers: SocketAddr,
}

impl Etcd {
    /// One on loopback. `None` where it is not installed; in CI that is a failure.
    pub(crate) fn start(name: &str) -> Option<Etcd> {
        let free = || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.local_addr().expect("bound")
        };
        Self::start_at(name, free(), free())
    }

    /// One that serves at `http`; `peers` is for others like it.
    pub(crate) fn start_at(name: &str, http: SocketAddr, peers: SocketAddr) -> Option<Etcd> {
        let folder = format!("whitewater-etcd-{}-{name}", std::process::id());
        let mut etcd = Etcd {
            child: None,
            folder: std::env::temp_dir().join(folder),
            http,
            url: format!("http://{http}"),
            peers,
        };
        if !etcd.begin() {
            assert!(std::env::var_os("CI").is_none(), "etcd is not installed");
            eprintln!("etcd is not installed: it is not tested");
            return None;
        }
        Some(etcd)
    }

    /// Starts it again with what it had.
    pub(crate) fn begin(&mut self) -> bool {
        let child = Command::new("etcd")
            .args(["--listen-client-urls", &self.url])
            .args(["--advertise-client-urls", &self.url])
            .args(["--listen-peer-urls", &format!("http://{}", self.peers)])
            .arg("--data-dir")
            .arg(&self.folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = child.ok();
        if self.child.is_none() {
            return false;
        }
        eventually("etcd serves", || {
            let health = request(self.http, "GET", "/health", None);
            health.is_ok_and(|answer| answer.status == 200)
        });
        true
    }

    /// Kills it.
    pub(crate) fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.end();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
