//! Any bytes as the file of overrides are an error, or the overrides that they say.
//!
//! The first byte: 1 makes the checksum good, 2 sets one of them anew. The rest is the file, or
//! the lines after its first.

use std::fs;

use crate::damage::{self, Damage, Sound};
use serde_json::Value;
use tollgate::{Limiter, Override};

pub(crate) fn run(bytes: &[u8]) {
    let Some((flags, bytes)) = bytes.split_first() else {
        return;
    };
    let is_sealed = flags & 1 != 0;
    let mut content = bytes.to_vec();
    if is_sealed {
        let head = format!("tollgate overrides 2 {:016x}\n", damage::checksum(bytes));
        content = [head.as_bytes(), bytes].concat();
    }
    let mut files = Sound::get().files.clone();
    files.insert("overrides".into(), content);
    Damage::apply(&mut files, &["overrides"], &[]);
    let (_dir, data) = damage::lay(&files);
    let limiter = match damage::open(&data) {
        Ok(limiter) => limiter,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            let kept = fs::read(data.join("overrides")).expect("it is still there");
            assert_eq!(kept, files["overrides"]);
            let is_said =
                is_sealed && std::str::from_utf8(bytes).is_ok_and(|text| said(text).is_some());
            assert!(!is_said, "they can be read: {error}");
            return;
        }
    };
    let found = limiter.overrides();
    if is_sealed {
        let text = std::str::from_utf8(bytes).expect("it was read as text");
        assert_eq!(
            Some(&found.iter().map(fields).collect()),
            said(text).as_ref()
        );
    }
    damage::still_limits(&limiter, "\u{0}newcomer");
    if flags & 2 != 0
        && let Some(first) = found.first()
    {
        set_anew(limiter, first, &data);
    }
}

type Fields = (String, Vec<(String, String)>, String);

fn fields(one: &Override) -> Fields {
    (one.limit.clone(), one.key.clone(), one.rate.clone())
}

/// What the lines say; none if one of them says no override.
fn said(text: &str) -> Option<Vec<Fields>> {
    let lines = text.lines().map(|line| {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |value: &Value| Some(value.as_str()?.to_owned());
        let since = value.get("since").unwrap_or(&Value::Null);
        if !since.is_null() {
            since.as_u64()?;
        }
        let key = value.get("key")?.as_object()?.iter();
        let key = key.map(|(name, value)| Some((name.clone(), text(value)?)));
        Some((
            text(value.get("limit")?)?,
            key.collect::<Option<_>>()?,
            text(value.get("rate")?)?,
        ))
    });
    lines.collect()
}

fn set_anew(limiter: Limiter, one: &Override, data: &std::path::Path) {
    let key: Vec<_> = one
        .key
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    if let Err(error) = limiter.set_override(&one.limit, &key[..], &one.rate) {
        assert!(error.is_invalid() || error.is_unknown_limit(), "{error}");
        return;
    }
    let before = limiter.overrides();
    assert!(before.iter().any(|other| fields(other) == fields(one)));
    limiter.close().expect("it can be closed");
    drop(limiter);
    let limiter = damage::open(data).expect("what was written can be read");
    assert_eq!(limiter.overrides(), before);
    assert!(
        limiter
            .remove_override(&one.limit, &key[..])
            .expect("it can be removed")
    );
}
