//! What may be sent again, and what not.

use http::{Request, Response};
use tollgate::client::{Backoff, Repeatable, Retry};
use tower::retry::Policy;

use super::server::answer;
use super::{World, secs};

type Answered = Result<Response<String>, std::io::Error>;

fn policy(world: &World) -> Retry<String> {
    Retry::new(Backoff::constant(secs(1)).tries(3), world.timing())
}

fn request(method: &str) -> Request<String> {
    let request = Request::builder().method(method).uri("/x?y=1");
    request.header("a", "b").body("body".into()).unwrap()
}

/// What tower would send again.
fn copy(policy: &mut Retry<String>, request: &Request<String>) -> Option<Request<String>> {
    Policy::<Request<String>, Response<String>, std::io::Error>::clone_request(policy, request)
}

#[test]
fn only_what_may_be_repeated() {
    let mut policy = policy(&World::new());
    for (method, may) in [
        ("GET", true),
        ("HEAD", true),
        ("OPTIONS", true),
        ("PUT", true),
        ("DELETE", true),
        ("POST", false),
        ("PATCH", false),
        ("PURGE", false),
    ] {
        let mut request = request(method);
        assert_eq!(copy(&mut policy, &request).is_some(), may, "{method}");
        // What the request says itself goes before its method, both ways.
        request.extensions_mut().insert(Repeatable(!may));
        assert_eq!(copy(&mut policy, &request).is_some(), !may, "{method}");
    }
    let mut with_id = request("POST");
    with_id
        .headers_mut()
        .insert("idempotency-key", "7".parse().unwrap());
    assert!(copy(&mut policy, &with_id).is_some());
    with_id.extensions_mut().insert(Repeatable(false));
    assert!(copy(&mut policy, &with_id).is_none());
}

#[test]
fn the_copy_is_the_whole_request() {
    let mut original = request("PUT");
    original.extensions_mut().insert(7_u8);
    let copy = copy(&mut policy(&World::new()), &original).unwrap();
    assert_eq!(
        (copy.method(), copy.uri()),
        (original.method(), original.uri())
    );
    assert_eq!(
        (copy.headers(), copy.body()),
        (original.headers(), original.body())
    );
    assert_eq!(copy.version(), original.version());
    assert_eq!(copy.extensions().get::<u8>(), Some(&7));
}

#[test]
fn a_body_that_cannot_be_copied_is_sent_once() {
    let timing = World::new().timing();
    let short = |body: &String| (body.len() < 3).then(|| body.clone());
    let mut policy = Retry::copying(Backoff::constant(secs(1)), timing, short);
    assert!(copy(&mut policy, &request("PUT")).is_none());
    assert!(copy(&mut policy, &request("PUT").map(|_| "ab".into())).is_some());
}

/// Whether `response` is answered by another try.
fn tries_again(policy: &mut Retry<String>, response: Answered) -> bool {
    let mut response = response;
    policy.retry(&mut request("GET"), &mut response).is_some()
}

#[test]
fn a_service_that_says_not_to_try_again_is_heeded() {
    let mut policy = policy(&World::new());
    let told = |value| answer(429, &[("X-Should-Retry", value), ("Retry-After", "1")]);
    assert!(!tries_again(&mut policy, Ok(told("false"))));
    assert!(tries_again(&mut policy, Ok(told("true"))));
}

#[test]
fn only_refusals_and_503_if_told() {
    let world = World::new();
    let error = || Err(std::io::Error::other("cut off"));
    assert!(!tries_again(&mut policy(&world), error()));
    for status in [200, 400, 404, 500, 503] {
        assert!(
            !tries_again(&mut policy(&world), Ok(answer(status, &[]))),
            "{status}"
        );
    }
    let mut also = policy(&world).also_unavailable();
    assert!(tries_again(&mut also, Ok(answer(503, &[]))));
    assert!(!tries_again(&mut also, Ok(answer(500, &[]))));
}

#[test]
fn tries_are_counted_for_each_request() {
    let first = policy(&World::new());
    for mut each in [first.clone(), first.clone()] {
        let refused = || Ok(answer(429, &[]));
        let again: Vec<_> = (0..4).map(|_| tries_again(&mut each, refused())).collect();
        assert_eq!(again, [true, true, false, false]);
    }
}
