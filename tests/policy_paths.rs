//! Which route a path meets, and which paths are refused.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use tollgate::{Policy, Request, RequestError};

fn read(text: &str) -> Policy {
    Policy::from_toml(text).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

#[test]
fn h3_a_path_meets_its_route_under_its_key_or_is_refused() {
    let policy = read(
        "
        [limits.l]
        rate = '5/s'
        key = '{id}'
        [[routes]]
        route = 'GET /items/{id}'
        limits = ['l']",
    );
    for path in ["/items/a", "/items/%61", "/items/a?x=/../b"] {
        let request = Request::http("GET", path);
        let found = policy.explain(&request).unwrap();
        assert_eq!(found.route.as_deref(), Some("/items/{id}"));
        assert_eq!(found.limits[0].key, "{id}=a", "{path}");
    }
    for path in [
        "/items/a/",
        "//items//a?x=1",
        "/items//a",
        "/it%65ms/a",
        "items/a",
        "/x/../items/./a",
        "/items/..",
    ] {
        let refused = policy.explain(&Request::http("GET", path));
        assert_eq!(refused, Err(RequestError::PathAmbiguous), "{path}");
    }
    // What meets no route in any reading is the default's.
    let route = |method, path| policy.explain(&Request::http(method, path)).unwrap().route;
    for path in ["/other/", "//other", "/%6fther", "*", ""] {
        assert_eq!(route("GET", path), None, "{path}");
    }
    assert_eq!(route("HEAD", "/items/a").as_deref(), Some("/items/{id}"));
    assert_eq!(route("GET", "/Items/a"), None);
    let long = format!("/items/%61{}", "b".repeat(2_000));
    assert_eq!(
        policy.explain(&Request::http("GET", &long)),
        Err(RequestError::PathTooLong)
    );
}

#[test]
fn h3_what_any_service_could_read_as_another_route_is_never_exempt() {
    let policy = read(
        "
        [limits.l]
        rate = '5/s'
        [[routes]]
        route = ['/health', '/{page}', '/static/**', '/caf\u{e9}']
        exempt = true
        [[routes]]
        route = ['/api/{*what}', '/list/']
        limits = ['l']",
    );
    let explain = |path| policy.explain(&Request::http("GET", path));
    assert!(
        read("[limits.l]\nrate = '1/s'\n[[routes]]\nroute = '/**'\nexempt = true")
            .explain(&Request::http("GET", "/"))
            .unwrap()
            .exempt
    );
    for path in [
        "/health",
        "/about",
        "/static",
        "/static/",
        "/static/a%20b.png",
        "/static//a",
        "/static/a;b",
        "/caf%C3%A9",
    ] {
        assert!(explain(path).unwrap().exempt, "{path}");
    }
    for path in [
        "/api%2Fx",
        "/api%5cx",
        "/api\\x",
        "/api%2F/x",
        "/static/..%2fapi/x",
        "/health;x=1",
        "/he%61lth",
        "/health/",
        "/caf%c3%a9",
        "/list",
    ] {
        let found = explain(path);
        let is_free = found.as_ref().is_ok_and(|found| found.exempt);
        // A path without a slash at its end is another than one with it.
        assert_eq!(is_free, path == "/list", "{path}: {found:?}");
    }
    // Escaped slashes are data where nothing is exempt.
    let found = explain("/api/a%2Fb").unwrap();
    assert_eq!(found.route.as_deref(), Some("/api/{*what}"));
    assert_eq!(explain("/list/").unwrap().route.as_deref(), Some("/list/"));
}

#[test]
fn h3_an_escape_that_nobody_needs_does_not_move_the_end_of_a_capture() {
    let policy = read(
        "
        [limits.l]
        rate = '5/s'
        key = '{name}'
        [[routes]]
        route = '/files/{name}.{type}'
        limits = ['l']",
    );
    let key = |path| {
        policy
            .explain(&Request::http("GET", path))
            .map(|found| found.limits[0].key.clone())
    };
    assert_eq!(key("/files/a%2Db.c").unwrap(), "{name}=a-b");
    assert_eq!(key("/files/a.b%2Ec"), Err(RequestError::PathAmbiguous));
    assert_eq!(key("/files/a%2Eb.c").unwrap(), "{name}=a.b");
}

#[test]
fn the_most_specific_route_that_takes_the_method_wins() {
    let mut text = String::from("[limits.l]\nrate = '1/s'\n");
    for route in [
        "/a/**",
        "GET /a/{x}",
        "/a/{x}",
        "/a/b",
        "POST /a/c",
        "GET /a/{x}.json",
        "/a/{x}/d",
        "HEAD /a/b",
        "/r/{*s}",
    ] {
        text.push_str(&format!("[[routes]]\nroute = '{route}'\nlimits = ['l']\n"));
    }
    let policy = read(&text);
    let route = |method, path| policy.explain(&Request::http(method, path)).unwrap().route;
    for (method, path, wanted) in [
        ("GET", "/a", Some("/a/**")),
        ("GET", "/a/b", Some("/a/b")),
        ("POST", "/a/c", Some("/a/c")),
        ("GET", "/a/c", Some("/a/{x}")),
        ("GET", "/a/c.json", Some("/a/{x}.json")),
        ("HEAD", "/a/c.json", Some("/a/{x}.json")),
        ("PUT", "/a/c.json", Some("/a/{x}")),
        ("GET", "/a/c/d", Some("/a/{x}/d")),
        ("GET", "/a/c/e", Some("/a/**")),
        ("GET", "/b", None),
        ("GET", "/r", None),
        ("GET", "/r/s", Some("/r/{*s}")),
    ] {
        assert_eq!(route(method, path).as_deref(), wanted, "{method} {path}");
    }
}
