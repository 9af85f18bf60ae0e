//! Which requests share a counter: those whose keys are the same part by part, and no others.
//!
//! The key of a limit and two requests are made of the input. A reference tells what each request's
//! key is; that one's charge shows in the other's usage tells whether the limiter agrees.

use std::net::IpAddr;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use serde_json::json;
use tempfile::TempDir;
use tollgate::{Limiter, ManualClock, Mapping, Policy, Request, Timestamp};

use crate::common::scratch;

const NAMES: [&str; 4] = ["user", "team", "ip", "net"];
const NET_PREFIX: u8 = 24;
/// The most parts of a key, and the most attributes of a request here.
const PARTS_MAX: usize = 8;

#[derive(Arbitrary, Debug)]
struct Case {
    /// Alternatives, of parts each.
    key: Vec<Vec<Part>>,
    ipv6_prefix: u8,
    requests: [Vec<(u8, Value)>; 2],
}

#[derive(Arbitrary, Debug)]
struct Part {
    what: What,
    is_optional: bool,
}

#[derive(Arbitrary, Debug)]
enum What {
    Attribute(u8),
    /// Alternatives of attributes in parentheses.
    Either(u8, u8),
}

#[derive(Arbitrary, Debug)]
enum Value {
    Bytes(Vec<u8>),
    V4([u8; 4]),
    V6([u8; 16]),
    /// An address that is written out: plainly, as mapped to IPv6, or with a zone.
    Written([u8; 16], u8),
}

/// A part of a key as it must count: the attribute, and the value in its one form.
#[derive(PartialEq, Eq, Clone, Debug)]
enum Canonical {
    Text(usize, Vec<u8>),
    V4(usize, Vec<bool>),
    V6(usize, Vec<bool>),
}

struct World {
    _dir: TempDir,
    limiter: Limiter,
    clock: ManualClock,
}

/// Judges two requests made of `bytes` under a key made of them.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(mut case) = Case::arbitrary_take_rest(Unstructured::new(bytes)) else {
        return;
    };
    case.ipv6_prefix = case.ipv6_prefix % 128 + 1;
    let policy = Policy::from_json(&case.policy());
    let parts: usize = case.key.iter().flatten().map(Part::size).sum();
    let is_whole = case.key.iter().all(|parts| !parts.is_empty());
    // A key that says nothing at all is one counter for all.
    let is_sound = parts <= PARTS_MAX && (is_whole || case.key.len() == 1);
    let policy = match policy {
        Ok(policy) => policy,
        Err(faults) => return assert!(!is_sound, "{}\n{faults}", case.policy()),
    };
    assert!(is_sound, "{}", case.policy());
    let texts = case.requests.each_ref().map(|attributes| {
        let texts = attributes
            .iter()
            .take(PARTS_MAX)
            .map(|(_, value)| value.written());
        texts.collect::<Vec<_>>()
    });
    let requests = [0, 1].map(|which| case.request(which, &texts[which]));
    let keys = [0, 1].map(|which| case.canonical(which, &texts[which]));
    let mut world = world().lock().expect("nothing panicked before");
    let World { limiter, clock, .. } = &mut *world;
    // What earlier keys used is over.
    clock.advance(Duration::from_secs(120));
    limiter
        .replace_policy(policy)
        .expect("it can be put in force");
    let used = |request| {
        limiter
            .usage(request)
            .limits()
            .next()
            .map(|limit| limit.used())
    };
    assert_eq!(requests.each_ref().map(used), [Some(0); 2]);
    assert!(limiter.check(&requests[0]).is_allowed());
    assert_eq!(used(&requests[0]), Some(1));
    let is_shared = used(&requests[1]) == Some(1);
    assert_eq!(
        is_shared,
        keys[0] == keys[1],
        "{keys:?} of {}",
        case.policy()
    );
}

fn world() -> &'static Mutex<World> {
    static WORLD: OnceLock<Mutex<World>> = OnceLock::new();
    WORLD.get_or_init(|| {
        let dir = scratch();
        let clock = ManualClock::new(Timestamp::from_secs(1_000_000_000));
        let policy = "[limits.each]\nrate = \"9/min\"\ndurability = \"memory\"";
        let limiter = Limiter::builder(Policy::from_toml(policy).expect("it is sound"))
            .counters(1)
            .mapping(Mapping::DataDirectory)
            .clock(clock.clone())
            .open(dir.path().join("data"))
            .expect("it can be made");
        Mutex::new(World {
            _dir: dir,
            limiter,
            clock,
        })
    })
}

impl Case {
    fn policy(&self) -> String {
        let joins = self.key.iter().map(|parts| {
            let parts: Vec<_> = parts.iter().map(Part::text).collect();
            parts.join(" + ")
        });
        let key = joins.collect::<Vec<_>>().join(" | ");
        let mut each =
            json!({"rate": "9/min", "durability": "memory", "when_key_missing": "share"});
        // A key that says nothing is left out.
        if !key.is_empty() {
            each["key"] = json!(key);
        }
        json!({
            "ipv6_prefix": self.ipv6_prefix,
            "attributes": {"net": format!("address/{NET_PREFIX}")},
            "limits": {
                "each": each,
                // What is declared must be used.
                "other": {"rate": "9/min", "key": "net", "durability": "memory",
                    "when_key_missing": "share"},
            },
            "default": {"limits": ["each"]},
            "routes": [{"route": "/other", "limits": ["other"]}],
        })
        .to_string()
    }

    fn request<'t>(&self, which: usize, texts: &'t [Option<Vec<u8>>]) -> Request<'t> {
        let mut request = Request::new();
        for ((name, value), text) in self.requests[which].iter().zip(texts) {
            let name = NAMES[usize::from(*name) % NAMES.len()];
            request = match (text, value) {
                (Some(text), _) => request.attribute(name, text),
                (None, Value::V6(octets)) => request.address(name, IpAddr::from(*octets)),
                (None, Value::V4(octets)) => request.address(name, IpAddr::from(*octets)),
                (None, _) => request,
            };
        }
        request
    }

    /// The request's key; without parts for one that lacks what the key needs.
    fn canonical(&self, which: usize, texts: &[Option<Vec<u8>>]) -> Vec<Canonical> {
        let values = self.requests[which].iter().zip(texts);
        let value_of = |wanted: usize| {
            let mut values = values.clone().rev();
            let is_wanted = |name: &u8| usize::from(*name) % NAMES.len() == wanted;
            let ((_, value), text) = values.find(|((name, _), _)| is_wanted(name))?;
            self.value(wanted, value, text.as_deref())
        };
        let joins = self.key.iter().map(|parts| {
            let parts = parts.iter().map(|part| part.canonical(&value_of));
            let parts: Option<Vec<_>> = parts.collect();
            parts.map(|parts| parts.concat())
        });
        joins.flatten().next().unwrap_or_default()
    }

    fn value(&self, name: usize, value: &Value, text: Option<&[u8]>) -> Option<Canonical> {
        let is_address = NAMES[name] == "ip" || NAMES[name] == "net";
        let prefix = match NAMES[name] {
            "net" => NET_PREFIX,
            _ => self.ipv6_prefix,
        };
        let address = match (text, value) {
            (Some(b""), _) => return None,
            (Some(text), _) => match std::str::from_utf8(text) {
                Ok(text) if is_address => parse(text),
                _ => None,
            },
            (None, Value::V4(octets)) => Some(IpAddr::from(*octets)),
            (None, Value::V6(octets)) => Some(IpAddr::from(*octets)),
            (None, _) => None,
        };
        Some(match address {
            Some(address) => canonical(name, address, usize::from(prefix)),
            None => Canonical::Text(name, text?.to_vec()),
        })
    }
}

fn parse(text: &str) -> Option<IpAddr> {
    match text.find('%') {
        Some(zone) => text[..zone].parse().ok().filter(IpAddr::is_ipv6),
        None => text.parse().ok(),
    }
}

/// Bit by bit; of an IPv6 address only those of its prefix.
fn canonical(name: usize, address: IpAddr, prefix: usize) -> Canonical {
    let bits = |octets: &[u8]| -> Vec<bool> {
        let bits = octets
            .iter()
            .flat_map(|octet| (0..8).map(move |bit| octet << bit & 0x80 != 0));
        bits.collect()
    };
    match address {
        IpAddr::V4(address) => Canonical::V4(name, bits(&address.octets())),
        IpAddr::V6(address) => {
            let octets = address.octets();
            let is_mapped = octets[..10] == [0; 10] && octets[10..12] == [0xff; 2];
            let is_translated = octets[..12] == [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0];
            match is_mapped || is_translated {
                true => Canonical::V4(name, bits(&octets[12..])),
                false => Canonical::V6(name, bits(&octets)[..prefix].to_vec()),
            }
        }
    }
}

impl Part {
    fn size(&self) -> usize {
        match self.what {
            What::Attribute(_) => 1,
            What::Either(..) => 2,
        }
    }

    fn text(&self) -> String {
        let name = |name: &u8| NAMES[usize::from(*name) % NAMES.len()];
        let mut text = match &self.what {
            What::Attribute(one) => name(one).to_owned(),
            What::Either(one, other) => format!("({} | {})", name(one), name(other)),
        };
        text.extend(self.is_optional.then_some('?'));
        text
    }

    /// The part's own parts; none if it is missing and must not be.
    fn canonical(&self, value_of: &impl Fn(usize) -> Option<Canonical>) -> Option<Vec<Canonical>> {
        let value = |name: &u8| value_of(usize::from(*name) % NAMES.len());
        let found = match &self.what {
            What::Attribute(one) => value(one),
            What::Either(one, other) => value(one).or_else(|| value(other)),
        };
        let absent = self.is_optional.then(Vec::new);
        found.map(|value| vec![value]).or(absent)
    }
}

impl Value {
    /// The text that is handed over; none for an address.
    fn written(&self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Some(bytes.clone()),
            Self::V4(_) | Self::V6(_) => None,
            Self::Written(octets, how) => {
                let v6 = std::net::Ipv6Addr::from(*octets);
                let v4 = std::net::Ipv4Addr::new(octets[12], octets[13], octets[14], octets[15]);
                let text = match how % 5 {
                    0 => v6.to_string(),
                    1 => v6.to_string().to_uppercase(),
                    2 => format!("{v6}%eth{how}"),
                    3 => v4.to_string(),
                    _ => v4.to_ipv6_mapped().to_string(),
                };
                Some(text.into_bytes())
            }
        }
    }
}
