//! One server, its data plane and what its clients do most.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use whitewater_control::{Config, Server};
use whitewater_link::SessionId;

use crate::client::{Reply, send};
use crate::fake::Fake;

pub(crate) struct World {
    pub(crate) at: SocketAddr,
    /// Where the management API is, if it has a listener of its own.
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) plane: Fake,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<std::io::Result<()>>,
}

/// A session as its client knows it.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) location: String,
    pub(crate) etag: String,
    pub(crate) id: SessionId,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        let (plane, port) = Fake::start();
        let mut config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            ..Config::default()
        };
        configure(&mut config);
        let server = Server::bind(config, port).expect("bind");
        let at = server.local_addr();
        let admin = server.admin_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        World {
            at,
            admin,
            plane,
            stop: Some(stop),
            server,
        }
    }

    /// Asks the server to end and waits until it has.
    pub(crate) async fn shut_down(mut self) -> Fake {
        self.begin_shutdown();
        let ended = tokio::time::timeout(Duration::from_secs(10), self.server).await;
        ended
            .expect("it ends")
            .expect("no panic")
            .expect("no error");
        self.plane
    }

    pub(crate) fn begin_shutdown(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Reply {
        send(self.at, method, path, headers, body.as_ref()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn post_sdp(&self, path: &str, offer: &str) -> Reply {
        self.send("POST", path, &[("content-type", "application/sdp")], offer)
            .await
    }

    pub(crate) async fn post_json(&self, path: &str, json: &str) -> Reply {
        self.send("POST", path, &[("content-type", "application/json")], json)
            .await
    }

    pub(crate) async fn patch(&self, made: &Made, if_match: &str, fragment: &str) -> Reply {
        let headers = [
            ("content-type", "application/trickle-ice-sdpfrag"),
            ("if-match", if_match),
        ];
        self.send("PATCH", &made.location, &headers, fragment).await
    }

    pub(crate) async fn publish(&self, stream: &str) -> Made {
        made(&self.post_sdp(&format!("/whip/{stream}"), OFFER).await)
    }

    pub(crate) async fn watch(&self, stream: &str) -> Made {
        made(&self.post_sdp(&format!("/whep/{stream}"), OFFER).await)
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, &[], "").await
    }

    /// The stream's object in Live777's API, if it is there.
    pub(crate) async fn stream(&self, name: &str) -> Option<Value> {
        let reply = self.get(&format!("/api/streams/{name}")).await;
        match reply.status.as_u16() {
            200 => Some(reply.json()),
            404 => None,
            _ => panic!("{reply:?}"),
        }
    }

    /// Looks until `check` holds; what the data plane tells takes a moment.
    pub(crate) async fn until<F: Future<Output = bool>>(&self, what: &str, check: impl Fn() -> F) {
        for _ in 0..400 {
            if check().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}");
    }
}

#[track_caller]
pub(crate) fn made(reply: &Reply) -> Made {
    assert_eq!(reply.status.as_u16(), 201, "{reply:?}");
    let location = reply.header("location").to_owned();
    let id = location.rsplit('/').next().expect("a segment");
    Made {
        id: id.parse().expect("a session id"),
        etag: reply.header("etag").to_owned(),
        location,
    }
}

pub(crate) const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
    a=group:BUNDLE 0\r\na=ice-ufrag:cli0\r\na=ice-pwd:0123456789012345678901\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=rtpmap:96 VP8/90000\r\n";

/// A fragment with the offer's credentials: candidates only.
pub(crate) const TRICKLE: &str = "a=ice-ufrag:cli0\r\na=ice-pwd:0123456789012345678901\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
    a=candidate:1 1 UDP 2130706431 127.0.0.1 40000 typ host\r\na=end-of-candidates\r\n";

/// A fragment with credentials of its own.
pub(crate) fn restart(number: usize) -> String {
    TRICKLE.replace("cli0", &format!("new{number}"))
}

pub(crate) fn offer_with(attribute: &str) -> String {
    format!("{OFFER}{attribute}\r\n")
}
