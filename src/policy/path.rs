//! One spelling for each path, so that nobody escapes a limit by spelling a path differently.
//!
//! The query and the fragment are cut off. Empty segments, and so trailing slashes, do not count.
//! Percent-escapes are decoded once, all but that of the slash; dot segments are resolved
//! (RFC 3986, sections 5.2.4 and 6.2.2). Case counts: paths are case-sensitive.

use arrayvec::ArrayVec;

use super::bounds::ODD_PATH_BYTES_MAX;

/// Where a path is written out that is not already in its one spelling.
pub(super) type Buffer = ArrayVec<u8, ODD_PATH_BYTES_MAX>;

/// The path does not fit the buffer, which only paths need that are oddly written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooLong;

/// The part of `raw` before a query or a fragment.
fn without_query(raw: &[u8]) -> &[u8] {
    let end = raw.iter().position(|byte| matches!(byte, b'?' | b'#'));
    end.and_then(|end| raw.get(..end)).unwrap_or(raw)
}

/// `raw` without its query, if that is in its one spelling already; else nothing, and the one
/// spelling is in `buffer`.
pub(super) fn normalise<'p>(
    raw: &'p str,
    buffer: &mut Buffer,
) -> Result<Option<&'p [u8]>, TooLong> {
    let raw = raw.as_bytes();
    if let Some(path) = normal(raw) {
        return Ok(Some(path));
    }
    write(without_query(raw), buffer)?;
    Ok(None)
}

/// The one spelling of a path, segment by segment.
fn write(path: &[u8], buffer: &mut Buffer) -> Result<(), TooLong> {
    buffer.clear();
    for segment in path.split(|byte| *byte == b'/') {
        let start = buffer.len();
        push(buffer, b'/')?;
        decode(segment, buffer)?;
        match buffer.get(start..).unwrap_or_default() {
            b"/" | b"/." => buffer.truncate(start),
            b"/.." => {
                buffer.truncate(start);
                let parent = buffer.iter().rposition(|byte| *byte == b'/');
                buffer.truncate(parent.unwrap_or(0));
            }
            _ => {}
        }
    }
    if buffer.is_empty() {
        push(buffer, b'/')?;
    }
    Ok(())
}

fn push(buffer: &mut Buffer, byte: u8) -> Result<(), TooLong> {
    // Bound: a longer odd path is refused, not cut: a cut path could match another route.
    buffer.try_push(byte).map_err(|_| TooLong)
}

/// `raw` without its query, if that is `/`, or one slash before each segment without escapes or dot
/// segments. It is looked at once, from front to back.
fn normal(raw: &[u8]) -> Option<&[u8]> {
    let mut end = raw.len();
    let marks = raw.iter().enumerate().filter(|(_, byte)| is_mark(**byte));
    for (at, &mark) in marks {
        match (mark, raw.get(at + 1)) {
            (b'/', Some(b'/')) | (b'%', _) => return None,
            // A name may begin with a dot.
            (b'/', Some(b'.')) if is_dot_segment(raw.get(at + 1..)?) => return None,
            (b'?' | b'#', _) => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    match raw.get(..end)? {
        b"/" => Some(b"/"),
        [b'/', .., b'/'] => None,
        path => path.starts_with(b"/").then_some(path),
    }
}

/// True for what ends a segment or a path, or begins an escape.
fn is_mark(byte: u8) -> bool {
    matches!(byte, b'/' | b'%' | b'?' | b'#')
}

/// True if `rest` of a path begins with a dot segment.
fn is_dot_segment(rest: &[u8]) -> bool {
    let mut segment = rest.split(|byte| matches!(byte, b'/' | b'?' | b'#'));
    matches!(segment.next(), Some(b"." | b".."))
}

fn decode(segment: &[u8], buffer: &mut Buffer) -> Result<(), TooLong> {
    let mut rest = segment;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let escaped = match (byte, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped.map(|(high, low)| high << 4 | low) {
            // An escaped slash is data: it stays escaped, in one spelling of its own.
            Some(b'/') => {
                for byte in *b"%2F" {
                    push(buffer, byte)?;
                }
            }
            Some(decoded) => push(buffer, decoded)?,
            None => {
                push(buffer, byte)?;
                continue;
            }
        }
        rest = after.get(2..).unwrap_or_default();
    }
    Ok(())
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

    fn spell(raw: &str) -> String {
        let mut buffer = Buffer::new();
        let path = normalise(raw, &mut buffer).unwrap();
        String::from_utf8(path.unwrap_or(&buffer).to_vec()).unwrap()
    }

    #[test]
    fn all_spellings_of_a_path_are_one() {
        for raw in [
            "/a/b",
            "/a/b/",
            "//a///b",
            "/a/b?c=/d",
            "/a/b#c",
            "/%61/b",
            "/a/./b",
            "/a/x/../b",
            "/a/x/%2E%2e/b",
            "/../a/b/.",
            "a/b",
        ] {
            assert_eq!(spell(raw), "/a/b", "{raw}");
        }
        for raw in ["/", "", "//", "/.", "/..", "/?x"] {
            assert_eq!(spell(raw), "/", "{raw}");
        }
    }

    proptest! {
        #[test]
        fn a_path_is_taken_as_it_is_where_it_would_be_written_so(
            raw in "(/[/.a2]{0,4}){0,3}[/.%?#a2]{0,4}",
        ) {
            let path = without_query(raw.as_bytes());
            let (mut written, mut buffer) = (Buffer::new(), Buffer::new());
            write(path, &mut written).unwrap();
            match normalise(&raw, &mut buffer).unwrap() {
                Some(taken) => prop_assert_eq!(taken, &*written),
                None => prop_assert_eq!(&buffer, &written),
            }
            let is_taken = normal(raw.as_bytes()).is_some();
            prop_assert_eq!(is_taken, path == &*written && !path.contains(&b'%'));
        }
    }

    #[test]
    fn what_means_something_else_stays_apart() {
        assert_eq!(spell("/a%2fb"), "/a%2Fb");
        assert_eq!(spell("/A/b"), "/A/b");
        assert_eq!(spell("/a%252Fb"), "/a%2Fb");
        assert_eq!(spell("/a%zz%"), "/a%zz%");
        assert_eq!(spell("/.well-known/x"), "/.well-known/x");
        assert_eq!(spell("/a/..."), "/a/...");
        assert_eq!(spell("/a%3Fb"), "/a?b");
    }

    #[test]
    fn only_an_odd_path_can_be_too_long() {
        let mut buffer = Buffer::new();
        let long = "/x".repeat(ODD_PATH_BYTES_MAX);
        assert_eq!(
            normalise(&long, &mut buffer).unwrap(),
            Some(long.as_bytes())
        );
        let hidden = format!("/.well-known{long}/..x/.");
        let (plain, _) = hidden.rsplit_once("/.").unwrap();
        assert_eq!(normalise(plain, &mut buffer), Ok(Some(plain.as_bytes())));
        assert_eq!(normalise(&hidden, &mut buffer), Err(TooLong));
        let odd = format!("{long}/%61");
        assert_eq!(normalise(&odd, &mut buffer), Err(TooLong));
        let padded = format!("{}a", "/".repeat(10 * ODD_PATH_BYTES_MAX));
        assert_eq!(spell(&padded), "/a");
    }
}
