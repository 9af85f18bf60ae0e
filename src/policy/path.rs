//! How a path is read. A client chooses how it spells a path, and a service chooses which spellings
//! it takes for one. Nobody may escape a limit, or become exempt, by a spelling that the policy
//! reads in one way and the service in another.
//!
//! - A *plain* path has one slash before each segment, and nothing in it that anybody decodes or
//!   resolves. It has one reading.
//! - A path with dot segments is refused, however they are spelled: clients resolve them before
//!   they send a request.
//! - Any other path is read twice: *as written*, as axum and hyper do, and *normalised*, with
//!   escapes decoded and empty segments left out. If these meet different routes it is refused.
//! - A path that is exempt in both is read once more with everything decoded that any service
//!   decodes (escaped slashes, backslashes, parameters after semicolons). If that reading meets
//!   another route it is refused, too.
//!
//! The query and the fragment are no part of a path. Case counts.

use arrayvec::ArrayVec;

use super::bounds::ODD_PATH_BYTES_MAX;
use super::request::RequestError;

/// Where a reading of a path that is not plain is written.
pub(super) type Buffer = ArrayVec<u8, ODD_PATH_BYTES_MAX>;

/// Stands for a byte beyond ASCII that is not escaped. No template has it.
const RAW_BYTE: u8 = 0xff;

/// The part of `raw` before a query or a fragment.
fn without_query(raw: &[u8]) -> &[u8] {
    let end = raw.iter().position(|byte| matches!(byte, b'?' | b'#'));
    end.and_then(|end| raw.get(..end)).unwrap_or(raw)
}

/// `raw` without its query, if that is `/`, or one slash before each segment, without anything that
/// a service may decode, resolve or cut off. It is looked at once, from front to back.
pub(super) fn plain(raw: &str) -> Option<&[u8]> {
    let raw = raw.as_bytes();
    let mut end = raw.len();
    let marks = raw.iter().enumerate().filter(|(_, byte)| is_mark(**byte));
    for (at, &mark) in marks {
        match (mark, raw.get(at + 1)) {
            (b'/', Some(b'/')) => return None,
            // A name may begin with a dot.
            (b'/', Some(b'.')) if is_dot_segment(raw.get(at + 1..)?) => return None,
            (b'/', _) => {}
            (b'?' | b'#', _) => {
                end = at;
                break;
            }
            _ => return None,
        }
    }
    match raw.get(..end)? {
        b"/" => Some(b"/"),
        [b'/', .., b'/'] => None,
        path => path.starts_with(b"/").then_some(path),
    }
}

/// True for what ends a segment or a path, or may be read in more than one way.
fn is_mark(byte: u8) -> bool {
    matches!(byte, b'/' | b'%' | b'?' | b'#' | b';' | b'\\') || !byte.is_ascii()
}

/// True if `rest` of a path begins with a dot segment.
fn is_dot_segment(rest: &[u8]) -> bool {
    let mut segment = rest.split(|byte| matches!(byte, b'/' | b'?' | b'#'));
    matches!(segment.next(), Some(b"." | b".."))
}

/// Writes the normalised reading into `buffer`: escapes decoded once, but for that of the slash,
/// and without empty segments. Gives whether the path ends with a slash, which is not written.
///
/// # Errors
/// If it has dot segments in any spelling, or is too long.
pub(super) fn normalise(raw: &str, buffer: &mut Buffer) -> Result<bool, RequestError> {
    let path = without_query(raw.as_bytes());
    // Services that decode everything see these, too.
    decode_all(path, buffer)?;
    let segments = || buffer.split(|byte| *byte == b'/');
    if segments().any(|segment| matches!(segment, b"." | b"..")) {
        return Err(RequestError::PathAmbiguous);
    }
    buffer.clear();
    for byte in decoded(path) {
        if buffer.is_empty() && byte != Decoded::Plain(b'/') {
            push(buffer, b'/')?;
        }
        match byte {
            Decoded::Escaped(b'/') => {
                for byte in *b"%2F" {
                    push(buffer, byte)?;
                }
            }
            Decoded::Plain(b'/') if buffer.last() == Some(&b'/') => {}
            Decoded::Plain(byte) | Decoded::Escaped(byte) => push(buffer, byte)?,
        }
    }
    Ok(end_with_slash(buffer))
}

/// The reading of a service that decodes nothing before it routes, in `buffer` if it is not the
/// path's own bytes.
///
/// Escapes of bytes beyond ASCII are their one proper spelling, so they stand for what a template
/// writes without escapes; and such bytes without escapes stand for nothing.
///
/// # Errors
/// If it is too long.
pub(super) fn as_written<'p>(
    raw: &'p str,
    buffer: &'p mut Buffer,
) -> Result<&'p [u8], RequestError> {
    let path = without_query(raw.as_bytes());
    if path.is_ascii() && !path.contains(&b'%') {
        return Ok(path);
    }
    buffer.clear();
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        let proper = escape(rest).filter(|byte| !byte.is_ascii());
        let digits = after.get(..2).unwrap_or_default();
        rest = after;
        match proper {
            Some(proper) if !digits.iter().any(u8::is_ascii_lowercase) => {
                push(buffer, proper)?;
                rest = after.get(2..).unwrap_or_default();
            }
            _ if byte.is_ascii() => push(buffer, byte)?,
            _ => push(buffer, RAW_BYTE)?,
        }
    }
    Ok(buffer)
}

/// Writes the reading of a service that decodes all it can into `buffer`: escaped slashes and
/// backslashes are slashes, what follows a semicolon in a segment is cut off, and empty segments
/// are left out. Gives whether the path ends with a slash, which is not written.
///
/// # Errors
/// If it is too long.
pub(super) fn decode(raw: &str, buffer: &mut Buffer) -> Result<bool, RequestError> {
    decode_all(without_query(raw.as_bytes()), buffer)?;
    Ok(end_with_slash(buffer))
}

fn decode_all(path: &[u8], buffer: &mut Buffer) -> Result<(), RequestError> {
    buffer.clear();
    let mut is_cut = false;
    for byte in decoded(path) {
        let (Decoded::Plain(byte) | Decoded::Escaped(byte)) = byte;
        match byte {
            b'/' | b'\\' => {
                is_cut = false;
                if buffer.last() != Some(&b'/') {
                    push(buffer, b'/')?;
                }
            }
            b';' => is_cut = true,
            _ if is_cut => {}
            byte => {
                if buffer.is_empty() {
                    push(buffer, b'/')?;
                }
                push(buffer, byte)?;
            }
        }
    }
    Ok(())
}

/// Takes the slash at the end off, unless it is all there is; true if there was one.
fn end_with_slash(buffer: &mut Buffer) -> bool {
    match buffer.as_slice() {
        [] => {
            buffer.push(b'/');
            false
        }
        [.., _, b'/'] => {
            buffer.pop();
            true
        }
        _ => false,
    }
}

/// True if `written`, a part of the path as it is written, is `normal` once it is normalised: an
/// escape that nobody needs could move the end of a capture within its segment.
pub(super) fn is_same(written: &[u8], normal: &[u8]) -> bool {
    let end = written.iter().rposition(|byte| *byte != b'/');
    let written = written.get(..end.map_or(0, |end| end + 1));
    let mut left = normal;
    let mut before = Decoded::Plain(b'/');
    for byte in decoded(written.unwrap_or_default()) {
        let slash = Decoded::Plain(b'/');
        let after = match byte {
            _ if before == slash && byte == slash => Some(left),
            Decoded::Escaped(b'/') => left.strip_prefix(b"%2F"),
            Decoded::Plain(RAW_BYTE) => match left {
                [first, after @ ..] if !first.is_ascii() => Some(after),
                _ => None,
            },
            Decoded::Plain(byte) | Decoded::Escaped(byte) => left.strip_prefix(&[byte]),
        };
        match after {
            Some(after) => left = after,
            None => return false,
        }
        before = byte;
    }
    left.is_empty()
}

fn push(buffer: &mut Buffer, byte: u8) -> Result<(), RequestError> {
    // Bound: a longer odd path is refused, not cut: a cut path could match another route.
    buffer.try_push(byte).map_err(|_| RequestError::PathTooLong)
}

/// A byte of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Decoded {
    Plain(u8),
    Escaped(u8),
}

/// The bytes of `path`, escapes decoded once.
fn decoded(path: &[u8]) -> impl Iterator<Item = Decoded> {
    let mut rest = path;
    std::iter::from_fn(move || {
        if let Some(byte) = escape(rest) {
            rest = rest.get(3..).unwrap_or_default();
            return Some(Decoded::Escaped(byte));
        }
        let (&byte, after) = rest.split_first()?;
        rest = after;
        Some(Decoded::Plain(byte))
    })
}

/// The byte that the escape at the beginning of `text` stands for, if there is one.
fn escape(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else {
        return None;
    };
    Some(hex(*high)? << 4 | hex(*low)?)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The normalised reading, and whether it ended with a slash.
    fn normal(raw: &str) -> Result<(String, bool), RequestError> {
        let mut buffer = Buffer::new();
        let slash = normalise(raw, &mut buffer)?;
        Ok((String::from_utf8_lossy(&buffer).into_owned(), slash))
    }

    fn written(raw: &str) -> String {
        let mut buffer = Buffer::new();
        let path = as_written(raw, &mut buffer).unwrap();
        path.escape_ascii().to_string()
    }

    fn decoded(raw: &str) -> String {
        let mut buffer = Buffer::new();
        decode(raw, &mut buffer).unwrap();
        String::from_utf8_lossy(&buffer).into_owned()
    }

    #[test]
    fn spellings_that_a_service_may_take_for_one_are_one_when_normalised() {
        for (raw, slash) in [
            ("/a/b", false),
            ("/a/b/", true),
            ("//a///b", false),
            ("//a///b//", true),
            ("/a/b?c=/d", false),
            ("/a/b#c", false),
            ("/%61/b", false),
            ("a/b", false),
            ("%61/b", false),
        ] {
            assert_eq!(normal(raw), Ok(("/a/b".into(), slash)), "{raw}");
        }
        for raw in ["/", "", "//", "/?x"] {
            assert_eq!(normal(raw), Ok(("/".into(), false)), "{raw}");
        }
    }

    #[test]
    fn h3_dot_segments_are_ambiguous_in_every_spelling() {
        for raw in [
            "/.",
            "/..",
            "..",
            "/a/./b",
            "/files/secret/../../health",
            "/files/secret/%2e%2e/%2E./health",
            "/files/..%2f..%2Fhealth",
            "/files/..%5c..%5Chealth",
            "/files/..\\..\\health",
            "/files/..;x=y/health",
            "/files/..;%2fhealth",
            "/a/..?x",
            "/a/..#x",
        ] {
            assert_eq!(normal(raw), Err(RequestError::PathAmbiguous), "{raw}");
            assert_eq!(plain(raw), None, "{raw}");
        }
        for raw in ["/.well-known/x", "/a/...", "/a/..b", "/a/b..", "/a?x=/../b"] {
            assert!(normal(raw).is_ok(), "{raw}");
            assert!(plain(raw).is_some(), "{raw}");
        }
    }

    #[test]
    fn what_means_something_else_stays_apart() {
        for (raw, wanted) in [
            ("/a%2fb", "/a%2Fb"),
            ("/A/b", "/A/b"),
            ("/a%252Fb", "/a%2Fb"),
            ("/a%zz%", "/a%zz%"),
            ("/a%3Fb", "/a?b"),
            ("/a;b\\c", "/a;b\\c"),
        ] {
            assert_eq!(normal(raw), Ok((wanted.into(), false)), "{raw}");
        }
    }

    #[test]
    fn only_proper_escapes_are_read_as_written() {
        for (raw, wanted) in [
            ("/a%2fb/%61//", "/a%2fb/%61//"),
            ("/caf%C3%A9", "/caf\\xc3\\xa9"),
            ("/caf%c3%A9", "/caf%c3\\xa9"),
            ("/caf\u{e9}", "/caf\\xff\\xff"),
            ("a/b?c", "a/b"),
        ] {
            assert_eq!(written(raw), wanted, "{raw}");
        }
        for (raw, wanted) in [
            ("/a%2fb;x=1/c%5cd\\e", "/a/b/c/d/e"),
            ("/health;x", "/health"),
            ("/health%3bx/", "/health"),
        ] {
            assert_eq!(decoded(raw), wanted, "{raw}");
        }
    }

    #[test]
    fn a_part_is_compared_as_it_is_normalised() {
        for (one, other, wanted) in [
            ("a", "a", true),
            ("%61", "a", true),
            ("a", "b", false),
            ("a", "ab", false),
            ("ab", "a", false),
            ("a/b", "a", false),
            ("/a//b//", "a/b", true),
            ("a%2fb", "a%2Fb", true),
            ("b%2Ec", "c", false),
            ("", "", true),
        ] {
            let is_same = is_same(one.as_bytes(), other.as_bytes());
            assert_eq!(is_same, wanted, "{one} {other}");
        }
        assert!(is_same(b"\xff\xff", "\u{e9}".as_bytes()));
        assert!(!is_same(b"\xff", b"a"));
    }

    proptest! {
        #[test]
        fn a_plain_path_has_one_reading(raw in r"(/[/.a2]{0,4}){0,3}[/.%?#a2;\\é]{0,4}") {
            let path = without_query(raw.as_bytes());
            if let Some(plain) = plain(&raw) {
                prop_assert_eq!(plain, path);
                let wanted = String::from_utf8(path.to_vec()).unwrap();
                prop_assert_eq!(normal(&raw), Ok((wanted.clone(), false)));
                prop_assert_eq!(written(&raw), wanted.clone());
                prop_assert_eq!(decoded(&raw), wanted);
            } else if let Ok((normal, slash)) = normal(&raw) {
                // Nothing is looked at with more care than it needs.
                let is_odd = path.iter().any(|byte| !byte.is_ascii() || b"%;\\".contains(byte));
                prop_assert!(is_odd || slash || normal.as_bytes() != path);
            }
        }
    }

    #[test]
    fn only_an_odd_path_can_be_too_long() {
        let long = "/x".repeat(ODD_PATH_BYTES_MAX);
        assert_eq!(plain(&long), Some(long.as_bytes()));
        let hidden = format!("/.well-known{long}/..x");
        assert_eq!(plain(&hidden), Some(hidden.as_bytes()));
        let odd = format!("{long}/%61");
        assert_eq!(normal(&odd), Err(RequestError::PathTooLong));
        let mut buffer = Buffer::new();
        assert_eq!(
            as_written(&odd, &mut buffer),
            Err(RequestError::PathTooLong)
        );
        let padded = format!("{}a", "/".repeat(10 * ODD_PATH_BYTES_MAX));
        assert_eq!(normal(&padded), Ok(("/a".into(), false)));
        assert_eq!(written(&padded), padded);
    }
}
