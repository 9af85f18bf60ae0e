//! Failed log-ins: `charged_status`.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::sync::Semaphore;

use crate::world::{World, serve_routes};

const BUDGET: usize = 5;
const LOGIN: &str = "POST /login HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
                     Content-Length: 0\r\n";

/// A service that answers log-ins one by one, as permits are added to `answers`.
fn serve(answers: &Arc<Semaphore>) -> World {
    let policy = r#"
        [limits.login]
        rate = "5/h"
        key = "ip"
        charged_status = ["401"]
        [[routes]]
        route = "POST /login"
        limits = ["login"]
    "#;
    let answers = answers.clone();
    let log_in = move |request: Request| async move {
        answers.acquire().await.unwrap().forget();
        match request.headers().contains_key("x-right") {
            true => StatusCode::OK,
            false => StatusCode::UNAUTHORIZED,
        }
    };
    serve_routes(policy, Router::new().route("/login", post(log_in)))
}

fn wait_for(world: &World, served: usize) {
    while world.served() < served {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn who_hangs_up_has_had_his_try() {
    let answers = Arc::new(Semaphore::new(0));
    let world = serve(&answers);
    for number in 1..=BUDGET {
        let mut wire = world.connect("127.0.0.1");
        wire.write(format!("{LOGIN}X-Right: yes\r\n\r\n"));
        wait_for(&world, number);
        drop(wire);
    }
    // The service stops when it sees that nobody is there, and then nothing is left to wait for.
    thread::sleep(Duration::from_millis(50));
    for _ in 0..5 {
        assert_eq!(
            world.send("POST /login", &["Content-Length: 0"]).status,
            429
        );
    }
    assert_eq!(world.served(), BUDGET);
}

/// Row H12: what is under way counts as failed until it is answered.
#[test]
fn h12_as_many_at_once_get_no_more_tries_and_a_good_end_makes_room() {
    let answers = Arc::new(Semaphore::new(0));
    let world = serve(&answers);
    let under_way: Vec<_> = (1..=BUDGET)
        .map(|number| {
            let mut wire = world.connect("127.0.0.1");
            let right = match number {
                1 => "X-Right: yes\r\n",
                _ => "",
            };
            wire.write(format!("{LOGIN}{right}\r\n"));
            wait_for(&world, number);
            wire
        })
        .collect();
    let log_in = || world.send("POST /login", &["Content-Length: 0", "X-Right: yes"]);
    assert_eq!(log_in().status, 429);
    assert_eq!(world.served(), BUDGET);
    answers.add_permits(BUDGET);
    let mut ended = under_way.into_iter().map(|wire| wire.read().status);
    assert_eq!(ended.next(), Some(200));
    assert!(ended.all(|status| status == 401));
    // One of five turned out well: there is room for one at once, and it turns out well, too.
    answers.add_permits(2);
    assert_eq!(log_in().status, 200);
    assert_eq!(
        world.send("POST /login", &["Content-Length: 0"]).status,
        401
    );
    assert_eq!(log_in().status, 429);
}
