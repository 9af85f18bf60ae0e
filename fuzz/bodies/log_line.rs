//! Any bytes are a log in every format: each line of it is read or told to be malformed, and what
//! is read is within bounds. Reading that is taken up again at any line goes on in the same way.
//!
//! The first byte chooses format and options, the second the line; the rest is the log.

use std::io::Write;

use jiff::tz::TimeZone;
use tollgate::Timestamp;

use crate::log::{Format, LINE_BYTES_MAX, Line, Read, Reading, Source, Stamps};

/// As many as a request takes.
const ATTRIBUTES_MAX: usize = 32;
/// No message is longer, in characters, whatever stands in the log.
const MESSAGE_MAX: usize = 1_000;

/// The formats that the second byte chooses if it is large.
const FURTHER: [&str; 15] = [
    "nginx-json",
    "caddy",
    "traefik",
    "traefik-json",
    "alb",
    "cloudfront",
    "s3",
    "haproxy",
    "w3c",
    "envoy",
    "envoy-json",
    "cloudflare",
    "$remote_addr [$time_local] \"$request\" ${cost}",
    "%h %{X-A}i %t \"%r\" %D",
    "$msec",
];

/// What compressed files begin with.
const PACKED: [&[u8]; 4] = [
    &[0x1f, 0x8b],
    b"BZh",
    &[0xfd, b'7', b'z', b'X', b'Z', 0],
    &[0x28, 0xb5, 0x2f, 0xfd],
];

/// Reads what follows the first two bytes of `bytes` as a log.
pub(crate) fn run(bytes: &[u8]) {
    let [how, stop, content @ ..] = bytes else {
        return;
    };
    let mut file = tempfile::NamedTempFile::new_in("/dev/shm")
        .or_else(|_| tempfile::NamedTempFile::new())
        .expect("a file");
    file.write_all(content).expect("it can be written");
    let name = file.path().to_str().expect("a plain name");
    let reading = reading(*how);
    let name_of = |names: &[&'static str], which: u8| {
        let which = usize::from(which) % names.len();
        names.get(which).copied()
    };
    let format = match (stop, how % 5) {
        (0xc0.., _) => name_of(&FURTHER, *stop),
        (_, 0) => None,
        (_, which) => name_of(&["common", "combined", "json", "csv"], which - 1),
    };
    let format = format.map(|name| name.parse::<Format>().expect("a format"));
    let mut source = match Source::open(name, format.as_ref(), &reading) {
        Ok(source) => source,
        Err(error) => {
            assert!(!format!("{error:#}").is_empty());
            return;
        }
    };
    let stop = u64::from(*stop);
    let mut place = (source.offset(), source.lines(), None);
    let mut seen = Vec::new();
    let is_read = loop {
        match step(&mut source) {
            Ok(Some(line)) => seen.push(line),
            Ok(None) => break true,
            Err(()) => break false,
        }
        if source.lines() <= stop {
            place = (source.offset(), source.lines(), source.heading());
        }
    };
    let is_plain = !PACKED.iter().any(|magic| content.starts_with(magic));
    assert!(is_read || !is_plain, "a plain file can be read");
    if is_plain {
        let ends = content.iter().filter(|byte| **byte == b'\n').count();
        let is_open = content.last().is_some_and(|byte| *byte != b'\n');
        assert_eq!(seen.len(), ends + usize::from(is_open));
        assert_eq!(source.offset(), content.len() as u64);
    }
    let mut again = Source::open(name, Some(source.format()), &reading).expect("it opened before");
    assert_eq!(again.identity(), source.identity());
    if again.skip(place.0, place.1, place.2.as_deref()).is_err() {
        assert!(!is_read, "what was read can be passed over");
        return;
    }
    let rest = usize::try_from(place.1).expect("few lines");
    for line in &seen[rest..] {
        assert_eq!(step(&mut again).as_ref(), Ok(&Some(line.clone())));
    }
}

fn reading(how: u8) -> Reading {
    let map = match how & 0x40 {
        0 => Default::default(),
        _ => "time=when,key=a.b,cost=n".parse().expect("a map"),
    };
    let zone = TimeZone::get("Europe/Berlin").expect("a zone");
    let stamps = Stamps::new(if how & 0x20 == 0 { TimeZone::UTC } else { zone });
    Reading::new(map, how & 0x80 != 0, stamps, usize::from(how >> 3 & 0b11))
}

/// The next line in words; none at the end, an error where the log cannot be read.
fn step(source: &mut Source) -> Result<Option<String>, ()> {
    match source.advance() {
        Ok(Read::End) => return Ok(None),
        Ok(Read::TooLong) => return Ok(Some(format!("too long: {}", source.excerpt()))),
        Ok(Read::Line) => {}
        Err(error) => {
            assert!(!format!("{error:#}").is_empty());
            return Err(());
        }
    }
    let excerpt = source.excerpt();
    assert!(excerpt.chars().count() <= MESSAGE_MAX, "{excerpt}");
    let told = match source.parse() {
        Ok(Line::Request(entry)) => {
            assert!(entry.time <= Timestamp::MAX);
            assert!(entry.attributes.len() <= ATTRIBUTES_MAX);
            // A byte that is no text becomes three.
            let sizes = entry
                .attributes
                .iter()
                .map(|(name, value)| name.len() + value.len());
            let bytes: usize = sizes.sum();
            assert!(bytes <= 16 * LINE_BYTES_MAX, "{bytes} bytes of attributes");
            if let Some(path) = &entry.path {
                assert!(!path.is_empty() && !path.contains('?'), "{path:?}");
            }
            assert!(!entry.method.is_empty());
            format!("{entry:?}")
        }
        Ok(line @ (Line::NoRequest(_) | Line::Blank)) => format!("{line:?}"),
        Err(why) => {
            assert!(
                !why.0.is_empty() && why.0.chars().count() <= MESSAGE_MAX,
                "{why:?}"
            );
            assert!(!why.0.contains(char::is_control), "{why:?}");
            format!("malformed: {}", why.0)
        }
    };
    Ok(Some(told))
}
