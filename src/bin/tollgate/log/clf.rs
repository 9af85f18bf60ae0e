//! The common and the combined log format, and what servers make of them.
//!
//! ```text
//! [vhost[:port] ]host ident user [time] "request" status bytes[ "referer"[ "agent"[ ...]]]
//! ```
//!
//! Source: Apache `mod_log_config`, nginx `ngx_http_log_module`. Fields after the agent are read
//! but only X-Forwarded-For is kept: a last quoted field that lists addresses.

use std::net::IpAddr;

use super::{Entry, Line, Malformed, Reading, RequestLine, Text};

/// The attributes of a request in these formats.
pub(super) const FIELDS: [&str; 11] = [
    "ip",
    "host",
    "vhost",
    "user",
    "query",
    "protocol",
    "status",
    "bytes",
    "forwarded_for",
    "referer",
    "user_agent",
];

/// Reads lines of the common and combined formats.
pub(crate) struct Clf {
    reading: Reading,
}

impl Clf {
    pub(super) fn new(reading: Reading) -> Self {
        Self { reading }
    }

    pub(super) fn parse<'a>(&mut self, line: &'a str) -> Result<Line<'a>, Malformed> {
        let (who, time, rest) = self.split_at_time(line)?;
        let mut fields = Fields { rest };
        let request = match fields.next()? {
            Some(Field::Quoted(text)) => text,
            _ => return Err(Malformed::new("no quoted request after the time")),
        };
        let (status, bytes) = (fields.count("status")?, fields.count("size")?);
        let mut trailing = Trailing::default();
        while let Some(field) = fields.next()? {
            trailing.put(field);
        }
        let who = Who::parse(who)?;
        let Some(request) = RequestLine::of(request) else {
            return Ok(Line::NoRequest(time));
        };
        let (mut attributes, wanted) = (Vec::with_capacity(4), &self.reading);
        let hops = self.reading.trusted_hops;
        let forwarded = trailing.forwarded_for();
        let client = forwarded.and_then(|list| super::fields::nth_last(list, hops));
        let client = client.map(|client| Text::Owned(client.to_owned()));
        let mut put = |name, text: Option<Text<'a>>| {
            if let Some(text) = text.filter(|text| !text.is_empty() && text != "-")
                && wanted.wants(name)
            {
                attributes.push((Text::Borrowed(name), text));
            }
        };
        put("ip", Some(client.unwrap_or(Text::Borrowed(who.host))));
        put("host", Some(Text::Borrowed(who.host)));
        put("vhost", who.vhost.map(Text::Borrowed));
        put("user", Some(Text::Borrowed(who.user)));
        put("query", request.query);
        put("protocol", request.protocol);
        put("status", Some(Text::Borrowed(status)));
        put("bytes", Some(Text::Borrowed(bytes)));
        put(
            "forwarded_for",
            forwarded.map(|list| Text::Owned(list.to_owned())),
        );
        put("referer", trailing.referer.take());
        put("user_agent", trailing.agent.take());
        Ok(Line::Request(Entry {
            time,
            method: request.method,
            path: Some(request.path),
            cost: None,
            attributes,
        }))
    }

    /// What is before the time, the time, and what is after it. A user's name may hold brackets,
    /// so the time is the first thing in brackets that is one.
    fn split_at_time<'a>(
        &mut self,
        line: &'a str,
    ) -> Result<(&'a str, tollgate::Timestamp, &'a str), Malformed> {
        let mut fault = Malformed::new("no time in [brackets]");
        let mut from = 0;
        while let Some((who, rest, end)) = bracketed(line, from) {
            match self.reading.stamps.parse(rest) {
                Ok(time) => return Ok((who, time, line.get(end..).unwrap_or_default())),
                Err(why) => fault = why,
            }
            from = who.len() + 2;
        }
        Err(fault)
    }
}

/// The next bracketed text from `from` on: what is before it, itself, and where it ends.
fn bracketed(line: &str, from: usize) -> Option<(&str, &str, usize)> {
    let open = from + line.get(from..)?.find(" [")?;
    let close = open + line.get(open..)?.find(']')?;
    Some((line.get(..open)?, line.get(open + 2..close)?, close + 1))
}

/// The fields before the time.
struct Who<'a> {
    vhost: Option<&'a str>,
    host: &'a str,
    user: &'a str,
}

impl<'a> Who<'a> {
    fn parse(text: &'a str) -> Result<Self, Malformed> {
        let mut words = text.splitn(3, ' ');
        let (Some(first), Some(second), Some(third)) = (words.next(), words.next(), words.next())
        else {
            return Err(Malformed::new("not host, ident and user before the time"));
        };
        let is_address = |word: &str| word.parse::<IpAddr>().is_ok();
        let with_port = first.rsplit_once(':').is_some_and(|(_, port)| {
            !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
        });
        // Four words are a virtual host and the usual three, or a user's name with a space.
        match third.split_once(' ') {
            Some((_, user)) if is_address(second) || (with_port && !is_address(first)) => {
                Ok(Self {
                    vhost: Some(first),
                    host: second,
                    user,
                })
            }
            _ => Ok(Self {
                vhost: None,
                host: first,
                user: third,
            }),
        }
    }
}

/// A field after the time.
enum Field<'a> {
    Quoted(Text<'a>),
    Bare(&'a str),
}

/// Takes fields off the rest of a line.
struct Fields<'a> {
    rest: &'a str,
}

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<Field<'a>>, Malformed> {
        let rest = self.rest.trim_start();
        if rest.is_empty() {
            return Ok(None);
        }
        let Some(inside) = rest.strip_prefix('"') else {
            let end = rest.find(' ').unwrap_or(rest.len());
            let (field, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
            self.rest = rest;
            return Ok(Some(Field::Bare(field)));
        };
        let end = closing_quote(inside)
            .ok_or_else(|| Malformed::new("a quoted field that does not end"))?;
        let (field, rest) = inside.split_at_checked(end).unwrap_or((inside, ""));
        self.rest = rest.strip_prefix('"').unwrap_or(rest);
        Ok(Some(Field::Quoted(unescape(field))))
    }

    /// A number, or the dash that stands for none.
    fn count(&mut self, what: &str) -> Result<&'a str, Malformed> {
        match self.next()? {
            Some(Field::Bare(text))
                if text == "-" || text.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                Ok(text)
            }
            Some(Field::Bare(text)) => Err(Malformed::new(format!(
                "a {what} that is no number: {}",
                super::fields::quoted(text)
            ))),
            _ => Err(Malformed::new(format!("no {what} after the request"))),
        }
    }
}

/// Where the first quote is that no backslash escapes.
pub(super) fn closing_quote(text: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', text.as_bytes().get(from..)?)?;
        match text.as_bytes().get(at) {
            Some(b'"') => return Some(at),
            // What is behind a backslash closes nothing.
            _ => from = at + 2,
        }
    }
}

/// Undoes `\"`, `\\`, `\t`, `\n`, `\r`, `\v`, `\b` and `\xHH`; anything else after a backslash
/// stays as it is. Bytes that are no UTF-8 become replacement characters.
pub(super) fn unescape(text: &str) -> Text<'_> {
    if memchr::memchr(b'\\', text.as_bytes()).is_none() {
        return Text::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let mut ahead = rest.clone();
        let plain = match ahead.next() {
            Some(quoted @ (b'"' | b'\\')) => Some(quoted),
            Some(b'n') => Some(b'\n'),
            Some(b'r') => Some(b'\r'),
            Some(b't') => Some(b'\t'),
            Some(b'v') => Some(0x0b),
            Some(b'b') => Some(0x08),
            Some(b'x') => hex(ahead.next(), ahead.next()),
            _ => None,
        };
        match plain {
            Some(plain) => {
                bytes.push(plain);
                rest = ahead;
            }
            None => bytes.push(b'\\'),
        }
    }
    Text::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// The fields after the size, by their order.
#[derive(Default)]
struct Trailing<'a> {
    quoted: usize,
    referer: Option<Text<'a>>,
    agent: Option<Text<'a>>,
    last: Option<Text<'a>>,
}

impl<'a> Trailing<'a> {
    fn put(&mut self, field: Field<'a>) {
        let Field::Quoted(text) = field else {
            return;
        };
        self.quoted += 1;
        match self.quoted {
            1 => self.referer = Some(text),
            2 => self.agent = Some(text),
            _ => self.last = Some(text),
        }
    }

    fn forwarded_for(&self) -> Option<&str> {
        let list = self.last.as_deref()?;
        let all_addresses = list
            .split(',')
            .all(|part| part.trim().parse::<IpAddr>().is_ok());
        all_addresses.then_some(list)
    }
}

#[cfg(test)]
#[path = "clf_tests.rs"]
mod tests;
