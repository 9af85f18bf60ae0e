//! Administration through a browser that somebody else's page drives. Row H6.

use axum::Router;
use tollgate::Admin;
use tollgate::layer::AdminService;

use crate::world::{World, serve_with};

/// An administrator's service, open to whoever comes: as for a browser that knows the password.
fn administered() -> World {
    let policy = "[limits.all]\nrate = \"2/min\"\nkey = \"ip\"\n[default]\nexempt = true\n\
                  [[routes]]\nroute = \"GET /\"\nlimits = [\"all\"]\n";
    serve_with(policy, |limiter| {
        Router::new()
            .route("/", axum::routing::get(|| async {}))
            .nest_service("/admin", AdminService::new(Admin::new(limiter)))
    })
}

const RESET: &str = r#"{"limit": "all", "key": {"ip": "127.0.0.1"}}"#;

fn reset(world: &World, headers: &[&str]) -> u16 {
    let mut wire = world.connect("127.0.0.1");
    let mut head = String::from("POST /admin/reset HTTP/1.1\r\nHost: h\r\nConnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    let length = RESET.len();
    wire.write(format!("{head}Content-Length: {length}\r\n\r\n{RESET}"));
    wire.read().status
}

#[test]
fn h6_no_page_of_another_site_changes_anything() {
    let world = administered();
    let spend = || while world.send("GET /", &[]).status == 200 {};
    spend();
    let json = "Content-Type: application/json";
    for (headers, status) in [
        (&["Content-Type: text/plain"][..], 415),
        (&["Content-Type: application/x-www-form-urlencoded"], 415),
        (&["Content-Type: multipart/form-data; boundary=x"], 415),
        (&["Content-Type: text/plain; application/json"], 415),
        (&["Content-Type: application/jsonx"], 415),
        (&[json, "Content-Type: text/plain"], 415),
        (&[], 415),
        (&[json, "Sec-Fetch-Site: cross-site"], 403),
        (&[json, "Sec-Fetch-Site: same-site"], 403),
        (
            &[json, "Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"],
            403,
        ),
    ] {
        assert_eq!(reset(&world, headers), status, "{headers:?}");
        assert_eq!(world.send("GET /", &[]).status, 429, "{headers:?}");
    }
    for headers in [
        &[json][..],
        &["Content-Type: Application/JSON; charset=utf-8"],
        &[json, "Sec-Fetch-Site: same-origin"],
        &[json, "Sec-Fetch-Site: none"],
    ] {
        assert_eq!(reset(&world, headers), 200, "{headers:?}");
        assert_eq!(world.send("GET /", &[]).status, 200, "{headers:?}");
        spend();
    }
    // Nor does one read anything, with whatever method.
    let foreign: &[&str] = &["Sec-Fetch-Site: cross-site"];
    assert_eq!(world.send("GET /admin/policy", foreign).status, 403);
    assert_eq!(world.send("GET /admin/policy", &[]).status, 200);
    for line in [
        "POST /admin/reload",
        "DELETE /admin/overrides",
        "PUT /admin/policy",
    ] {
        assert_eq!(
            world.send(line, &["Content-Length: 0"]).status,
            415,
            "{line}"
        );
    }
}
