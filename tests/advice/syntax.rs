//! Row T3: a text that is no TOML, for want of quotes or brackets.

use std::fs;

use tollgate::Policy;

/// Row T3: a text without its quotes.
#[test]
fn t3_a_text_without_quotes_is_told_how_to_write_it() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/policies");
    let mut tried = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some((name, value)) = line.split_once(" = ") else {
                continue;
            };
            let value = value.split(" #").next().unwrap().trim_end();
            let Some(bare) = value
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'))
            else {
                continue;
            };
            if bare.contains('"') || bare.contains('{') {
                continue;
            }
            let with = |line: &str| {
                let mut lines = lines.clone();
                lines[at] = line;
                Policy::from_toml(&lines.join("\n"))
            };
            let faults = with(&format!("{name} = {bare}")).unwrap_err();
            let fault = faults.iter().next().unwrap();
            assert_eq!(fault.line(), Some(at + 1), "{bare}: {fault}");
            let advised = fault.advice().strip_prefix("write ").unwrap();
            assert_eq!(advised, format!("{} = \"{bare}\"", name.trim()), "{fault}");
            assert!(with(advised).is_ok(), "{advised}");
            tried += 1;
        }
    }
    assert!(tried > 50, "{tried}");
}

#[test]
fn t3_slips_in_the_syntax_are_told_how_to_write_it() {
    for (slip, told) in [
        ("key = ip", "write key = \"ip\""),
        ("key = {id}", "write key = \"{id}\""),
        ("key = \u{201c}ip\u{201d}", "write key = \"ip\""),
        (
            "key: \"ip\"",
            "an equals sign belongs after the name; write key = \"ip\"",
        ),
        ("key = \"ip", "write key = \"ip\""),
        ("key = \"ip\" | user", "write key = \"ip | user\""),
        ("shadow = True", "write shadow = true"),
        ("shadow = no", "write shadow = false"),
        ("charged_status = [4xx, 500]", "write \"4xx\""),
        (
            "rate = \"2/s\"",
            "this name is said twice; keep one of them",
        ),
        ("[tiers.t", "write [tiers.t]"),
        ("[[routes]", "write [[routes]]"),
        ("[tiers.t]\nwhen = { plan = pro }", "write \"pro\""),
        ("[tiers.t]\nwhen = { plan: 'pro' }", "write = instead of :"),
        ("key =", "mend the syntax here"),
        (
            "charged_status = [\"4xx\"\nkey = \"ip\"",
            "mend the syntax here",
        ),
    ] {
        let text = format!("[limits.l]\nrate = \"1/s\"\n{slip}\n");
        let faults = Policy::from_toml(&text).unwrap_err().to_string();
        assert!(faults.contains(told), "{slip}: {faults}");
    }
    let faults = Policy::from_toml("{\"limits\": {}}")
        .unwrap_err()
        .to_string();
    assert!(faults.contains("looks like JSON"), "{faults}");
}
