//! Formats in nginx's notation (`$remote_addr [$time_local] "$request"`) and in Apache's
//! (`%h %t "%r"`): a field reaches to the text that follows it in the format.
//!
//! Source: nginx `ngx_http_log_module`, Apache `mod_log_config`.

use anyhow::{bail, ensure};

use super::clf::{closing_quote, unescape};
use super::fields::{Name, Record};
use super::{Line, Malformed, Reading, Text};

/// Reads lines of one format.
pub(crate) struct Pattern {
    reading: Reading,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Field {
        field: String,
        name: Option<Name<'static>>,
    },
}

impl Pattern {
    /// # Errors
    /// If `format` says nothing that can be read by it.
    pub(super) fn new(format: &str, reading: Reading) -> anyhow::Result<Self> {
        let pieces = match format.contains('$') {
            true => nginx(format)?,
            false => apache(format)?,
        };
        let mut pattern = Self {
            reading,
            pieces: join(pieces)?,
        };
        let names = &pattern.reading.names;
        for piece in &mut pattern.pieces {
            if let Piece::Field { field, name } = piece {
                *name = names.of(field).map(Name::into_owned);
            }
        }
        let fields = pattern.fields();
        for (field, name) in names.map.fields() {
            ensure!(
                fields.iter().any(|known| known == field),
                "the format has no field {field} to map {name} to; it has: {}",
                fields.join(", ")
            );
        }
        let has = |what: &str| {
            let mut pieces = pattern.pieces.iter();
            pieces.any(
                |piece| matches!(piece, Piece::Field { name: Some(name), .. } if name.text == what),
            )
        };
        ensure!(
            has("time"),
            "the format has no time; its fields are: {}",
            fields.join(", ")
        );
        Ok(pattern)
    }

    pub(super) fn fields(&self) -> Vec<String> {
        let field = |piece: &Piece| match piece {
            Piece::Field { field, .. } => Some(field.clone()),
            Piece::Literal(_) => None,
        };
        self.pieces.iter().filter_map(field).collect()
    }

    pub(super) fn parse<'a>(&mut self, line: &'a str) -> Result<Line<'a>, Malformed> {
        let mut record = Record::default();
        let mut rest = line;
        let mut is_quoted = false;
        let mut pieces = self.pieces.iter().peekable();
        while let Some(piece) = pieces.next() {
            match piece {
                Piece::Literal(text) => {
                    rest = rest
                        .strip_prefix(text.as_str())
                        .ok_or_else(|| Malformed(format!("no {text:?} where the format has it")))?;
                    is_quoted = text.ends_with('"');
                }
                Piece::Field { field, name } => {
                    let end = match pieces.peek() {
                        Some(Piece::Literal(text)) if is_quoted && text.starts_with('"') => {
                            closing_quote(rest)
                        }
                        Some(Piece::Literal(text)) => rest.find(text.as_str()),
                        _ => Some(rest.len()),
                    };
                    let end = end.ok_or_else(|| Malformed(format!("{field} does not end")))?;
                    let (value, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
                    rest = after;
                    let value: Text<'a> = if is_quoted {
                        unescape(value)
                    } else {
                        value.into()
                    };
                    if let Some(name) = name
                        && !value.is_empty()
                        && value != "-"
                    {
                        record.put(name, value)?;
                    }
                }
            }
        }
        record.finish(&mut self.reading)
    }
}

/// Joins neighbouring texts.
///
/// # Errors
/// If two fields have nothing between them, so that nobody can tell where one ends.
fn join(pieces: Vec<Piece>) -> anyhow::Result<Vec<Piece>> {
    let mut joined: Vec<Piece> = Vec::new();
    for piece in pieces {
        match (joined.last_mut(), piece) {
            (Some(Piece::Literal(text)), Piece::Literal(more)) => text.push_str(&more),
            (Some(Piece::Field { field: one, .. }), Piece::Field { field: other, .. }) => bail!(
                "the format has nothing between {one} and {other}, so where one ends cannot be told"
            ),
            (_, piece) => joined.push(piece),
        }
    }
    Ok(joined)
}

fn field(field: impl Into<String>) -> Piece {
    let (field, name) = (field.into(), None);
    Piece::Field { field, name }
}

fn nginx(format: &str) -> anyhow::Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('$') {
        pieces.push(Piece::Literal(before.to_owned()));
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, behind) = match after.strip_prefix('{') {
            Some(braced) => match braced.split_once('}') {
                Some(parts) => parts,
                None => bail!("the format has ${{ without a closing brace"),
            },
            None => after.split_at(after.find(|c| !is_name(c)).unwrap_or(after.len())),
        };
        ensure!(
            !name.is_empty(),
            "the format has $ without a name behind it"
        );
        pieces.push(field(name));
        rest = behind;
    }
    pieces.push(Piece::Literal(rest.to_owned()));
    pieces.retain(|piece| *piece != Piece::Literal(String::new()));
    Ok(pieces)
}

fn apache(format: &str) -> anyhow::Result<Vec<Piece>> {
    // As in the server's configuration, where the format itself is in quotes.
    let format = format.replace("\\\"", "\"").replace("\\t", "\t");
    let mut pieces = Vec::new();
    let mut rest = format.as_str();
    while let Some((before, after)) = rest.split_once('%') {
        pieces.push(Piece::Literal(before.to_owned()));
        // Only for some statuses, of the first or the last of a redirected request: no matter.
        let after = after.trim_start_matches(|c: char| c.is_ascii_digit() || "!,<>".contains(c));
        let (argument, after) = match after.strip_prefix('{').map(|inside| inside.split_once('}')) {
            Some(Some((argument, after))) => (Some(argument), after),
            Some(None) => bail!("the format has %{{ without a closing brace"),
            None => (None, after),
        };
        // `%^FB` and the like have two more letters.
        let length = if after.starts_with('^') { 3 } else { 1 };
        ensure!(
            after.is_char_boundary(length) && after.len() >= length,
            "the format ends in %"
        );
        let (letter, behind) = after.split_at(length);
        pieces.extend(directive(letter, argument)?);
        rest = behind;
    }
    pieces.push(Piece::Literal(rest.to_owned()));
    pieces.retain(|piece| *piece != Piece::Literal(String::new()));
    Ok(pieces)
}

/// What a directive of Apache's stands for, by nginx's names.
fn directive(letter: &str, argument: Option<&str>) -> anyhow::Result<Vec<Piece>> {
    let header = |kind: &str, name: &str| {
        let name = name.to_ascii_lowercase().replace('-', "_");
        vec![field(format!("{kind}_{name}"))]
    };
    Ok(match (letter, argument) {
        ("%", _) => vec![Piece::Literal("%".to_owned())],
        ("t", None) => vec![
            Piece::Literal("[".to_owned()),
            field("time_local"),
            Piece::Literal("]".to_owned()),
        ],
        ("t", Some("sec" | "msec" | "usec")) => vec![field("msec")],
        ("t", Some(other)) => bail!(
            "times in the form {other} are not read; %t, and %{{sec}}t, %{{msec}}t, %{{usec}}t are"
        ),
        ("i", Some(name)) => header("http", name),
        ("o", Some(name)) => header("sent_http", name),
        ("C", Some(name)) => header("cookie", name),
        ("h", _) | ("a", None) => vec![field("remote_addr")],
        ("a", Some(_)) => vec![field("connection_addr")],
        ("l", _) => vec![field("ident")],
        ("u", _) => vec![field("remote_user")],
        ("r", _) => vec![field("request")],
        ("m", _) => vec![field("request_method")],
        ("U", _) => vec![field("uri")],
        ("q", _) => vec![field("query")],
        ("H", _) => vec![field("protocol")],
        ("s", _) => vec![field("status")],
        ("b" | "B" | "O", _) => vec![field("bytes")],
        ("v" | "V", _) => vec![field("vhost")],
        (letter, Some(name)) => vec![field(format!("{letter}_{name}"))],
        (letter, None) => vec![field(letter)],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(format: &str, line: &str) -> Result<Vec<(String, String)>, String> {
        let mut pattern =
            Pattern::new(format, Reading::default()).map_err(|fault| fault.to_string())?;
        match pattern.parse(line) {
            Ok(Line::Request(entry)) => {
                let mut told = vec![
                    ("time".to_owned(), entry.time.to_string()),
                    ("method".to_owned(), entry.method.into_owned()),
                    (
                        "path".to_owned(),
                        entry.path.unwrap_or_default().into_owned(),
                    ),
                ];
                let own =
                    |(name, text): (Text<'_>, Text<'_>)| (name.into_owned(), text.into_owned());
                told.extend(entry.attributes.into_iter().map(own));
                Ok(told)
            }
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn both_notations_read_the_same_line() {
        let line = [
            r#"192.0.2.1 - eve [25/Oct/2015:04:11:25 +0100] "GET /a?b HTTP/1.1" 200 12 "#,
            r#""-" "x \"y\" z" k1"#,
        ]
        .concat();
        let line = line.as_str();
        let nginx = [
            r#"$remote_addr - $remote_user [$time_local] "$request" $status $bytes "#,
            r#""$http_referer" "$http_user_agent" ${http_x_api_key}"#,
        ]
        .concat();
        let apache =
            r#"%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-agent}i\" %{X-Api-Key}i"#;
        let told = parse(&nginx, line).unwrap();
        assert_eq!(told, parse(apache, line).unwrap());
        for (name, text) in [
            ("time", "2015-10-25T03:11:25Z"),
            ("method", "GET"),
            ("path", "/a"),
            ("ip", "192.0.2.1"),
            ("user", "eve"),
            ("query", "b"),
            ("user_agent", r#"x "y" z"#),
            ("http_x_api_key", "k1"),
        ] {
            assert!(
                told.contains(&(name.to_owned(), text.to_owned())),
                "{name} in {told:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_told_is_said() {
        for (format, why) in [
            (
                "$time_local$request",
                "nothing between time_local and request",
            ),
            ("$remote_addr $request", "no time"),
            ("$time_local ${a", "closing brace"),
            ("$time_local $ x", "without a name"),
            ("%t %{x", "closing brace"),
            ("%t %", "ends in %"),
            ("%{%Y-%m}t", "are not read"),
        ] {
            let fault = parse(format, "").unwrap_err();
            assert!(fault.contains(why), "{format}: {fault}");
        }
        let short = parse(
            "$time_iso8601 \"$request\" $status",
            "2024-01-01T00:00:00Z \"GET / HTTP/1.1",
        );
        assert!(short.is_err_and(|why| why.contains("request does not end")));
    }
}
