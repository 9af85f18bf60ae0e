//! One log as a stream of lines: a file or standard input, plain or compressed.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read as _, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;

use anyhow::{Context, bail, ensure};
use flate2::Crc;
use serde::{Deserialize, Serialize};

use super::lines::{LINE_BYTES_MAX, Read, read_line};
use super::{Format, Line, Malformed, Parser, Reading, detect, inflate};

/// How much of a log's beginning is looked at: lines and bytes.
const HEAD_LINES_MAX: usize = 32;
const HEAD_BYTES_MAX: usize = 2 * LINE_BYTES_MAX;

/// How much of a log's beginning, uncompressed, tells it from another one.
const IDENTITY_BYTES: usize = 1_024;

/// What tells a log from another one: what a position in it is good for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) name: String,
    /// Of the file as it lies there; none for a stream.
    pub(crate) bytes: Option<u64>,
    /// CRC-32 of its beginning, and how many bytes that was.
    pub(crate) head: u32,
    pub(crate) head_bytes: usize,
}

/// A log that is being read.
pub(crate) struct Source {
    identity: Identity,
    format: Format,
    /// True for a file that is not compressed.
    seekable: bool,
    reader: Box<dyn BufRead>,
    parser: Parser,
    line: Vec<u8>,
    /// The line once more, where it was no UTF-8.
    text: String,
    /// Lines read so far.
    lines: u64,
    /// Uncompressed bytes read so far.
    offset: u64,
    /// Bytes of the file, compressed or not, read so far.
    consumed: Rc<Cell<u64>>,
    /// True if more may come behind its end.
    is_followed: bool,
    /// Bytes taken of a line that has no end yet.
    begun: u64,
    /// Device and number of the file, if it is one.
    file: Option<(u64, u64)>,
    /// For opening it once more.
    reading: Reading,
    /// The bytes that the identity tells of.
    beginning: Vec<u8>,
    /// A line of the beginning.
    sample: String,
}

impl Source {
    /// Opens the log `name`, `-` for standard input, and tells its format unless that is given.
    ///
    /// # Errors
    /// If it cannot be opened or read, or if its format is neither given nor known.
    pub(crate) fn open(
        name: &str,
        format: Option<&Format>,
        reading: &Reading,
    ) -> anyhow::Result<Self> {
        let consumed = Rc::new(Cell::new(0));
        let (bytes, is_packed, mut reader) = stream(name, &consumed)?;
        let head = read_head(&mut *reader).with_context(|| format!("cannot read {name}"))?;
        let text = String::from_utf8_lossy(&head);
        let lines = text.lines().take(HEAD_LINES_MAX);
        let format = format.cloned();
        let format = match format.or_else(|| detect::detect(lines.clone(), reading)) {
            Some(format) => format,
            // An empty log is whatever one likes.
            None if text.trim().is_empty() => Format::Combined,
            None => bail!(
                "{name} does not begin like any log known here: {}; --format says what it is, by \
                 name or as the server's configuration does, and for CSV --map which column means \
                 what, as in --map time=COLUMN",
                super::fields::quoted(text.lines().next().unwrap_or_default())
            ),
        };
        let heading = text.lines().next();
        let parser = Parser::new(&format, heading, reading.clone());
        let parser = parser.with_context(|| name.to_owned())?;
        let beginning = head.get(..IDENTITY_BYTES).unwrap_or(&head).to_vec();
        let identity = Identity {
            name: name.to_owned(),
            bytes,
            head: sum(&beginning),
            head_bytes: beginning.len(),
        };
        // Not the last one: it may have been cut.
        let mut whole = text.lines().rev().skip(1).chain(text.lines());
        let sample = whole
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default()
            .to_owned();
        Ok(Self {
            identity,
            format,
            seekable: bytes.is_some() && !is_packed,
            reader: Box::new(Cursor::new(head).chain(reader)),
            parser,
            line: Vec::new(),
            text: String::new(),
            lines: 0,
            offset: 0,
            consumed,
            is_followed: false,
            begun: 0,
            file: std::fs::metadata(name)
                .ok()
                .map(|meta| (meta.dev(), meta.ino())),
            reading: reading.clone(),
            beginning,
            sample,
        })
    }

    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) const fn format(&self) -> &Format {
        &self.format
    }

    /// True if it is the log that `begun` was, with more behind it.
    pub(crate) fn has_grown_from(&self, begun: &Identity) -> bool {
        let beginning = self.beginning.get(..begun.head_bytes);
        self.identity.name == begun.name
            && self.identity.bytes >= begun.bytes
            && beginning.is_some_and(|beginning| sum(beginning) == begun.head)
    }

    /// The fields that its lines have, by the names that `--map` takes.
    pub(crate) fn fields(&self) -> Vec<String> {
        self.parser.fields(&self.sample)
    }

    /// The heading that lines are read by, where it may change within a log.
    pub(crate) fn heading(&self) -> Option<String> {
        self.parser.heading()
    }

    /// Lines read so far: the number of the line in hand.
    pub(crate) const fn lines(&self) -> u64 {
        self.lines
    }

    /// Uncompressed bytes read so far.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of the file read so far, for showing progress: reading runs ahead by a buffer.
    pub(crate) fn consumed(&self) -> u64 {
        self.consumed.get()
    }

    /// Passes over what has been read before: `offset` bytes, that were `lines` lines. Only for
    /// a log of which no line was taken yet. `heading` is the one that held there.
    ///
    /// # Errors
    /// If the log ends before that, or cannot be read.
    pub(crate) fn skip(
        &mut self,
        offset: u64,
        lines: u64,
        heading: Option<&str>,
    ) -> anyhow::Result<()> {
        if let Some(heading) = heading {
            self.parser.set_heading(heading);
        }
        if self.seekable {
            // What lies before need not be read again.
            let mut file = File::open(&self.identity.name)
                .with_context(|| format!("cannot open {}", self.identity.name))?;
            let passed = offset.min(self.identity.bytes.unwrap_or(0));
            file.seek(SeekFrom::Start(passed))?;
            let count = Rc::clone(&self.consumed);
            count.set(passed);
            let rest = Counted { inner: file, count };
            self.reader = Box::new(BufReader::with_capacity(LINE_BYTES_MAX, rest));
            self.offset = passed;
        }
        let skipped = self.offset
            + io::copy(
                &mut (&mut self.reader).take(offset - self.offset),
                &mut io::sink(),
            )
            .with_context(|| format!("cannot read {}", self.identity.name))?;
        ensure!(
            skipped == offset,
            "{} ends after {skipped} bytes, before the {offset} where the replay stopped",
            self.identity.name
        );
        self.offset = offset;
        self.lines = lines;
        Ok(())
    }

    /// Takes the next line in hand. Of a log that is followed, a line without an end is none yet.
    ///
    /// # Errors
    /// If the log cannot be read: damaged gzip data, a broken drive.
    pub(crate) fn advance(&mut self) -> anyhow::Result<Read> {
        let (before, begun) = (self.offset, self.begun);
        let read = read_line(&mut *self.reader, &mut self.line, &mut self.offset, begun);
        let (read, has_end) = read.with_context(|| {
            format!(
                "cannot read {} after line {}",
                self.identity.name, self.lines
            )
        })?;
        if self.is_followed && !has_end {
            self.begun += self.offset - before;
            self.offset = before;
            return Ok(Read::End);
        }
        self.offset += self.begun;
        self.begun = 0;
        self.lines += u64::from(read != Read::End);
        Ok(read)
    }

    /// From now on waits for more at the end.
    ///
    /// # Errors
    /// If it is no plain file.
    pub(crate) fn follow(&mut self) -> anyhow::Result<()> {
        ensure!(
            self.seekable,
            "--follow needs a plain file as the last log, and {} is none",
            self.identity.name
        );
        self.is_followed = true;
        Ok(())
    }

    pub(crate) const fn is_followed(&self) -> bool {
        self.is_followed
    }

    /// True if another file has the name now, or this one was cut: logs are rotated.
    pub(crate) fn was_replaced(&self) -> bool {
        let Ok(meta) = std::fs::metadata(&self.identity.name) else {
            // Between two files there may be none for a moment.
            return false;
        };
        self.file != Some((meta.dev(), meta.ino())) || meta.len() < self.offset
    }

    /// Goes on with the file that has the name now.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(crate) fn begin_again(&mut self) -> anyhow::Result<()> {
        let (name, format) = (self.identity.name.clone(), self.format.clone());
        let next = Self::open(&name, Some(&format), &self.reading)?;
        let lines = self.lines;
        *self = next;
        self.lines = lines;
        self.follow()
    }

    /// The line in hand, for a message.
    pub(crate) fn excerpt(&self) -> String {
        super::fields::quoted(&String::from_utf8_lossy(&self.line))
    }

    /// What the line in hand says.
    ///
    /// # Errors
    /// Says why it is not a record.
    pub(crate) fn parse(&mut self) -> Result<Line<'_>, Malformed> {
        let text = match std::str::from_utf8(&self.line) {
            Ok(text) => text,
            Err(_) => {
                self.text.clear();
                self.text.push_str(&String::from_utf8_lossy(&self.line));
                &self.text
            }
        };
        // Some editors mark the beginning of a file.
        self.parser
            .parse(text.strip_prefix('\u{feff}').unwrap_or(text))
    }
}

fn sum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Counts the bytes that pass through.
struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: io::Read> io::Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let count = self.count.get() + u64::try_from(read).unwrap_or(u64::MAX);
        self.count.set(count);
        Ok(read)
    }
}

/// The size of a log if it is a file, whether it is compressed, and its bytes, uncompressed.
fn stream(
    name: &str,
    count: &Rc<Cell<u64>>,
) -> anyhow::Result<(Option<u64>, bool, Box<dyn BufRead>)> {
    let count = Rc::clone(count);
    let (bytes, raw): (_, Box<dyn io::Read>) = if name == "-" {
        (
            None,
            Box::new(Counted {
                inner: io::stdin(),
                count,
            }),
        )
    } else {
        let file = File::open(name).with_context(|| format!("cannot open {name}"))?;
        let meta = file
            .metadata()
            .with_context(|| format!("cannot open {name}"))?;
        ensure!(!meta.is_dir(), "{name} is a directory, not a log");
        let bytes = meta.is_file().then_some(meta.len());
        (bytes, Box::new(Counted { inner: file, count }))
    };
    let mut raw = BufReader::with_capacity(LINE_BYTES_MAX, raw);
    let mut magic = Vec::new();
    (&mut raw)
        .take(u64::try_from(inflate::MAGIC_BYTES).unwrap_or(0))
        .read_to_end(&mut magic)
        .with_context(|| format!("cannot read {name}"))?;
    let whole = Cursor::new(magic.clone()).chain(raw);
    Ok(match inflate::unpack(&magic, whole) {
        Ok(plain) => {
            let plain = BufReader::with_capacity(LINE_BYTES_MAX, plain);
            (bytes, true, Box::new(plain))
        }
        Err(whole) => (bytes, false, Box::new(whole)),
    })
}

/// The beginning of a log: enough lines to tell its format and enough bytes to know it again.
fn read_head(from: &mut dyn BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut lines = 0;
    while head.len() < HEAD_BYTES_MAX && (lines < HEAD_LINES_MAX || head.len() < IDENTITY_BYTES) {
        let mut part = from.take(u64::try_from(HEAD_BYTES_MAX - head.len()).unwrap_or(0));
        if part.read_until(b'\n', &mut head)? == 0 {
            break;
        }
        lines += 1;
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn log(lines: usize) -> String {
        let line = |i| {
            format!(
                "10.0.0.{} - - [10/Oct/2000:13:55:36 +0000] \"GET /{i}\" 200 1\n",
                i % 9
            )
        };
        (0..lines).map(line).collect()
    }

    fn open(bytes: &[u8]) -> (tempfile::NamedTempFile, Source) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let source =
            Source::open(file.path().to_str().unwrap(), None, &Reading::default()).unwrap();
        (file, source)
    }

    fn paths(source: &mut Source) -> Vec<String> {
        let mut paths = Vec::new();
        while source.advance().unwrap() != Read::End {
            match source.parse().unwrap() {
                Line::Request(entry) => paths.push(entry.path.unwrap().into_owned()),
                other => panic!("{other:?}"),
            }
        }
        paths
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_and_gzip_of_several_members_read_the_same() {
        let text = log(5_000);
        let (front, back) = text.split_at(text.len() / 3);
        let zipped = [gzip(front.as_bytes()), gzip(back.as_bytes())].concat();
        let (_plain_file, mut plain) = open(text.as_bytes());
        let (_zip_file, mut unzipped) = open(&zipped);
        assert_eq!(*plain.format(), Format::Common);
        assert_eq!(plain.identity().head, unzipped.identity().head);
        let expected: Vec<_> = (0..5_000).map(|i| format!("/{i}")).collect();
        assert_eq!(paths(&mut plain), expected);
        assert_eq!(paths(&mut unzipped), expected);
        assert_eq!((plain.lines(), plain.offset()), (5_000, text.len() as u64));
        assert_eq!(
            (unzipped.lines(), unzipped.offset()),
            (5_000, text.len() as u64)
        );
        assert_eq!(unzipped.consumed(), zipped.len() as u64);
    }

    #[test]
    fn skipping_goes_on_where_reading_stopped() {
        let text = log(1_000);
        for bytes in [text.clone().into_bytes(), gzip(text.as_bytes())] {
            let (file, mut first) = open(&bytes);
            for _ in 0..321 {
                first.advance().unwrap();
            }
            let mut second =
                Source::open(file.path().to_str().unwrap(), None, &Reading::default()).unwrap();
            assert_eq!(second.identity(), first.identity());
            second.skip(first.offset(), first.lines(), None).unwrap();
            assert_eq!(second.advance().unwrap(), Read::Line);
            assert!(
                matches!(second.parse(), Ok(Line::Request(e)) if e.path.as_deref() == Some("/321"))
            );
            assert_eq!(second.lines(), 322);
            let mut third =
                Source::open(file.path().to_str().unwrap(), None, &Reading::default()).unwrap();
            let fault = third.skip(1 << 40, 0, None).unwrap_err().to_string();
            assert!(fault.contains("ends after"), "{fault}");
        }
    }

    #[test]
    fn damaged_gzip_is_an_error_that_says_where() {
        let mut zipped = gzip(log(50_000).as_bytes());
        zipped.truncate(zipped.len() / 2);
        let (_file, mut source) = open(&zipped);
        let fault = loop {
            match source.advance() {
                Ok(Read::End) => panic!("a torn file read to its end"),
                Ok(_) => {}
                Err(fault) => break fault.to_string(),
            }
        };
        assert!(fault.contains("after line"), "{fault}");
    }

    #[test]
    fn bytes_that_are_no_text_are_tolerated() {
        let mut bytes = log(1).into_bytes();
        bytes.extend_from_slice(b"h\xff - - [10/Oct/2000:13:55:36 +0000] \"GET /\xe4\" 200 1\n");
        let (_file, mut source) = open(&bytes);
        assert_eq!(paths(&mut source), ["/0", "/\u{fffd}"]);
    }

    #[test]
    fn an_unknown_beginning_asks_for_a_format() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"some prose\nand more\n").unwrap();
        let fault = Source::open(file.path().to_str().unwrap(), None, &Reading::default())
            .err()
            .unwrap();
        assert!(fault.to_string().contains("--format"), "{fault}");
    }
}
