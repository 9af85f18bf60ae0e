//! Keys that a client invents. Row H8.

use std::thread;

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

#[test]
fn h8_keys_invented_on_many_connections_are_no_more() {
    let world = serve(BY_KEY);
    thread::scope(|scope| {
        for thread in 0..8 {
            let world = &world;
            scope.spawn(move || {
                for number in 0..10 {
                    world.send("GET /", &[&format!("X-Api-Key: {thread}-{number}")]);
                }
            });
        }
    });
    assert_eq!(world.served(), 20);
}

/// A key that looks like a better customer's is bounded by the address all the same.
#[test]
fn h8_a_tier_by_invented_keys_buys_no_more_keys() {
    let tier = "[tiers.gold]\nwhen = { key = \"gold-*\" }\nrates = { key = \"1000/day\" }\n";
    let world = serve(&format!("{BY_KEY}\n{tier}"));
    for number in 0..100 {
        world.send("GET /", &[&format!("X-Api-Key: gold-{number}")]);
    }
    assert_eq!(world.served(), 20);
}
