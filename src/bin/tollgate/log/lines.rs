//! Lines of bounded length out of a stream of bytes.

use std::io::{self, BufRead};

/// The longest line that is read, in bytes.
// Bound: a longer one is malformed, and passed over without being held in memory.
pub(crate) const LINE_BYTES_MAX: usize = 64 * 1024;

/// What came next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// A line, now in the buffer, without its end.
    Line,
    /// A line longer than [`LINE_BYTES_MAX`]; its beginning is in the buffer.
    TooLong,
    /// Nothing: the stream has ended.
    End,
}

/// Reads the next line into `line`, and adds what it took off the stream to `offset`. Also says
/// whether the line has its end.
///
/// A last line without an end counts as a line. If more may come behind it, it is read on with
/// `begun`, which is how many of its bytes were taken before.
///
/// # Errors
/// As the stream's.
pub(super) fn read_line(
    from: &mut dyn BufRead,
    line: &mut Vec<u8>,
    offset: &mut u64,
    begun: u64,
) -> io::Result<(Read, bool)> {
    if begun == 0 {
        line.clear();
    }
    let (mut taken, mut has_end) = (0_u64, false);
    loop {
        let available = match from.fill_buf() {
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if available.is_empty() {
            break;
        }
        let (part, ended) = match memchr::memchr(b'\n', available) {
            Some(at) => (available.get(..at).unwrap_or_default(), true),
            None => (available, false),
        };
        let room = LINE_BYTES_MAX - line.len();
        line.extend_from_slice(part.get(..room.min(part.len())).unwrap_or_default());
        let used = part.len() + usize::from(ended);
        from.consume(used);
        taken += u64::try_from(used).unwrap_or(u64::MAX);
        if ended {
            has_end = true;
            break;
        }
    }
    *offset += taken;
    let whole = begun + taken;
    let held = u64::try_from(line.len()).unwrap_or(u64::MAX);
    if has_end && line.last() == Some(&b'\r') {
        line.pop();
    }
    let read = match whole - u64::from(has_end) > held {
        _ if whole == 0 => Read::End,
        true => Read::TooLong,
        false => Read::Line,
    };
    Ok((read, has_end))
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn lines_whatever_the_size_of_the_buffer() {
        let text = b"one\r\n\ntwo\nlast";
        for capacity in [1, 2, 3, 64] {
            let mut from = BufReader::with_capacity(capacity, &text[..]);
            let (mut line, mut offset, mut seen) = (Vec::new(), 0, Vec::new());
            while read_line(&mut from, &mut line, &mut offset, 0).unwrap().0 == Read::Line {
                seen.push((String::from_utf8(line.clone()).unwrap(), offset));
            }
            let seen: Vec<_> = seen.iter().map(|(text, at)| (text.as_str(), *at)).collect();
            assert_eq!(
                seen,
                [("one", 5), ("", 6), ("two", 10), ("last", 14)],
                "{capacity}"
            );
        }
    }

    #[test]
    fn a_long_line_is_passed_over() {
        let mut text = vec![b'x'; LINE_BYTES_MAX];
        text.extend_from_slice(b"\n");
        text.extend_from_slice(&vec![b'y'; 10 * LINE_BYTES_MAX]);
        text.extend_from_slice(b"\nend\n");
        let mut from = BufReader::new(&text[..]);
        let (mut line, mut offset) = (Vec::new(), 0);
        assert_eq!(
            read_line(&mut from, &mut line, &mut offset, 0).unwrap().0,
            Read::Line
        );
        assert_eq!(line.len(), LINE_BYTES_MAX);
        assert_eq!(
            read_line(&mut from, &mut line, &mut offset, 0).unwrap().0,
            Read::TooLong
        );
        assert!(line.len() <= LINE_BYTES_MAX && line.capacity() <= 2 * LINE_BYTES_MAX);
        assert_eq!(
            read_line(&mut from, &mut line, &mut offset, 0).unwrap().0,
            Read::Line
        );
        assert_eq!((line.as_slice(), offset), (&b"end"[..], text.len() as u64));
        assert_eq!(
            read_line(&mut from, &mut line, &mut offset, 0).unwrap().0,
            Read::End
        );
    }
}
