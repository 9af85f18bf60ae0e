//! How many run at a time: `max_concurrent`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::any;

use crate::world::{World, serve_routes};

const MOST: usize = 3;

/// Counts how many run at a time.
#[derive(Default)]
struct Running {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// One that runs; also if it is given up.
struct One(Arc<Running>);

impl One {
    fn begin(running: &Arc<Running>) -> Self {
        // Ordering: relaxed; numbers to look at.
        let now = running.now.fetch_add(1, Ordering::Relaxed) + 1;
        running.most.fetch_max(now, Ordering::Relaxed);
        Self(running.clone())
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A service in which each request takes so long.
fn serve(each: Duration) -> (World, Arc<Running>) {
    let policy = r#"
        [limits.heavy]
        max_concurrent = 3
        queue = 4
        wait = "5s"
        key = "ip"
    "#;
    let running = Arc::new(Running::default());
    let seen = running.clone();
    let slow = move || async move {
        let _one = One::begin(&seen);
        tokio::time::sleep(each).await;
    };
    let routes = Router::new().route("/", any(slow));
    (serve_routes(policy, routes), running)
}

#[test]
fn no_more_run_however_many_connect() {
    let (world, running) = serve(Duration::from_millis(20));
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                for _ in 0..5 {
                    world.send("GET /", &["X-Forwarded-For: 203.0.113.1"]);
                }
            });
        }
    });
    assert_eq!(running.most.load(Ordering::Relaxed), MOST);
}

#[test]
fn who_hangs_up_frees_its_place_and_gets_no_more() {
    let (world, running) = serve(Duration::from_secs(600));
    for _ in 0..10 {
        let wires: Vec<_> = (0..MOST + 2)
            .map(|_| {
                let mut wire = world.connect("127.0.0.1");
                wire.write("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
                wire
            })
            .collect();
        until(&running, MOST);
        drop(wires);
        until(&running, 0);
    }
    assert_eq!(running.most.load(Ordering::Relaxed), MOST);
}

fn until(running: &Running, wanted: usize) {
    let began = Instant::now();
    while running.now.load(Ordering::Relaxed) != wanted {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{wanted} do not run"
        );
        thread::sleep(Duration::from_millis(1));
    }
}
