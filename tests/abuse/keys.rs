//! Keys that a client invents. Row H8.

use crate::world::serve;

const BY_KEY: &str = r#"
    [limits.key]
    rate = "100/day"
    key = "key | ip"
    new_keys = "20/min"

    [request.attributes]
    key = "header X-Api-Key"
"#;

#[test]
fn h8_who_invents_keys_gets_few_and_the_honest_keep_theirs() {
    let world = serve(BY_KEY);
    // A customer behind the same address, who was there before.
    assert_eq!(world.send("GET /", &["X-Api-Key: customer"]).status, 200);
    for number in 0..200 {
        world.send("GET /", &[&format!("X-Api-Key: invented-{number}")]);
    }
    assert_eq!(world.served(), 20);
    assert_eq!(world.send("GET /", &["X-Api-Key: customer"]).status, 200);
    // And an honest newcomer from elsewhere.
    let newcomer = world.send_from("127.0.0.2", "GET /", &["X-Api-Key: newcomer"]);
    assert_eq!(newcomer.status, 200, "{newcomer:?}");
}
