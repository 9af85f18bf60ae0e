//! Overrides: rates of their own for single keys, set while running and kept in the directory.
//!
//! ```text
//! tollgate overrides 1 <checksum of the rest, 16 hexadecimal digits>
//! {"limit": ..., "key": [...], "rate": ...}          one a line
//! ```

use std::path::Path;

use serde_json::{Value, json};

use super::Limiter;
use super::law::Law;
use crate::codec::checksum;
use crate::directory::{DirectoryError, read_bounded, replace};
use crate::error::Error;
use crate::policy::{OverrideSpec, Plan};

const MAGIC: &str = "tollgate overrides ";
const VERSION: u32 = 1;
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
    /// The key's values, in the order of the limit's key.
    pub key: Vec<String>,
    /// The rate, as a policy would say it.
    pub rate: String,
}

/// What was overridden while running.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrides(Vec<Override>);

impl Overrides {
    /// Reads the file; none means no overrides.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let bytes = match read_bounded(path, FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(DirectoryError::io("read", path)(error).into()),
        };
        let damaged = |why: String| DirectoryError::Damaged { path: path.into(), why };
        let text = String::from_utf8(bytes).map_err(|_| damaged("is not UTF-8".into()))?;
        let (head, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let head = head.strip_prefix(MAGIC).and_then(|head| head.split_once(' '));
        let Some((version, sum)) = head else {
            return Err(damaged("does not begin as a file of overrides does".into()).into());
        };
        match version.parse() {
            Ok(VERSION) => {}
            Ok(found) => {
                let path = path.into();
                return Err(DirectoryError::Version { path, found, supported: VERSION }.into());
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
            let Override { limit, key, rate } = one;
            format!("{}\n", json!({ "limit": limit, "key": key, "rate": rate }))
        });
        let rest: String = lines.collect();
        format!("{MAGIC}{VERSION} {:016x}\n{rest}", checksum(rest.as_bytes())).into_bytes()
    }

    /// Those that the plan can take, made ready. Others wait for a policy that has their limit.
    pub(super) fn specs(&self, plan: &Plan) -> Vec<OverrideSpec> {
        let ready = |one: &Override| spec(plan, one).ok();
        self.0.iter().filter_map(ready).collect()
    }

    fn set(&mut self, next: Override) -> Result<(), Error> {
        match self.0.iter_mut().find(|one| one.limit == next.limit && one.key == next.key) {
            Some(one) => *one = next,
            None if self.0.len() == OVERRIDES_MAX => {
                let why = format!("there are {OVERRIDES_MAX} already; remove some first");
                return Err(Error::invalid("override", why));
            }
            None => self.0.push(next),
        }
        Ok(())
    }
}

fn decode(line: &str) -> Option<Override> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some(Override {
        limit: text(value.get("limit")?)?,
        key: value.get("key")?.as_array()?.iter().map(text).collect::<Option<_>>()?,
        rate: text(value.get("rate")?)?,
    })
}

fn spec(plan: &Plan, one: &Override) -> Result<OverrideSpec, Error> {
    let key: Vec<&str> = one.key.iter().map(String::as_str).collect();
    plan.override_spec(&one.limit, &key, &one.rate)
        .map_err(|why| Error::invalid(format!("override of {:?}", one.limit), why))
}

impl Limiter {
    /// Gives one key a rate of its own, at once and until it is removed; what it has used stays
    /// used. It goes before tiers and before what the policy overrides, is kept in the directory,
    /// and stays through changes of the policy. `key` has the values of the limit's key in order.
    ///
    /// # Errors
    /// If the policy has no such limit, the key has another shape, the rate cannot be read or is of
    /// another kind than the limit's, or the directory cannot be written. Nothing is changed then.
    pub fn set_override(&self, limit: &str, key: &[&str], rate: &str) -> Result<(), Error> {
        let key = key.iter().map(|&part| part.to_owned()).collect();
        let next = Override { limit: limit.into(), key, rate: rate.into() };
        self.change_overrides(|law, overrides| {
            spec(law.plan(), &next)?;
            overrides.set(next)
        })
    }

    /// Takes back what [`set_override`](Self::set_override) gave; false if there was nothing.
    ///
    /// # Errors
    /// If the directory cannot be written. Nothing is changed then.
    pub fn remove_override(&self, limit: &str, key: &[&str]) -> Result<bool, Error> {
        let mut found = false;
        self.change_overrides(|_, overrides| {
            let before = overrides.0.len();
            overrides.0.retain(|one| one.limit != limit || one.key != key);
            found = overrides.0.len() < before;
            Ok(())
        })?;
        Ok(found)
    }

    /// What was overridden while running, in the order it was set.
    pub fn overrides(&self) -> Vec<Override> {
        self.inner.law.current().overrides.0.clone()
    }

    fn change_overrides(
        &self,
        change: impl FnOnce(&Law, &mut Overrides) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let path = self.inner.store.directory.overrides_path();
        self.inner.law.replace(|law| {
            let mut overrides = law.overrides.clone();
            change(law, &mut overrides)?;
            let next = Law::new(law.policy.clone(), overrides, law.secret())?;
            // On the disk before it is in force: what was seen to hold must hold after a restart.
            replace(&path, &next.overrides.encode())?;
            Ok(next)
        })
    }
}
