//! Frames: a length, a kind, a body.

/// Kinds of frames.
pub(super) const HELLO: u8 = 1;
pub(super) const CALL: u8 = 2;
pub(super) const REPLY: u8 = 3;
pub(super) const ERROR: u8 = 4;

/// Length and kind.
pub(super) const HEAD: usize = 5;
/// The longest body of any frame.
// Bound: a policy of the longest text that is read fits into a call, every letter of it escaped.
pub(super) const BODY_MAX: usize = 7 << 20;
/// The longest body before both sides have said hello.
pub(super) const HELLO_MAX: usize = 4 << 10;

/// What the bytes begin with.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Begun<'b> {
    /// A whole frame.
    Frame { kind: u8, body: &'b [u8] },
    /// A part of one.
    Part,
    /// One that is longer than it may be.
    TooLong(usize),
}

/// Reads the frame that the bytes begin with, if its body has at most `most` bytes.
pub(super) fn read(bytes: &[u8], most: usize) -> Begun<'_> {
    let Some(([a, b, c, d, kind], rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Begun::Part;
    };
    let len = u32::from_le_bytes([*a, *b, *c, *d]);
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len > most {
        return Begun::TooLong(len);
    }
    match rest.get(..len) {
        Some(body) => Begun::Frame { kind: *kind, body },
        None => Begun::Part,
    }
}

/// Adds a frame. A body that is too long for one becomes an error: what is sent can be read.
pub(super) fn write(kind: u8, body: &[u8], out: &mut Vec<u8>) {
    match u32::try_from(body.len()) {
        Ok(len) if body.len() <= BODY_MAX => {
            out.extend(len.to_le_bytes());
            out.push(kind);
            out.extend(body);
        }
        _ => {
            let why = br#"{"status":500,"error":"the answer is too long for a frame"}"#;
            write(ERROR, why, out);
        }
    }
}
