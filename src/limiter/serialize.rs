//! Health as other programs read it: spans in milliseconds, how long ago instead of instants.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{
    ControlSocket, Growth, Health, Lasts, Opened, Placement, Recovery, Reservations, RouteUse,
};
use crate::clock::ClockHealth;
use crate::trouble::Trouble;
use crate::writer::Writing;

/// A map with numbers, texts and maps, `null` for what is not there.
///
/// ```
/// # use tollgate::{Limiter, Policy};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let policy = Policy::from_toml("limits.all = { rate = \"1/s\" }")?;
/// # let limiter = Limiter::open(dir.path().join("data"), policy)?;
/// let health = serde_json::to_value(limiter.health())?;
/// assert_eq!(health["opened"]["how"], "new");
/// assert!(health["writing"]["trouble"].is_null());
/// # Ok(())
/// # }
/// ```
impl Serialize for Health {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("opened", &self.opened)?;
        map.serialize_entry("placement", &self.placement)?;
        map.serialize_entry("slots", &self.slots)?;
        map.serialize_entry("growth", &self.growth)?;
        let newcomers = self.newcomers_without_slot;
        map.serialize_entry("newcomers_without_slot", &newcomers)?;
        map.serialize_entry("requests_without_key", &self.requests_without_key)?;
        map.serialize_entry("words_healed", &self.words_healed)?;
        map.serialize_entry("clock_waits", &self.clock_waits)?;
        map.serialize_entry("clock", &self.clock)?;
        map.serialize_entry("recovery", &self.recovery)?;
        map.serialize_entry("routes", &self.routes)?;
        map.serialize_entry("writing", &self.writing)?;
        map.serialize_entry("reservations", &self.reservations)?;
        map.serialize_entry("trouble", &self.trouble)?;
        map.serialize_entry("control", &self.control)?;
        map.end()
    }
}

impl Serialize for ControlSocket {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("path", &self.path.as_deref().map(shown))?;
        map.serialize_entry("trouble", &self.trouble)?;
        map.end()
    }
}

/// Errors in nanoseconds: they are that small.
impl Serialize for ClockHealth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("reads_counter", &self.reads_counter)?;
        map.serialize_entry("last_error_ns", &nanos(self.last_error))?;
        map.serialize_entry("worst_error_ns", &nanos(self.worst_error))?;
        map.serialize_entry("rate_changes", &self.rate_changes)?;
        map.end()
    }
}

impl Serialize for RouteUse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("routes", &self.routes)?;
        map.serialize_entry("is_any_met", &self.is_any_met)?;
        map.serialize_entry("missed", &self.missed)?;
        map.end()
    }
}

impl Serialize for Opened {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (how, to, why) = match self {
            Self::New => ("new", None, None),
            Self::Clean => ("clean", None, None),
            Self::Kept => ("kept", None, None),
            Self::SetAside { to, why } => ("set_aside", to.as_deref(), Some(why)),
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("how", how)?;
        map.serialize_entry("to", &to.map(shown))?;
        map.serialize_entry("why", &why)?;
        map.end()
    }
}

impl Serialize for Placement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let lasts = match self.lasts {
            Lasts::Disk => "disk",
            Lasts::Boot => "boot",
            Lasts::Container => "container",
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("path", &shown(&self.path))?;
        map.serialize_entry("lasts", lasts)?;
        map.serialize_entry("moved_from", &self.moved_from.as_deref().map(shown))?;
        map.serialize_entry("notes", &self.notes)?;
        map.end()
    }
}

impl Serialize for Growth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("grown", &self.grown)?;
        map.serialize_entry("growing", &self.growing)?;
        map.serialize_entry("is_at_most", &self.is_at_most)?;
        map.serialize_entry("trouble", &self.trouble)?;
        map.end()
    }
}

impl Serialize for Recovery {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("counters", &self.counters)?;
        map.serialize_entry("damaged", &self.damaged)?;
        map.serialize_entry("without_slot", &self.without_slot)?;
        map.serialize_entry("words", &self.words)?;
        map.serialize_entry("took_ms", &millis(self.took))?;
        map.serialize_entry("troubles", &self.troubles)?;
        map.end()
    }
}

impl Serialize for Writing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("durable_ms_ago", &ago(self.durable_at))?;
        let oldest = self.oldest_unwritten.map(millis);
        map.serialize_entry("oldest_unwritten_ms", &oldest)?;
        map.serialize_entry("backlog", &self.backlog)?;
        map.serialize_entry("written", &self.written)?;
        map.serialize_entry("bytes_written", &self.bytes_written)?;
        map.serialize_entry("journal_bytes", &self.journal_bytes)?;
        map.serialize_entry("trouble", &self.trouble)?;
        map.serialize_entry("last_trouble", &self.last_trouble)?;
        map.end()
    }
}

impl Serialize for Reservations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("writes", &self.writes)?;
        map.serialize_entry("bytes", &self.bytes)?;
        map.serialize_entry("admitted_without", &self.admitted_without)?;
        // RFC 3339.
        let since = self.closed_since.map(|at| at.to_string());
        map.serialize_entry("closed_since", &since)?;
        map.serialize_entry("trouble", &self.trouble)?;
        map.end()
    }
}

impl Serialize for Trouble {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("since_ms_ago", &ago(self.since))?;
        map.serialize_entry("first", &self.first)?;
        map.serialize_entry("why", &self.why)?;
        map.end()
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn ago(at: Instant) -> u64 {
    millis(at.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};

    /// Every field of the health is there: what `Debug` shows of it, `Serialize` names, too.
    #[test]
    fn no_field_is_left_out() {
        let trouble = Some(Trouble {
            since: Instant::now(),
            first: "full".into(),
            why: "failed before".into(),
        });
        let health = Health {
            opened: Opened::SetAside {
                to: Some("old".into()),
                why: "torn".into(),
            },
            placement: Placement {
                path: "here".into(),
                lasts: Lasts::Boot,
                moved_from: Some("there".into()),
                notes: vec!["note".into()],
            },
            slots: 1,
            growth: Growth {
                trouble: trouble.clone(),
                ..Growth::default()
            },
            newcomers_without_slot: 2,
            requests_without_key: 2,
            words_healed: 3,
            clock_waits: false,
            clock: Clock::System(SystemClock::new().into()).health(),
            recovery: Recovery::default(),
            routes: RouteUse {
                routes: 1,
                is_any_met: false,
                missed: 2,
            },
            writing: Writing {
                durable_at: Instant::now(),
                oldest_unwritten: None,
                backlog: 4,
                written: 5,
                bytes_written: 6,
                journal_bytes: 7,
                trouble: trouble.clone(),
                last_trouble: trouble.clone(),
            },
            reservations: Reservations {
                writes: 8,
                bytes: 9,
                admitted_without: 10,
                closed_since: None,
                trouble,
            },
            trouble: None,
            control: ControlSocket {
                path: Some("control".into()),
                trouble: None,
            },
        };
        let text = serde_json::to_string(&health).unwrap();
        let shown = format!("{health:?}");
        let fields = shown
            .split_whitespace()
            .filter_map(|word| word.strip_suffix(':'));
        let fields: Vec<_> = fields.filter(|field| !field.starts_with("tv_")).collect();
        assert!(fields.len() > 30, "{fields:?}");
        for field in fields {
            let stem = field.trim_end_matches("_at");
            assert!(text.contains(&format!("\"{stem}")), "{field} in {text}");
        }
    }
}
