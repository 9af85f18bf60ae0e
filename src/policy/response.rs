//! What responses say: `[response]`, its headers and bodies as templates that are filled later.
//!
//! Only numbers, names of the policy and fixed words are ever filled in, nothing that a request
//! brought; so a filled template needs no escaping, and a header cannot be broken out of.

use std::sync::OnceLock;

use super::bounds::{
    BODY_BYTES_MAX, HEADERS_MAX, LIMITS_MAX, NAME_BYTES_MAX, PHRASE_BYTES_MAX, REFUSALS_MAX,
};
use super::fault::{Faults, Fix, Place, fix, quoted, suggest};
use super::names::Names;
use super::pieces::{Fact, Piece, joined, json, parse_text};
use super::tree::{Fields, Like, Spot, Value};

/// What responses say, made ready.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct ResponseSpec {
    /// On every response.
    pub(crate) headers: Vec<HeaderSpec>,
    pub(crate) limit: LimitTold,
    /// Of a request that has to wait, unless one of `refusals` fits.
    pub(crate) body: Option<BodySpec>,
    /// The first that fits is taken.
    pub(crate) refusals: Vec<RefusalSpec>,
}

impl ResponseSpec {
    /// What is said in particular of a refusal of this kind, by this limit if one is known.
    pub(crate) fn refusal(&self, kind: RefusalKind, limit: Option<&str>) -> Option<&RefusalSpec> {
        self.refusals.iter().find(|refusal| {
            let mut own = refusal.limits.iter().map(|name| Some(&**name));
            let is_own = refusal.limits.is_empty() || own.any(|own| own == limit);
            refusal.when == kind && is_own
        })
    }

    /// The headers of a response, of which `own` is said in particular.
    pub(crate) fn headers_of<'s>(&'s self, own: Option<&'s RefusalSpec>) -> &'s [HeaderSpec] {
        let own = own.and_then(|own| own.headers.as_ref());
        own.unwrap_or(&self.headers)
    }

    /// The body of a refusal of this kind, of which `own` is said in particular.
    pub(crate) fn body_of<'s>(
        &'s self,
        kind: RefusalKind,
        own: Option<&'s RefusalSpec>,
    ) -> &'s BodySpec {
        let general = match kind {
            RefusalKind::Limited | RefusalKind::Unavailable => self.body.as_ref(),
            RefusalKind::Impossible => None,
        };
        let own = own.and_then(|own| own.body.as_ref());
        own.or(general).unwrap_or_else(|| default_body())
    }
}

/// Which number is told as a bucket's limit; other limits have only one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum LimitTold {
    /// What there can be at once.
    #[default]
    Burst,
    /// What a period brings; what the burst has beyond that is not told of.
    Rate,
}

/// What certain refusals say instead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RefusalSpec {
    /// Of these limits; of any, if none is named.
    pub(crate) limits: Vec<Box<str>>,
    pub(crate) when: RefusalKind,
    pub(crate) status: Option<u16>,
    pub(crate) headers: Option<Vec<HeaderSpec>>,
    pub(crate) body: Option<BodySpec>,
}

/// Why a request is refused, as far as its sender can do something about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RefusalKind {
    /// He has to wait.
    Limited,
    /// No wait can help.
    Impossible,
    /// It is the service that cannot.
    Unavailable,
}

/// One header, or two that belong together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum HeaderSpec {
    /// Left out while one of its values is unknown.
    Line { name: Box<str>, value: Vec<Piece> },
    /// `RateLimit` and `RateLimit-Policy`.
    Draft,
}

/// A body and its media type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BodySpec {
    pub(crate) content_type: Box<str>,
    pub(crate) pieces: Vec<Piece>,
}

/// Headers by the names of their dialects.
const DIALECTS: &[(&str, &[(&str, Fact)])] = &[
    (
        "x-ratelimit-unix",
        &[
            ("x-ratelimit-limit", Fact::Limit),
            ("x-ratelimit-remaining", Fact::Remaining),
            ("x-ratelimit-reset", Fact::Reset),
        ],
    ),
    (
        "x-ratelimit-seconds",
        &[
            ("x-ratelimit-limit", Fact::Limit),
            ("x-ratelimit-remaining", Fact::Remaining),
            ("x-ratelimit-reset", Fact::ResetAfter),
        ],
    ),
    (
        "x-ratelimit-reset-after",
        &[
            ("x-ratelimit-limit", Fact::Limit),
            ("x-ratelimit-remaining", Fact::Remaining),
            ("x-ratelimit-reset-after", Fact::ResetAfter),
        ],
    ),
    ("x-ratelimit-limit", &[("x-ratelimit-limit", Fact::Limit)]),
    ("x-ratelimit-tier", &[("x-ratelimit-tier", Fact::Tier)]),
    ("x-ratelimit-wait", &[("x-ratelimit-wait", Fact::Wait)]),
    ("retry-after", &[("retry-after", Fact::RetryAfter)]),
    ("x-retry-after", &[("x-retry-after", Fact::RetryAfter)]),
];
/// The dialect of draft-ietf-httpapi-ratelimit-headers-10.
const DRAFT: &str = "ratelimit-draft-10";
const JSON: &str = "application/json";
/// Headers that say how a message is to be read: not a policy's to set.
const RESERVED: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "host",
    "keep-alive",
    "ratelimit",
    "ratelimit-policy",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What a refusal says that the policy says nothing of.
fn default_body() -> &'static BodySpec {
    static BODY: OnceLock<BodySpec> = OnceLock::new();
    BODY.get_or_init(|| BodySpec {
        content_type: JSON.into(),
        pieces: vec![
            Piece::Literal("{".into()),
            Piece::Member("\"code\":".into(), Fact::Status),
            Piece::Member(",\"message\":".into(), Fact::Reason),
            Piece::Literal("}".into()),
        ],
    })
}

/// `[response]` as read: the limits that its refusals name are not yet looked up.
#[derive(Default)]
pub(super) struct ResponseText {
    pub(super) spec: ResponseSpec,
    /// For each refusal, where its limits are named.
    places: Vec<Vec<Place>>,
}

/// Reads `[response]`.
pub(super) fn read(spot: &Spot<'_>, faults: &mut Faults) -> ResponseText {
    let known = &["headers", "limit", "body", "content_type", "refusals"];
    let fields = spot.fields(known, faults);
    let mut text = ResponseText::default();
    text.spec.headers = read_headers(&fields, faults).unwrap_or_default();
    let limits = [("burst", LimitTold::Burst), ("rate", LimitTold::Rate)];
    let limit = fields.get("limit");
    let limit = limit.and_then(|spot| spot.choice(&limits, faults));
    text.spec.limit = limit.unwrap_or_default();
    text.spec.body = read_body(&fields, faults);
    if let Some(spot) = fields.get("refusals") {
        for spot in spot.tables(REFUSALS_MAX, faults) {
            let (spec, places) = read_refusal(&spot, faults);
            let is_hidden = |before: &RefusalSpec| {
                before.when == spec.when
                    && (before.limits.is_empty()
                        || !spec.limits.is_empty()
                            && spec
                                .limits
                                .iter()
                                .all(|limit| before.limits.contains(limit)))
            };
            if text.spec.refusals.iter().any(is_hidden) {
                let advice = "put it first, or leave one of the two out";
                faults.push(
                    &spot.place,
                    fix("a refusal before this one fits already", advice),
                );
            }
            text.spec.refusals.push(spec);
            text.places.push(places);
        }
    }
    text
}

impl ResponseText {
    /// The specification, if every limit that it names is one.
    pub(super) fn compile(self, limits: &Names<'_>, faults: &mut Faults) -> ResponseSpec {
        for (refusal, places) in self.spec.refusals.iter().zip(&self.places) {
            for (limit, place) in refusal.limits.iter().zip(places) {
                limits.find_at(limit, place, faults);
            }
        }
        self.spec
    }
}

fn read_refusal(spot: &Spot<'_>, faults: &mut Faults) -> (RefusalSpec, Vec<Place>) {
    let known = &[
        "limits",
        "when",
        "status",
        "headers",
        "body",
        "content_type",
    ];
    let fields = spot.fields(known, faults);
    let named = fields
        .get("limits")
        .map(|spot| spot.items_or_one(LIMITS_MAX, faults))
        .unwrap_or_default();
    let mut limits = Vec::new();
    let mut places = Vec::new();
    for item in named {
        if let Some(name) = item.text(NAME_BYTES_MAX, Like::NameOf("a limit"), faults) {
            limits.push(name.into());
            places.push(item.place);
        }
    }
    let kinds = [
        ("limited", RefusalKind::Limited),
        ("impossible", RefusalKind::Impossible),
        ("unavailable", RefusalKind::Unavailable),
    ];
    let when = fields
        .get("when")
        .and_then(|spot| spot.choice(&kinds, faults));
    let status = fields
        .get("status")
        .and_then(|spot| spot.whole(400..=599, faults))
        .and_then(|status| u16::try_from(status).ok());
    let spec = RefusalSpec {
        limits,
        when: when.unwrap_or(RefusalKind::Limited),
        status,
        headers: read_headers(&fields, faults),
        body: read_body(&fields, faults),
    };
    (spec, places)
}

fn read_headers(fields: &Fields<'_>, faults: &mut Faults) -> Option<Vec<HeaderSpec>> {
    let spot = fields.get("headers")?;
    let mut headers = Vec::new();
    for item in spot.items_or_one(HEADERS_MAX, faults) {
        let like = Like::Form("X-Left: {remaining}");
        let Some(text) = item.text(PHRASE_BYTES_MAX, like, faults) else {
            continue;
        };
        let Some(read) = faults.take(&item.place, parse_headers(text)) else {
            continue;
        };
        for header in read {
            let name = |of: &HeaderSpec| match of {
                HeaderSpec::Line { name, .. } => name.to_string(),
                HeaderSpec::Draft => "ratelimit".to_owned(),
            };
            if headers.iter().any(|known| name(known) == name(&header)) {
                let problem = format!("{} is written twice", name(&header));
                faults.push(&item.place, fix(problem, "keep one of them"));
                continue;
            }
            headers.push(header);
        }
    }
    Some(headers)
}

/// The headers that `text` stands for: a dialect's, or a line of its own.
fn parse_headers(text: &str) -> Result<Vec<HeaderSpec>, Fix> {
    if let Some((name, value)) = text.split_once(':') {
        return Ok(vec![HeaderSpec::Line {
            name: header_name(name.trim())?.into(),
            value: header_value(value.trim())?,
        }]);
    }
    if text == DRAFT {
        if cfg!(not(feature = "sfv")) {
            let advice = "build with the feature `sfv`, or choose another dialect";
            return Err(fix("this build writes no structured fields", advice));
        }
        return Ok(vec![HeaderSpec::Draft]);
    }
    let dialect = DIALECTS.iter().find(|(name, _)| *name == text);
    let Some((_, lines)) = dialect else {
        let mut names: Vec<_> = DIALECTS.iter().map(|(name, _)| *name).collect();
        names.push(DRAFT);
        let problem = format!("{} is no dialect of headers", quoted(text));
        let advice = format!(
            "{}; or write a line, as in \"X-Left: {{remaining}}\"",
            suggest(text, &names)
        );
        return Err(fix(problem, advice));
    };
    let line = |(name, fact): &(&str, Fact)| HeaderSpec::Line {
        name: (*name).into(),
        value: vec![Piece::Text(*fact, None)],
    };
    Ok(lines.iter().map(line).collect())
}

/// A header's name in small letters.
fn header_name(name: &str) -> Result<String, Fix> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
        let problem = format!("{} cannot be a header's name", quoted(name));
        return Err(fix(problem, "use letters, digits and hyphens"));
    }
    let name = name.to_ascii_lowercase();
    if RESERVED.contains(&name.as_str()) {
        let problem = format!("{name} is not a policy's to set");
        return Err(fix(problem, "choose another header, or a dialect"));
    }
    Ok(name)
}

fn header_value(value: &str) -> Result<Vec<Piece>, Fix> {
    if value.is_empty() || !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        let problem = format!("{} cannot be a header's value", quoted(value));
        return Err(fix(problem, "write printable ASCII"));
    }
    parse_text(value, |literal| literal.to_owned())
}

fn read_body(fields: &Fields<'_>, faults: &mut Faults) -> Option<BodySpec> {
    let content_type = fields.get("content_type");
    let Some(spot) = fields.get("body") else {
        if let Some(spot) = content_type {
            let advice = "add body = ..., or leave it out";
            faults.push(
                &spot.place,
                fix("content_type means nothing without a body", advice),
            );
        }
        return None;
    };
    let (pieces, kind) = match spot.value {
        Value::Text(text) => {
            let pieces = parse_text(text, |literal| literal.to_owned());
            let pieces = faults.take(&spot.place, pieces)?;
            (pieces, "text/plain; charset=utf-8")
        }
        Value::Table(_) | Value::List(_) => {
            let mut pieces = Vec::new();
            json(spot.value, &spot.place, &mut pieces, faults);
            (pieces, JSON)
        }
        _ => {
            let advice = "write a text, or a table that becomes JSON";
            faults.push(&spot.place, fix("this cannot be a body", advice));
            return None;
        }
    };
    let bytes: usize = pieces.iter().map(Piece::literal_bytes).sum();
    if bytes > BODY_BYTES_MAX {
        let problem = format!("a body of {bytes} bytes is too long");
        let advice = format!("at most {BODY_BYTES_MAX} bytes");
        faults.push(&spot.place, fix(problem, advice));
    }
    let kind = match content_type {
        Some(spot) => {
            let text = spot.text(NAME_BYTES_MAX, Like::Form("text/html"), faults)?;
            if !text.contains('/') || !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
                let problem = format!("{} is no media type", quoted(text));
                faults.push(&spot.place, fix(problem, "write it like \"text/html\""));
            }
            text
        }
        None => kind,
    };
    Some(BodySpec {
        content_type: kind.into(),
        pieces: joined(pieces),
    })
}
