//! Lines of real and of hostile servers.

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::super::Stamps;
use super::*;

fn parse(hops: usize, line: &str) -> Result<Line<'_>, Malformed> {
    let stamps = Stamps::new(TimeZone::UTC);
    Clf::new(Reading::new(Default::default(), false, stamps, hops)).parse(line)
}

fn request(hops: usize, line: &str) -> Entry<'_> {
    match parse(hops, line) {
        Ok(Line::Request(entry)) => entry,
        other => panic!("{line}: {other:?}"),
    }
}

fn attribute<'e>(entry: &'e Entry<'_>, name: &str) -> Option<&'e str> {
    let found = entry.attributes.iter().find(|(this, _)| this == name);
    found.map(|(_, text)| &**text)
}

fn path<'e>(entry: &'e Entry<'_>) -> &'e str {
    entry.path.as_deref().unwrap_or_default()
}

const COMMON: &str =
    r#"10.1.2.3 - frank [10/Oct/2000:13:55:36 -0700] "GET /a.gif?x=1 HTTP/1.0" 200 2326"#;

#[test]
fn common() {
    let entry = request(0, COMMON);
    assert_eq!(entry.time.to_string(), "2000-10-10T20:55:36Z");
    assert_eq!(
        (&*entry.method, path(&entry), entry.cost),
        ("GET", "/a.gif", None)
    );
    for (name, text) in [
        ("ip", Some("10.1.2.3")),
        ("host", Some("10.1.2.3")),
        ("user", Some("frank")),
        ("query", Some("x=1")),
        ("protocol", Some("HTTP/1.0")),
        ("status", Some("200")),
        ("bytes", Some("2326")),
        ("vhost", None),
        ("referer", None),
        ("user_agent", None),
        ("forwarded_for", None),
    ] {
        assert_eq!(attribute(&entry, name), text, "{name}");
    }
}

#[test]
fn combined_with_escapes() {
    let line = format!(r#"{COMMON} "http://h/\"q\"" "a\\b\x41\xe4\x \d""#);
    let entry = request(0, &line);
    assert_eq!(attribute(&entry, "referer"), Some("http://h/\"q\""));
    assert_eq!(
        attribute(&entry, "user_agent"),
        Some("a\\bA\u{fffd}\\x \\d")
    );
}

#[test]
fn escaped_quotes_in_the_request() {
    let entry = request(
        0,
        r#"::1 - - [10/Oct/2000:13:55:36 +0000] "GET /\"a\x22 HTTP/1.1" 400 -"#,
    );
    assert_eq!(path(&entry), "/\"a\"");
    assert_eq!(attribute(&entry, "bytes"), None);
}

#[test]
fn virtual_hosts_and_names_with_spaces() {
    let rest = r#"[10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 1"#;
    for (who, vhost, host, user) in [
        (
            "www.example.org:443 10.1.2.3 - -",
            Some("www.example.org:443"),
            "10.1.2.3",
            None,
        ),
        (
            "www.example.org 10.1.2.3 - bob",
            Some("www.example.org"),
            "10.1.2.3",
            Some("bob"),
        ),
        (
            "www.example.org:80 client.example - -",
            Some("www.example.org:80"),
            "client.example",
            None,
        ),
        ("10.1.2.3 - John Doe", None, "10.1.2.3", Some("John Doe")),
        ("::1 - John Doe", None, "::1", Some("John Doe")),
        ("10.1.2.3 - a [b] c", None, "10.1.2.3", Some("a [b] c")),
        ("h.example - -", None, "h.example", None),
    ] {
        let line = format!("{who} {rest}");
        let entry = request(0, &line);
        assert_eq!(attribute(&entry, "vhost"), vhost, "{who}");
        assert_eq!(attribute(&entry, "host"), Some(host), "{who}");
        assert_eq!(attribute(&entry, "user"), user, "{who}");
    }
}

#[test]
fn the_client_behind_trusted_proxies() {
    let line = format!(r#"{COMMON} "-" "agent" 0.003 "6.6.6.6, 2001:db8::1, 7.7.7.7""#);
    for (hops, client) in [
        (0, "10.1.2.3"),
        (1, "7.7.7.7"),
        (2, "2001:db8::1"),
        (3, "6.6.6.6"),
        (9, "6.6.6.6"),
    ] {
        let entry = request(hops, &line);
        assert_eq!(attribute(&entry, "ip"), Some(client), "{hops} hops");
        assert_eq!(attribute(&entry, "host"), Some("10.1.2.3"));
    }
    // A field that a client could have made up is not taken for a list of addresses.
    let line = format!(r#"{COMMON} "-" "agent" "6.6.6.6, nonsense""#);
    assert_eq!(attribute(&request(1, &line), "ip"), Some("10.1.2.3"));
    assert_eq!(attribute(&request(1, &line), "forwarded_for"), None);
}

#[test]
fn records_without_a_request() {
    for request in ["-", "", r"\x16\x03\x01\x02", "quit"] {
        let line =
            format!(r#"10.1.2.3 - - [10/Oct/2000:13:55:36 +0000] "{request}" 408 - "-" "-""#);
        assert!(
            matches!(parse(0, &line), Ok(Line::NoRequest(_))),
            "{request}"
        );
    }
}

#[test]
fn malformed_lines_say_why() {
    for (line, why) in [
        ("", "no time"),
        ("Mozilla/5.0 (compatible; Googlebot/2.1)\"", "no time"),
        (
            "[10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 200 1",
            "no time",
        ),
        (
            r#"a [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 1"#,
            "host, ident and user",
        ),
        (
            r#"a - - [10/Okt/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 1"#,
            "no time that can be read",
        ),
        (r#"a - - [10/Oct/2000:13:55:36 +0000"#, "no time"),
        (
            r#"a - - [10/Oct/2000:13:55:36 +0000] GET / 200 1"#,
            "no quoted request",
        ),
        (
            r#"a - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1"#,
            "does not end",
        ),
        (
            r#"a - - [10/Oct/2000:13:55:36 +0000] "GET /" two 1"#,
            "status that is no number",
        ),
        (
            r#"a - - [10/Oct/2000:13:55:36 +0000] "GET /" 200"#,
            "no size",
        ),
        (
            r#"a - - [10/Oct/2000:13:55:36 +0000] "GET /" 200 1 "-" "cut"#,
            "does not end",
        ),
    ] {
        let fault = parse(0, line).unwrap_err().0;
        assert!(fault.contains(why), "{line}: {fault}");
    }
}

/// Text as servers write it between quotes.
fn escape(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'"' => "\\\"".to_owned(),
        b'\\' => "\\\\".to_owned(),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    text.bytes().map(escape).collect()
}

proptest! {
    #[test]
    fn whatever_was_escaped_comes_back(agent in ".{1,40}", path in "[^ ?]{1,30}") {
        let path = format!("/{path}");
        let line = format!(
            r#"10.1.2.3 - - [10/Oct/2000:13:55:36 +0000] "GET {} HTTP/1.1" 200 1 "-" "{}""#,
            escape(&path),
            escape(&agent),
        );
        let entry = request(0, &line);
        prop_assert_eq!(entry.path.as_deref(), Some(path.trim_end()));
        let found = attribute(&entry, "user_agent");
        prop_assert_eq!(found, Some(agent.as_str()).filter(|agent| *agent != "-"));
    }

    #[test]
    fn no_line_is_too_strange(
        start in prop_oneof![Just(""), Just(COMMON), Just("a - - [10/Oct/2000:13:55:36 +0000] \"")],
        rest in r#"[ -~]{0,60}|[\[\]"\\x0-9 -]{0,60}|.{0,60}"#,
    ) {
        let line = format!("{start}{rest}");
        if let Err(Malformed(why)) = parse(1, &line) {
            prop_assert!(!why.is_empty() && !why.contains('\n'));
        }
    }
}
