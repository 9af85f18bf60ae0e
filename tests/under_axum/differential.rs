//! Row H3: for any path, the route by which the policy judges is the one by which axum serves, or
//! the request is refused. Routers and paths are generated; the routers are real ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use axum::Router;
use axum::http::Uri;
use axum::routing::{any, get, post};
use proptest::prelude::*;
use tollgate::layer::LimitLayer;

use crate::service::{ask, limiter};

/// A route: its method, its template as a policy writes it, and whether it is exempt.
type Route = (&'static str, String, bool);

/// Segments of templates. What is beyond ASCII is escaped for axum, which matches escapes.
fn template() -> impl Strategy<Value = String> {
    let literal = prop_oneof![
        Just("a"),
        Just("b"),
        Just("health"),
        Just("files"),
        Just("caf\u{e9}"),
        Just("{x}"),
        Just("{x}"),
        Just("a{x}"),
    ];
    let end = prop_oneof![4 => Just(""), 2 => Just("/{*rest}"), 1 => Just("/")];
    (prop::collection::vec(literal, 0..4), end).prop_map(|(segments, end)| {
        let mut text = String::new();
        for (place, segment) in segments.iter().enumerate() {
            // Captures of one shape have one name, as axum wants it.
            let segment = segment.replace('x', &format!("x{place}"));
            write!(text, "/{segment}").unwrap();
        }
        text.push_str(end);
        if text.is_empty() { "/".into() } else { text }
    })
}

fn routes() -> impl Strategy<Value = Vec<Route>> {
    let method = prop_oneof![Just("GET"), Just("POST"), Just("ANY")];
    let route = (method, template(), any_bool());
    prop::collection::vec(route, 1..10)
}

fn any_bool() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.4)
}

/// What stands between slashes, in every spelling that somebody might try.
fn path() -> impl Strategy<Value = String> {
    let plain = prop_oneof![
        Just("a"),
        Just("b"),
        Just("ab"),
        Just("health"),
        Just("files"),
        Just("caf%C3%A9"),
        Just("A"),
        Just("..."),
    ];
    let odd = prop_oneof![
        Just(""),
        Just("."),
        Just(".."),
        Just("%2e%2E"),
        Just("%61"),
        Just("he%61lth"),
        Just("health;x=1"),
        Just("a%2Fb"),
        Just("a%2fb"),
        Just("a%5Cb"),
        Just("a\\b"),
        Just("..%2f.."),
        Just("..;"),
        Just("caf\u{e9}"),
        Just("caf%c3%a9"),
        Just("%2561"),
        Just("%zz"),
        Just("%"),
    ];
    let part = prop_oneof![5 => plain, 1 => odd];
    let end = prop_oneof![6 => Just(""), 1 => Just("/"), 1 => Just("//"), 1 => Just("?x=/../a")];
    let start = prop_oneof![9 => Just("/"), 1 => Just("//"), 1 => Just("http://host/")];
    let parts = prop::collection::vec(part, 0..5);
    (start, parts, end).prop_map(|(start, parts, end)| format!("{start}{}{end}", parts.join("/")))
}

/// True for a path that nobody can read in two ways.
fn is_plain(uri: &Uri) -> bool {
    let path = uri.path();
    let is_name = |name: &str| !matches!(name, "" | "." | "..");
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"./".contains(&byte);
    path == "/" || (path.split('/').skip(1).all(is_name) && path.bytes().all(is_plain))
}

/// A limit for each route, which a header tells of.
fn policy(routes: &[Route], prefix: &str) -> String {
    let mut text = String::from(
        "[response]\nheaders = [\"X-Limit: {limit_name}\"]\n\
         [limits.none]\nrate = \"1000000/min\"\n[default]\nlimits = [\"none\"]\n",
    );
    for (place, (method, template, is_exempt)) in routes.iter().enumerate() {
        let template = if prefix.is_empty() || template != "/" {
            format!("{prefix}{template}")
        } else {
            prefix.to_owned()
        };
        write!(text, "[[routes]]\nroute = \"{method} {template}\"\n").unwrap();
        match is_exempt {
            true => text.push_str("exempt = true\n"),
            false => {
                writeln!(text, "limits = [\"r{place}\"]").unwrap();
                write!(text, "[limits.r{place}]\nrate = \"1000000/min\"\n").unwrap();
            }
        }
    }
    text
}

/// A router whose handlers say the number of their route; none if axum does not take these routes.
fn router(routes: &[Route]) -> Option<Router> {
    let build = || {
        let mut router = Router::new();
        for (place, (method, template, _)) in routes.iter().enumerate() {
            let answer = move || async move { place.to_string() };
            let handler = match *method {
                "GET" => get(answer),
                "POST" => post(answer),
                _ => any(answer),
            };
            let template = template.replace('\u{e9}', "%C3%A9");
            router = router.route(&template, handler);
        }
        router
    };
    catch_unwind(AssertUnwindSafe(build)).ok()
}

/// How often what came of requests.
type Counts = BTreeMap<&'static str, u64>;

async fn compare(routes: &[Route], paths: &[String], nested: bool, counts: &mut Counts) {
    let mut seen = BTreeSet::new();
    let mut routes = routes.to_vec();
    routes.retain(|(method, template, _)| seen.insert((*method, template.clone())));
    let Some(inner) = router(&routes) else {
        return;
    };
    let prefix = if nested { "/n" } else { "" };
    let (one, _dir) = limiter(&policy(&routes, prefix));
    let layer = LimitLayer::axum(one);
    let router = match nested {
        true => Router::new().nest(prefix, inner.layer(layer.clone())),
        false => inner,
    };
    let router = router.fallback(|| async { "none" });
    let router = if nested { router } else { router.layer(layer) };
    for path in paths {
        let path = match path.strip_prefix("http://host") {
            Some(rest) => format!("http://host{prefix}{rest}"),
            None => format!("{prefix}{path}"),
        };
        let Ok(uri) = path.parse::<Uri>() else {
            continue;
        };
        for method in ["GET", "HEAD", "POST", "PUT"] {
            let answer = ask(&router, method, uri.clone()).await;
            let how = format!("{method} {path:?} of {routes:?}: {answer:?}");
            *counts
                .entry(judge(&routes, method, &uri, &answer, &how))
                .or_default() += 1;
        }
    }
}

fn judge(
    routes: &[Route],
    method: &str,
    uri: &Uri,
    answer: &crate::service::Answer,
    how: &str,
) -> &'static str {
    if answer.status == 400 {
        // A capture in a part of a segment may be empty in axum, and nowhere else.
        let is_odd = |route: &Route| route.1.contains("/a{");
        let is_read_once = is_plain(uri) && !routes.iter().any(is_odd);
        assert!(!is_read_once, "a plain path is refused: {how}");
        return "refused";
    }
    // Nothing was served, so nothing was escaped.
    if answer.status == 405 {
        return "no method";
    }
    assert_eq!(answer.status, 200, "{how}");
    // A response to HEAD has no body; its route is known by the limit alone.
    if method == "HEAD" {
        return "head";
    }
    let Ok(served) = answer.body.parse::<usize>() else {
        assert!(
            matches!(answer.limit.as_deref(), None | Some("none")),
            "{how}"
        );
        return "no route";
    };
    let (_, _, is_exempt) = routes[served];
    let wanted = (!is_exempt).then(|| format!("r{served}"));
    assert_eq!(answer.limit, wanted, "{how}");
    if is_exempt { "exempt" } else { "limited" }
}

#[test]
fn h3_the_route_that_the_policy_judges_by_is_the_one_that_axum_serves_by() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut counts = Counts::new();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(200));
    // axum panics at routes that it does not take; that is no news. Other tests keep their say.
    let (here, hook) = (std::thread::current().id(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() != here {
            hook(info);
        }
    }));
    let cases = (routes(), prop::collection::vec(path(), 1..80), any_bool());
    let counted = std::cell::RefCell::new(&mut counts);
    let result = runner.run(&cases, |(routes, paths, nested)| {
        let mut counts = counted.borrow_mut();
        runtime.block_on(compare(&routes, &paths, nested, &mut counts));
        Ok(())
    });
    let _ = std::panic::take_hook();
    result.unwrap_or_else(|error| panic!("{error}"));
    for what in ["refused", "no method", "no route", "exempt", "limited"] {
        assert!(
            counts.get(what).is_some_and(|count| *count > 50),
            "{counts:?}"
        );
    }
}
