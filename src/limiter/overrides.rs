//! Overrides: rates of their own for single keys, set while running and kept in the directory.
//!
//! ```text
//! tollgate overrides 2 <checksum of the rest, 16 hexadecimal digits>
//! {"limit": ..., "key": {"attribute": "value"}, "rate": ..., "since": ...}     one a line
//! ```

use std::fmt;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::codec::checksum;
use crate::directory::{DirectoryError, read_bounded};
use crate::error::Error;
use crate::policy::{KeyIndex, KeyParts, Overridden, Plan};
use crate::time::Timestamp;

const MAGIC: &str = "tollgate overrides ";
const VERSION: u32 = 2;
/// The most overrides there can be.
// Bound: each change works all of them through; one more is refused.
const OVERRIDES_MAX: usize = 10_000;
const FILE_BYTES_MAX: u64 = 64 << 20;

/// One key's own rate.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Override {
    /// The limit's name.
    pub limit: String,
    /// The key: names of attributes, and their values.
    pub key: Vec<(String, String)>,
    /// The rate as a policy would say it, or how many run at a time.
    pub rate: String,
    /// Since when, if that is known.
    pub since: Option<Timestamp>,
}

/// As in `per-day user=alice: 100/day`.
impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.limit)?;
        for (name, value) in &self.key {
            write!(f, " {name}={value}")?;
        }
        write!(f, ": {}", self.rate)
    }
}

/// A key as an override names it.
///
/// ```
/// # use tollgate::{Limiter, Policy};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let policy = Policy::from_toml("[limits.l]\nrate = \"9/day\"\nkey = \"user\"")?;
/// # let limiter = Limiter::open(dir.path().join("data"), policy)?;
/// limiter.set_override("l", "alice", "100/day")?; // a key of one part
/// limiter.set_override("l", &[("user", "bob")], "100/day")?; // by the attribute's name
/// assert_eq!(limiter.overrides().len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum OverrideKey<'k> {
    /// The value of a key that is one part.
    One(&'k str),
    /// Its values in the order of the limit's key, if that has no alternatives.
    InOrder(&'k [&'k str]),
    /// Its values by attribute.
    Named(&'k [(&'k str, &'k str)]),
}

impl<'k> From<&'k str> for OverrideKey<'k> {
    fn from(value: &'k str) -> Self {
        Self::One(value)
    }
}

impl<'k> From<&'k String> for OverrideKey<'k> {
    fn from(value: &'k String) -> Self {
        Self::One(value)
    }
}

impl<'k, const N: usize> From<&'k [&'k str; N]> for OverrideKey<'k> {
    fn from(values: &'k [&'k str; N]) -> Self {
        Self::InOrder(values)
    }
}

impl<'k, const N: usize> From<&'k [(&'k str, &'k str); N]> for OverrideKey<'k> {
    fn from(values: &'k [(&'k str, &'k str); N]) -> Self {
        Self::Named(values)
    }
}

impl<'k> From<&'k [&'k str]> for OverrideKey<'k> {
    fn from(values: &'k [&'k str]) -> Self {
        Self::InOrder(values)
    }
}

impl<'k> From<&'k [(&'k str, &'k str)]> for OverrideKey<'k> {
    fn from(values: &'k [(&'k str, &'k str)]) -> Self {
        Self::Named(values)
    }
}

impl OverrideKey<'_> {
    /// The key by attribute, if the limit's key can have these values.
    pub(super) fn named(self, plan: &Plan, limit: &str) -> Result<Vec<(String, String)>, Error> {
        let key = plan.override_key_named(limit);
        let key = key.ok_or_else(|| Error::unknown_limit(limit))?;
        let named: Vec<(String, String)> = match self {
            Self::Named(values) => values
                .iter()
                .map(|&(name, value)| (name.into(), value.into()))
                .collect(),
            Self::InOrder(values) => in_order(plan, limit, key, values)?,
            Self::One(value) => in_order(plan, limit, key, &[value])?,
        };
        Ok(named)
    }
}

/// Values in the order of the limit's key, by attribute.
fn in_order(
    plan: &Plan,
    limit: &str,
    key: KeyIndex,
    values: &[&str],
) -> Result<Vec<(String, String)>, Error> {
    let parts = plan.parts_in_order(key, values);
    let parts = parts.ok_or_else(|| {
        let why = "does not have these values in this order; name them";
        Error::invalid(format!("the key of limit {limit:?}"), why)
    })?;
    let names = parts
        .iter()
        .map(|part| &plan.attributes[part.attribute.0].name);
    let named = names.zip(values);
    Ok(named
        .map(|(name, &value)| (name.to_string(), value.into()))
        .collect())
}

impl Override {
    /// The key and what it has of its own under a plan.
    pub(super) fn ready<'a>(&'a self, plan: &Plan) -> Result<(KeyParts<'a>, Overridden), Error> {
        if plan.override_key_named(&self.limit).is_none() {
            return Err(Error::unknown_limit(&self.limit));
        }
        let what = || format!("override of limit {:?}", self.limit);
        let no_such_key = "no request has such a key under this policy";
        let parts = self.parts(plan);
        let parts = parts.ok_or_else(|| Error::invalid(what(), no_such_key))?;
        let of = plan.overridden(&self.limit, &self.rate);
        Ok((parts, of.map_err(|why| Error::invalid(what(), why))?))
    }

    pub(super) fn parts<'a>(&'a self, plan: &Plan) -> Option<KeyParts<'a>> {
        let values = self.key.iter();
        let values: Vec<_> = values.map(|(name, value)| (&**name, &**value)).collect();
        let parts = plan.parts_by_name(plan.override_key_named(&self.limit)?, &values);
        parts.filter(|parts| !parts.is_empty())
    }
}

/// What was overridden while running.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides(Vec<Override>);

impl Overrides {
    /// Reads the file; none means no overrides.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let bytes = match read_bounded(path, FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(DirectoryError::io("read", path)(error).into()),
        };
        let damaged = |why: String| DirectoryError::Damaged {
            path: path.into(),
            why,
        };
        let text = String::from_utf8(bytes).map_err(|_| damaged("is not UTF-8".into()))?;
        let (head, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let head = head
            .strip_prefix(MAGIC)
            .and_then(|head| head.split_once(' '));
        let Some((version, sum)) = head else {
            return Err(damaged("does not begin as a file of overrides does".into()).into());
        };
        match version.parse() {
            Ok(VERSION) => {}
            Ok(found) => {
                let path = path.into();
                return Err(DirectoryError::Version {
                    path,
                    found,
                    supported: VERSION,
                }
                .into());
            }
            Err(_) => return Err(damaged(format!("has the version {version:?}")).into()),
        }
        if sum != format!("{:016x}", checksum(rest.as_bytes())) {
            return Err(damaged("does not match its checksum".into()).into());
        }
        let lines = rest.lines().zip(2..);
        let overrides = lines.map(|(line, number)| {
            decode(line).ok_or_else(|| damaged(format!("line {number} is no override")).into())
        });
        overrides.collect::<Result<_, Error>>().map(Self)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let lines = self.0.iter().map(|one| {
            let key = one
                .key
                .iter()
                .map(|(name, value)| (name.clone(), value.as_str().into()));
            let key: Map<String, Value> = key.collect();
            let since = one.since.map(Timestamp::as_nanos);
            format!(
                "{}\n",
                json!({ "limit": one.limit, "key": key, "rate": one.rate, "since": since })
            )
        });
        let rest: String = lines.collect();
        format!(
            "{MAGIC}{VERSION} {:016x}\n{rest}",
            checksum(rest.as_bytes())
        )
        .into_bytes()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Override> {
        self.0.iter()
    }

    /// Removes those that `is_gone` says yes to; true if there were any.
    pub(super) fn remove(&mut self, is_gone: impl Fn(&Override) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|one| !is_gone(one));
        self.0.len() < before
    }

    /// Puts `next` in the place of the one that means the same counter, or adds it.
    pub(super) fn set(
        &mut self,
        next: Override,
        is_same: impl Fn(&Override, &Override) -> bool,
    ) -> Result<(), Error> {
        if let Some(place) = self.0.iter().position(|one| is_same(one, &next)) {
            self.0[place] = next;
        } else if self.0.len() == OVERRIDES_MAX {
            let why = format!("there are {OVERRIDES_MAX} already; remove some first");
            return Err(Error::invalid("override", why));
        } else {
            self.0.push(next);
        }
        Ok(())
    }
}

fn decode(line: &str) -> Option<Override> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let key = value.get("key")?.as_object()?.iter();
    Some(Override {
        limit: text(value.get("limit")?)?,
        key: key
            .map(|(name, value)| Some((name.clone(), text(value)?)))
            .collect::<Option<_>>()?,
        rate: text(value.get("rate")?)?,
        since: match value.get("since") {
            None | Some(Value::Null) => None,
            Some(since) => Some(Timestamp::from_nanos(since.as_u64()?)),
        },
    })
}
