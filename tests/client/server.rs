//! A service on a socket, and a client for it; neither is of this project.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, Method, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// What a service was asked.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
}

/// A service that answers until it is dropped.
pub(super) struct Server {
    address: SocketAddr,
    served: Arc<Mutex<usize>>,
    listening: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Answers by `answer`, which is told how many were answered before.
    pub(super) async fn start(
        answer: impl Fn(usize, &Asked) -> Response<String> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::new(Mutex::new(0));
        let (answer, count) = (Arc::new(answer), Arc::clone(&served));
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, count) = (Arc::clone(&answer), Arc::clone(&count));
                let service = service_fn(move |request: Request<Incoming>| {
                    let asked = Asked {
                        method: request.method().clone(),
                        path: request.uri().path().to_owned(),
                        headers: request.headers().clone(),
                    };
                    let mut count = count.lock().unwrap();
                    let response = answer(*count, &asked);
                    *count += 1;
                    async move { Ok::<_, Infallible>(response) }
                });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        Self {
            address,
            served,
            listening,
        }
    }

    /// How many requests were answered.
    pub(super) fn served(&self) -> usize {
        *self.served.lock().unwrap()
    }

    pub(super) fn request(&self, method: &str, path: &str) -> Request<String> {
        Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .body(String::new())
            .unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// A client that only sends.
pub(super) fn client() -> Client<HttpConnector, String> {
    Client::builder(TokioExecutor::new()).build_http()
}

/// An answer of a status and headers.
pub(super) fn answer(status: u16, headers: &[(&str, &str)]) -> Response<String> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(String::new()).unwrap()
}
