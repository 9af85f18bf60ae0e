//! A system's server, on a socket of its own, and a client for it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tollgate::{Limiter, ManualClock, Policy, Timestamp};
use ureq::Agent;
use ureq::http::{HeaderName, HeaderValue, Response};

use crate::{app, common};

/// 2025-10-09T08:00:00Z, the beginning of an hour.
pub(crate) const START: Timestamp = Timestamp::from_secs(1_759_996_800);

/// The administrators' token.
pub(crate) const ADMIN: &str = "admin-token";

/// The policy of a system.
pub(crate) fn policy_text(system: &str) -> String {
    std::fs::read_to_string(app::policy_path(system)).unwrap()
}

/// A server that runs until this is dropped.
pub(crate) struct World {
    pub(crate) limiter: Limiter,
    pub(crate) clock: ManualClock,
    pub(crate) url: String,
    agent: Agent,
    runtime: Option<tokio::runtime::Runtime>,
    system: String,
    dir: Option<tempfile::TempDir>,
}

/// What a request was answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    headers: ureq::http::HeaderMap,
    pub(crate) body: String,
}

impl Answered {
    /// The header, if it is there.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The header as a number.
    pub(crate) fn number(&self, name: &str) -> u64 {
        let text = self.header(name);
        let text = text.unwrap_or_else(|| panic!("no {name} in {self:?}"));
        text.parse().unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A system by name, served on a clock that is moved by hand.
pub(crate) fn serve(system: &str) -> World {
    serve_policy(system, &policy_text(system))
}

/// A system's routes under another policy.
pub(crate) fn serve_policy(system: &str, policy: &str) -> World {
    start(system, policy, common::scratch(), ManualClock::new(START))
}

fn start(system: &str, policy: &str, dir: tempfile::TempDir, clock: ManualClock) -> World {
    let policy = Policy::from_toml(policy).unwrap_or_else(|faults| panic!("{faults}"));
    let builder = Limiter::builder(policy).counters(10_000);
    let page = app::Page::default();
    let builder = page.watch(builder.clock(clock.clone()));
    let limiter = builder.open(dir.path().join("data")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = app::service(system, limiter.clone(), page, Some(ADMIN));
    runtime.spawn(async move { axum::serve(listener, service).await });
    World {
        limiter,
        clock,
        url,
        agent: agent(),
        runtime: Some(runtime),
        system: system.to_owned(),
        dir: Some(dir),
    }
}

/// A client that takes every status for an answer.
pub(crate) fn agent() -> Agent {
    let config = Agent::config_builder().http_status_as_error(false);
    let config = config.timeout_global(Some(Duration::from_secs(60)));
    config.build().into()
}

/// Sends a request with `headers`, such as `["X-Api-Key: pk_1"]`.
pub(crate) fn send(agent: &Agent, method: &str, url: &str, headers: &[&str]) -> Answered {
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for header in headers {
        let (name, value) = header.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    // An empty body of a known length: one sent in chunks may still be on its way when the service
    // has answered, and then the connection is not used again.
    let answer = match method {
        "GET" => agent.run(request.body(()).unwrap()),
        _ => agent.run(request.body("").unwrap()),
    };
    answered(answer.unwrap())
}

fn answered(mut answer: Response<ureq::Body>) -> Answered {
    Answered {
        status: answer.status().as_u16(),
        headers: answer.headers().clone(),
        body: answer.body_mut().read_to_string().unwrap(),
    }
}

impl World {
    /// The same service started again under a policy, on the directory and at the time of this one.
    pub(crate) fn restart(mut self, policy: &str) -> World {
        let (dir, clock) = (self.dir.take().unwrap(), self.clock.clone());
        let system = self.system.clone();
        let limiter = self.limiter.clone();
        drop(self);
        limiter.close().unwrap();
        drop(limiter);
        start(&system, policy, dir, clock)
    }

    /// Sends a request from a local address of its own: one of `127.0.0.0/8`.
    pub(crate) fn send_from(&self, from: &str, method: &str, path: &str) -> Answered {
        let to: SocketAddr = self.url["http://".len()..].parse().unwrap();
        let from = SocketAddr::new(from.parse().unwrap(), 0);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&from.into()).unwrap();
        socket.connect(&to.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        let head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        });
        Answered {
            status: status.parse().unwrap(),
            headers: headers.collect(),
            body: body.to_owned(),
        }
    }

    /// Sends a request to `path`.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[&str]) -> Answered {
        send(&self.agent, method, &format!("{}{path}", self.url), headers)
    }

    pub(crate) fn get(&self, path: &str, headers: &[&str]) -> Answered {
        self.send("GET", path, headers)
    }

    /// Sends an administrator's request.
    pub(crate) fn admin(&self, method: &str, path: &str, body: impl ToString) -> Answered {
        let url = format!("{}/admin/limits/{path}", self.url);
        let request = ureq::http::Request::builder().method(method).uri(url);
        let request = request.header("authorization", ADMIN);
        let body = body.to_string();
        let kind = match body.starts_with('{') {
            true => "application/json",
            false => "application/toml",
        };
        let request = request.header("content-type", kind);
        let answer = match body {
            body if body.is_empty() => self.agent.run(request.body(()).unwrap()),
            body => {
                let allowed = self.agent.configure_request(request.body(body).unwrap());
                self.agent
                    .run(allowed.allow_non_standard_methods(true).build())
            }
        };
        answered(answer.unwrap())
    }

    /// Sends `count` requests that must all be served.
    pub(crate) fn must_pass(&self, count: u64, method: &str, path: &str, headers: &[&str]) {
        for number in 1..=count {
            let answer = self.send(method, path, headers);
            assert_eq!(answer.status, 200, "number {number}: {answer:?}");
        }
    }

    /// Sends a request that must be refused as one too many.
    pub(crate) fn must_refuse(&self, method: &str, path: &str, headers: &[&str]) -> Answered {
        let answer = self.send(method, path, headers);
        assert_eq!(answer.status, 429, "{answer:?}");
        answer
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
