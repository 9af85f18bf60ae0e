//! Which field of a record means what: `time=ts,key=api_key`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use super::{Entry, Line, Malformed, Reading, RequestLine, Text};

/// The attributes that one record may carry: as many as a request can.
// Bound: a record with more is malformed, and the message says how to pick those that matter.
const ATTRIBUTES_MAX: usize = 32;

/// What `--map` says of the fields of records.
///
/// A mapped field is known by the map's name instead of its own; other fields keep theirs. The
/// names `time`, `method`, `path`, `request` and `cost` have a meaning of their own, every other
/// one is an attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldMap {
    /// Name by field.
    names: BTreeMap<String, String>,
}

/// A field and the name that it goes by.
pub(super) type Usual = (&'static str, &'static str);

/// Fields that are understood without a map. Of several for one name the first is taken.
const USUAL: &[Usual] = &[
    ("time", "time"),
    ("@timestamp", "time"),
    ("timestamp", "time"),
    ("ts", "time"),
    ("time_iso8601", "time"),
    ("time_local", "time"),
    ("msec", "time"),
    ("start_time", "time"),
    ("method", "method"),
    ("request_method", "method"),
    ("http_method", "method"),
    ("request", "request"),
    ("request_uri", "path"),
    ("path", "path"),
    ("uri", "path"),
    ("url", "path"),
    ("ip", "ip"),
    ("remote_addr", "ip"),
    ("client_ip", "ip"),
    ("remote_user", "user"),
    ("http_user_agent", "user_agent"),
    ("user_agent", "user_agent"),
    ("http_referer", "referer"),
    ("http_x_forwarded_for", "forwarded_for"),
    ("x_forwarded_for", "forwarded_for"),
    ("cost", "cost"),
];

/// Names that are no attributes. `date` goes before `time`, `peer` is an address with a port.
const SPECIAL: [&str; 7] = ["time", "date", "method", "path", "request", "cost", "peer"];

/// The rank of a field that goes by its own name.
const RANK_OWN: usize = usize::MAX;

impl FieldMap {
    /// The fields that the map wants.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names
            .iter()
            .map(|(field, name)| (field.as_str(), name.as_str()))
    }

    /// Adds the pairs of `other`.
    ///
    /// # Errors
    /// If a name is given twice.
    pub(crate) fn merge(&mut self, other: Self) -> Result<(), String> {
        for (field, name) in other.names {
            if self.names.values().any(|taken| *taken == name) {
                return Err(format!("{name} is mapped twice"));
            }
            if let Some(taken) = self.names.insert(field.clone(), name) {
                return Err(format!("{field} is mapped twice, first to {taken}"));
            }
        }
        Ok(())
    }
}

impl FromStr for FieldMap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut map = Self::default();
        for pair in text.split(',') {
            let (name, field) = pair
                .split_once('=')
                .ok_or_else(|| format!("`{pair}` is not of the form name=field"))?;
            let (name, field) = (name.trim(), field.trim());
            if name.is_empty() || field.is_empty() {
                return Err(format!("`{pair}` lacks its name or its field"));
            }
            let one = Self {
                names: BTreeMap::from([(field.to_owned(), name.to_owned())]),
            };
            map.merge(one)?;
        }
        Ok(map)
    }
}

/// By which name the fields of one format go.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) map: FieldMap,
    /// Fields of the format itself; they are looked for before the usual ones.
    pub(super) own: &'static [Usual],
    /// True if only fields that the map names are taken.
    pub(super) mapped_only: bool,
    /// True for a format whose records all are of HTTP: one without a path is of no request.
    pub(super) http_only: bool,
    /// The attributes that are of use; all if unsaid.
    pub(super) wanted: Option<Arc<[String]>>,
}

/// A name that a field goes by. Of two fields of one name the one with the lower rank is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name<'a> {
    pub(super) text: Cow<'a, str>,
    rank: usize,
}

impl Name<'_> {
    pub(super) fn into_owned(self) -> Name<'static> {
        Name {
            text: self.text.into_owned().into(),
            rank: self.rank,
        }
    }
}

impl Names {
    fn usual(&self) -> impl Iterator<Item = &'static Usual> {
        self.own.iter().chain(USUAL)
    }

    /// The name that `field` goes by; none if it is to be passed over.
    pub(super) fn of<'a>(&'a self, field: &'a str) -> Option<Name<'a>> {
        let name = self.any(field)?;
        let is_wanted = self
            .wanted
            .as_ref()
            .is_none_or(|wanted| wanted.iter().any(|one| *one == name.text));
        // What the policy calls a route is not for a log to say.
        let is_route = name.text == "route";
        (!is_route && (is_wanted || SPECIAL.contains(&&*name.text))).then_some(name)
    }

    fn any<'a>(&'a self, field: &'a str) -> Option<Name<'a>> {
        let name = |text: &'a str, rank| {
            Some(Name {
                text: text.into(),
                rank,
            })
        };
        if let Some(mapped) = self.map.names.get(field) {
            return name(mapped, 0);
        }
        if self.mapped_only {
            return None;
        }
        let is_mapped = |name: &str| self.map.names.values().any(|mapped| mapped == name);
        let is_it = |usual: &str| usual.eq_ignore_ascii_case(field);
        let usual = self.usual().zip(1..).find(|((usual, _), _)| is_it(usual));
        match usual {
            Some(((_, usual), rank)) if !is_mapped(usual) => name(usual, rank),
            // Its own name belongs to another field now.
            _ if SPECIAL.contains(&field) || is_mapped(field) => None,
            _ => name(field, RANK_OWN),
        }
    }

    /// The fields inside other fields, `request.uri`, that have a name.
    pub(super) fn inner(&self) -> impl Iterator<Item = &str> {
        let usual = self.own.iter().map(|(field, _)| *field);
        let usual = usual.filter(|_| !self.mapped_only);
        let mapped = self.map.fields().map(|(field, _)| field);
        mapped.chain(usual).filter(|field| field.contains('.'))
    }
}

/// The fields of one record, gathered by name.
#[derive(Default)]
pub(super) struct Record<'a> {
    time: Place<'a>,
    date: Place<'a>,
    method: Place<'a>,
    path: Place<'a>,
    request: Place<'a>,
    cost: Place<'a>,
    peer: Place<'a>,
    attributes: Vec<(Text<'a>, Text<'a>, usize)>,
}

type Place<'a> = Option<(Text<'a>, usize)>;

impl<'a> Record<'a> {
    /// Takes one field under the name that it goes by.
    ///
    /// # Errors
    /// If there are too many.
    pub(super) fn put(&mut self, name: &Name<'_>, value: Text<'a>) -> Result<(), Malformed> {
        let place = match &*name.text {
            "time" => &mut self.time,
            "date" => &mut self.date,
            "method" => &mut self.method,
            "path" => &mut self.path,
            "request" => &mut self.request,
            "cost" => &mut self.cost,
            "peer" => &mut self.peer,
            _ => return self.put_attribute(name, value),
        };
        if place.as_ref().is_none_or(|(_, rank)| name.rank < *rank) {
            *place = Some((value, name.rank));
        }
        Ok(())
    }

    fn put_attribute(&mut self, name: &Name<'_>, value: Text<'a>) -> Result<(), Malformed> {
        let mut known = self.attributes.iter_mut();
        if let Some(known) = known.find(|(known, ..)| *known == name.text) {
            if name.rank < known.2 {
                (known.1, known.2) = (value, name.rank);
            }
            return Ok(());
        }
        if self.attributes.len() == ATTRIBUTES_MAX {
            return Err(Malformed(format!(
                "more than {ATTRIBUTES_MAX} fields; --mapped-only takes those of --map"
            )));
        }
        let text = name.text.clone().into_owned().into();
        self.attributes.push((text, value, name.rank));
        Ok(())
    }

    /// The request that the fields describe.
    ///
    /// # Errors
    /// If there is no time, or if it or the cost cannot be read.
    pub(super) fn finish(self, reading: &mut Reading) -> Result<Line<'a>, Malformed> {
        let (stamps, hops) = (&mut reading.stamps, reading.trusted_hops);
        let (time, _) = self
            .time
            .ok_or_else(|| Malformed::new("no time; --map time=FIELD says where it is"))?;
        let time = match &self.date {
            // The two are in UTC (W3C, "Extended Log File Format").
            Some((date, _)) => stamps.parse(&format!("{date}T{time}Z"))?,
            None => stamps.parse(time.trim())?,
        };
        let cost = self.cost.as_ref().map(|(cost, _)| whole_cost(cost));
        let cost = cost.transpose()?;
        let mut attributes: Vec<_> = self
            .attributes
            .into_iter()
            .map(|(n, v, _)| (n, v))
            .collect();
        let (mut method, mut path) = (self.method.map(|it| it.0), self.path.map(|it| it.0));
        if let Some((request, _)) = self.request {
            let Some(line) = RequestLine::of(request) else {
                return Ok(Line::NoRequest(time));
            };
            method.get_or_insert(line.method);
            path.get_or_insert(line.path);
            if let Some(query) = line.query {
                attributes.push(("query".into(), query));
            }
        }
        if path.is_none() && reading.names.http_only {
            return Ok(Line::NoRequest(time));
        }
        let own = |name: &str| {
            let mut attributes = attributes.iter();
            attributes
                .find(|(known, _)| known == name)
                .map(|(_, text)| text)
        };
        let peer = self.peer.filter(|_| own("ip").is_none());
        let peer = peer.map(|(peer, _)| without_port(&peer).to_owned());
        // A server that logs no address of its own has added it to the list.
        let back = hops + usize::from(own("ip").is_none() && peer.is_none());
        let client = own("forwarded_for").and_then(|list| nth_last(list, back));
        if let Some(client) = client.map(str::to_owned).or(peer) {
            set_ip(&mut attributes, client);
        }
        let path = path.map(|target| match super::split_target(&target) {
            (path, _) if path.len() == target.len() => target,
            (path, _) => Text::Owned(path.to_owned()),
        });
        Ok(Line::Request(Entry {
            time,
            method: method.unwrap_or(Text::Borrowed("-")),
            path,
            cost,
            attributes,
        }))
    }
}

fn set_ip<'a>(attributes: &mut Vec<(Text<'a>, Text<'a>)>, ip: String) {
    match attributes.iter_mut().find(|(name, _)| name == "ip") {
        Some((_, known)) => *known = ip.into(),
        None => attributes.push(("ip".into(), ip.into())),
    }
}

/// The address of `[2001:db8::1]:443`, `2001:db8::1:443` or `192.0.2.1:443`; what syslog writes may
/// stand before it.
fn without_port(peer: &str) -> &str {
    let peer = peer.rsplit(' ').next().unwrap_or(peer);
    let inside = peer.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let bare = || peer.rsplit_once(':').map(|(address, _)| address);
    let address = inside.map(|(address, _)| address).or_else(bare);
    let is_address = |text: &&str| text.parse::<IpAddr>().is_ok();
    address.filter(is_address).unwrap_or(peer)
}

/// The address that the `hops`-th trusted proxy saw: the `hops`-th from the end, or the first if
/// the list is shorter. None without a trusted proxy.
pub(super) fn nth_last(list: &str, hops: usize) -> Option<&str> {
    let back = hops.checked_sub(1)?;
    let mut parts = list.rsplit(',').map(str::trim);
    parts.clone().nth(back).or_else(|| parts.next_back())
}

fn whole_cost(text: &str) -> Result<u64, Malformed> {
    text.trim()
        .parse()
        .map_err(|_| Malformed::new(format!("a cost that is no whole number: {}", quoted(text))))
}

/// Text for a message: short, in quotes, nothing in it that a terminal would act on.
pub(crate) fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let mut short: String = text.chars().take(CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(map: &str) -> Names {
        Names {
            map: map.parse().unwrap(),
            ..Names::default()
        }
    }

    fn name(names: &Names, field: &str) -> Option<String> {
        names.of(field).map(|name| name.text.into_owned())
    }

    #[test]
    fn maps_rename_and_replace_what_is_usual() {
        let names = names("time=when, key=api_key");
        assert_eq!(name(&names, "when").as_deref(), Some("time"));
        assert_eq!(name(&names, "api_key").as_deref(), Some("key"));
        assert_eq!(name(&names, "remote_addr").as_deref(), Some("ip"));
        // The log's own `time` field is not the time any more.
        assert_eq!(name(&names, "ts").as_deref(), Some("ts"));
        assert_eq!(name(&names, "time"), None);
    }

    #[test]
    fn of_two_fields_the_better_known_is_taken() {
        let names = Names::default();
        for order in [["client_ip", "remote_addr"], ["remote_addr", "client_ip"]] {
            let mut record = Record::default();
            record
                .put(&names.of("msec").unwrap(), "1.5".into())
                .unwrap();
            record.put(&names.of("time").unwrap(), "2".into()).unwrap();
            for field in order {
                record.put(&names.of(field).unwrap(), field.into()).unwrap();
            }
            let Line::Request(entry) = record.finish(&mut Reading::default()).unwrap() else {
                panic!("no request")
            };
            assert_eq!(entry.time.as_secs(), 2);
            assert_eq!(entry.attributes, [("ip".into(), "remote_addr".into())]);
        }
    }

    #[test]
    fn ports_are_taken_off() {
        for (peer, address) in [
            ("192.0.2.1:443", "192.0.2.1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("2001:db8::1:443", "2001:db8::1"),
            ("192.0.2.1", "192.0.2.1"),
            ("Feb  6 12:14:14 lb haproxy[1]: 192.0.2.1:443", "192.0.2.1"),
            ("unix:", "unix:"),
        ] {
            assert_eq!(without_port(peer), address);
        }
    }

    #[test]
    fn bad_maps_are_refused() {
        for (text, why) in [
            ("time", "name=field"),
            ("time=", "lacks"),
            ("a=x,a=y", "a is mapped twice"),
            ("a=x,b=x", "x is mapped twice"),
        ] {
            let fault = text.parse::<FieldMap>().unwrap_err();
            assert!(fault.contains(why), "{text}: {fault}");
        }
    }

    #[test]
    fn messages_cannot_command_a_terminal() {
        assert_eq!(quoted("a\u{1b}[2Jb"), r#""a\u{1b}[2Jb""#);
        assert!(quoted(&"x".repeat(1_000)).len() < 100);
    }
}
