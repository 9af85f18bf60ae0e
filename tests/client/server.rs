//! A service on a socket, and a client for it; neither is of this project.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// A service that answers until it is dropped.
pub(super) struct Server {
    address: SocketAddr,
    served: Arc<Mutex<usize>>,
    listening: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Answers by `answer`, which is told how many were answered before.
    pub(super) async fn start(
        answer: impl Fn(usize) -> Response<String> + Send + Sync + 'static,
    ) -> Self {
        let answer = Arc::new(answer);
        Self::serve(move |before, _| std::future::ready(answer(before))).await
    }

    /// Answers to all that `limiter` allows, through the layer.
    #[cfg(feature = "tower")]
    pub(super) async fn limited(limiter: tollgate::Limiter) -> Self {
        use tower::{Layer, ServiceExt};
        let here = std::net::IpAddr::from([127, 0, 0, 1]);
        let layer = tollgate::layer::LimitLayer::new(limiter).peer(move |_| Some(here));
        let inner = tower::service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(String::new()))
        });
        let service = layer.layer(inner);
        Self::serve(move |_, request| {
            let service = service.clone();
            async move {
                service
                    .oneshot(request)
                    .await
                    .unwrap_or_else(|never| match never {})
            }
        })
        .await
    }

    /// Without a `Date`: time is moved by hand here, and hyper's is not.
    async fn serve<A, F, B>(answer: A) -> Self
    where
        A: Fn(usize, Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Error: std::error::Error + Send + Sync, Data: Send> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::new(Mutex::new(0));
        let count = Arc::clone(&served);
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, count) = (answer.clone(), Arc::clone(&count));
                let service = service_fn(move |request: Request<Incoming>| {
                    let before = {
                        let mut count = count.lock().unwrap();
                        *count += 1;
                        *count - 1
                    };
                    let answered = answer(before, request);
                    async move { Ok::<_, Infallible>(answered.await) }
                });
                let mut server = http1::Builder::new();
                let server = server.auto_date_header(false);
                tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
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
