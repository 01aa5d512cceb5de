//! Another server, which answers as it is told.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A request it got.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// What it answers: status, headers, body. `None`: nothing, for ever.
pub(crate) type Said = Option<(u16, Headers, String)>;

pub(crate) type Headers = Vec<(&'static str, String)>;

pub(crate) struct Far {
    pub(crate) at: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    server: JoinHandle<()>,
}

impl Far {
    /// One that answers the n-th request by `answer(n, request)`.
    pub(crate) async fn new(answer: impl Fn(usize, &Asked) -> Said + Send + Sync + 'static) -> Far {
        Self::at("127.0.0.1:0", answer).await
    }

    pub(crate) async fn at(
        address: &str,
        answer: impl Fn(usize, &Asked) -> Said + Send + Sync + 'static,
    ) -> Far {
        Self::start(address, None, answer).await
    }

    /// One that speaks HTTPS.
    pub(crate) async fn secure(
        acceptor: TlsAcceptor,
        answer: impl Fn(usize, &Asked) -> Said + Send + Sync + 'static,
    ) -> Far {
        Self::start("127.0.0.1:0", Some(acceptor), answer).await
    }

    async fn start(
        address: &str,
        acceptor: Option<TlsAcceptor>,
        answer: impl Fn(usize, &Asked) -> Said + Send + Sync + 'static,
    ) -> Far {
        let listener = TcpListener::bind(address).await.expect("an address");
        let at = listener.local_addr().expect("bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (noted, answer) = (asked.clone(), Arc::new(answer));
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let (noted, answer) = (noted.clone(), answer.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (noted, answer) = (noted.clone(), answer.clone());
                    async move {
                        let asked = read(request).await;
                        let number = {
                            let mut noted = noted.lock().expect("no test panicked inside");
                            noted.push(asked.clone());
                            noted.len() - 1
                        };
                        let Some((status, headers, body)) = answer(number, &asked) else {
                            return std::future::pending().await;
                        };
                        let mut response = Response::builder().status(status);
                        for (name, value) in headers {
                            response = response.header(name, value);
                        }
                        let body = Full::new(Bytes::from(body));
                        Ok::<_, Infallible>(response.body(body).expect("an answer"))
                    }
                });
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    match acceptor {
                        None => drop(http.serve_connection(TokioIo::new(stream), service).await),
                        // Who does not trust the certificate says so and goes.
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                drop(http.serve_connection(TokioIo::new(stream), service).await);
                            }
                        }
                    }
                });
            }
        });
        Far { at, asked, server }
    }

    /// One that takes every session, at `/session/1`.
    pub(crate) async fn good() -> Far {
        Self::new(|_, asked| Some(taken(asked))).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }

    /// What was asked, oldest first.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no test panicked inside").clone()
    }

    /// How often this method was asked.
    pub(crate) fn count(&self, method: &str) -> usize {
        let asked = self.asked();
        asked.iter().filter(|asked| asked.method == method).count()
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// As a server does that takes what comes.
pub(crate) fn taken(asked: &Asked) -> (u16, Headers, String) {
    if asked.method == "DELETE" {
        return (200, Vec::new(), String::new());
    }
    let headers = vec![
        ("content-type", "application/sdp".to_owned()),
        ("location", "/session/1".to_owned()),
        ("etag", "\"1\"".to_owned()),
    ];
    (201, headers, ANSWER.to_owned())
}

async fn read(request: Request<Incoming>) -> Asked {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    Asked {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

/// The scripted data plane takes it.
pub(crate) const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
