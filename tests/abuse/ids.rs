//! Ids of requests: `[idempotency]`. A client chooses them. Row H2.

use std::thread;
use std::time::Duration;

use axum::Router;
use axum::routing::any;

use crate::world::{World, serve, serve_routes};

const UPLOADS: &str = r#"
    [idempotency]
    key = "id"

    [limits.upload]
    rate = "10/min"
    key = "ip"

    [limits.other]
    rate = "2/min"
    key = "ip"

    [request.attributes]
    id = "header Idempotency-Key"

    [[routes]]
    route = "POST /upload/{name}"
    limits = ["upload"]

    [[routes]]
    route = "POST /other"
    limits = ["other"]
"#;

const ID: &[&str] = &["Idempotency-Key: one", "Content-Length: 0"];

fn upload(world: &World, count: usize) {
    for number in 0..count {
        let size = format!("Content-Length: {}", number % 3);
        let body = "x".repeat(number % 3);
        let mut wire = world.connect("127.0.0.1");
        wire.write(format!(
            "POST /upload/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nIdempotency-Key: one\r\n\
             {size}\r\n\r\n{body}"
        ));
        let status = wire.read().status;
        assert!(matches!(status, 200 | 429), "number {number}: {status}");
    }
}

#[test]
fn h2_one_id_for_all_uploads_buys_none() {
    let world = serve(UPLOADS);
    upload(&world, 100);
    assert_eq!((world.served(), world.free()), (10, 0));
}

#[test]
fn h2_where_the_service_answers_repeats_they_are_marked_and_few() {
    let answered = "key = \"id\"\n    repeats = \"answered by the service\"\n    max_repeats = 5";
    let world = serve(&UPLOADS.replacen("key = \"id\"", answered, 1));
    upload(&world, 100);
    // Whoever does the work for all but the marked ones does it as often as the limit says.
    assert_eq!((world.served(), world.free()), (15, 5));
    // The id opens no other bucket, once that is spent, and not for another client.
    for _ in 0..5 {
        world.send("POST /other", &["Content-Length: 0"]);
    }
    assert_eq!(world.served(), 17);
    for path in ["/other", "/upload/b", "/upload/a?b=1"] {
        assert_eq!(
            world.send(&format!("POST {path}"), ID).status,
            429,
            "{path}"
        );
    }
    for _ in 0..40 {
        world.send_from("127.0.0.2", "POST /upload/a", ID);
    }
    assert_eq!((world.served(), world.free()), (32, 10));
}

#[test]
fn h2_repeats_that_come_all_at_once_are_no_more() {
    let answered = "key = \"id\"\n    repeats = \"answered by the service\"\n    max_repeats = 5";
    let world = serve(&UPLOADS.replacen("key = \"id\"", answered, 1));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    world.send("POST /upload/a", ID);
                }
            });
        }
    });
    assert_eq!((world.served(), world.free()), (15, 5));
}

/// One that had to wait for its turn is marked as well.
#[test]
fn h2_a_repeat_that_waited_for_a_permit_is_marked() {
    let policy = UPLOADS
        .replacen(
            "key = \"id\"",
            "key = \"id\"\nrepeats = \"answered by the service\"",
            1,
        )
        .replace("limits = [\"upload\"]", "limits = [\"upload\", \"heavy\"]");
    let heavy = "[limits.heavy]\nmax_concurrent = 1\nqueue = 9\nwait = \"9s\"\nkey = \"ip\"\n";
    let slow = || async { tokio::time::sleep(Duration::from_millis(50)).await };
    let routes = Router::new().route("/upload/{name}", any(slow));
    let world = serve_routes(&format!("{policy}\n{heavy}"), routes);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| world.send("POST /upload/a", ID));
        }
    });
    assert_eq!((world.served(), world.free()), (4, 3));
}
