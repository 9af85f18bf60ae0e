//! From a request to the limits it meets. Neither allocates nor locks.

use arrayvec::ArrayVec;

use super::address;
use super::amounts::UNLIMITED;
use super::bounds::{KEY_PARTS_MAX, PERMIT_PICKS_MAX, PICKS_MAX};
use super::concurrency::ConcurrencySpec;
use super::key::{AttributeSpec, KeySpec, Sequence, Source};
use super::path::{self, Buffer};
use super::plan::{LimitSpec, Overridden, OverrideSpec, Plan};
use super::rate::Rate;
use super::rates::plain;
use super::request::{AttributeValue, Request, RequestError};
use super::router::Ending;
use super::template::Captures;
use super::terms::{
    AttributeIndex, ConcurrencyIndex, Cost, KeyIndex, KeyLen, KeyParts, KeySink, KeyValue,
    LimitIndex, RouteIndex, Target, TierIndex, WhenKeyMissing,
};

/// What a request comes to: its route, its tier, and the limits it meets.
#[derive(Default)]
pub(crate) struct Resolution<'r> {
    pub(crate) route: Option<RouteIndex>,
    /// The route, or the default, is exempt: there are no picks.
    pub(crate) exempt: bool,
    pub(crate) tier: Option<TierIndex>,
    /// Strictest first.
    pub(crate) picks: ArrayVec<Pick, PICKS_MAX>,
    /// In the order in which their permits are to be taken.
    pub(crate) permits: ArrayVec<PermitPick, PERMIT_PICKS_MAX>,
    path: Path<'r>,
    captures: Captures,
}

/// A path: the request's own bytes if it is plain, or else its normalised reading.
#[derive(Default)]
struct Path<'r> {
    plain: Option<&'r [u8]>,
    normalised: Buffer,
}

impl Path<'_> {
    fn bytes(&self) -> Option<&[u8]> {
        self.plain
            .or((!self.normalised.is_empty()).then_some(&self.normalised))
    }
}

impl Resolution<'_> {
    /// The request's path in its one spelling; none if it has none.
    pub(crate) fn path(&self) -> Option<&[u8]> {
        self.path.bytes()
    }
}

/// A limit that a request meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pick {
    pub(crate) limit: LimitIndex,
    pub(crate) cost: u64,
    /// Why no wait can help, whatever the counter says.
    pub(crate) refusal: Option<Refusal>,
}

/// A limit on how many run at a time that a request meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PermitPick {
    pub(crate) limit: ConcurrencyIndex,
    /// How many permits it takes.
    pub(crate) weight: u32,
    /// Why no wait can help.
    pub(crate) refusal: Option<Refusal>,
}

/// Why a request can never be admitted by a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// It asks more than one request may.
    CostTooHigh { most: u64 },
    /// The attribute that carries its cost is not a whole number.
    CostUnreadable,
    /// It lacks what the key needs.
    KeyMissing,
}

impl Plan {
    /// Puts the route, tier and limits of `request` into `found`, which is a fresh one: it is
    /// large, and filled where it stands.
    ///
    /// # Errors
    /// If the request was put together wrongly, or its path is too long or ambiguous.
    pub(crate) fn resolve<'r>(
        &self,
        request: &Request<'r>,
        found: &mut Resolution<'r>,
    ) -> Result<(), RequestError> {
        request.check()?;
        if let Some(raw) = request.path {
            self.find_route(request.method, raw, found)?;
        }
        let Target::Scope(scope) = self.target(found.route) else {
            found.exempt = true;
            return Ok(());
        };
        found.tier = self.tier(request, found);
        let Some(scope) = self.scopes.get(scope.0) else {
            return Ok(());
        };
        for &index in &scope.limits {
            let pick = self
                .limits
                .get(index.0)
                .and_then(|limit| self.pick(index, limit, request, found));
            if let Some(pick) = pick {
                // Bound: a scope with more limits than this is a fault of the policy.
                let _ = found.picks.try_push(pick);
            }
        }
        for &index in &scope.concurrency {
            let pick = self
                .concurrency
                .get(index.0)
                .and_then(|limit| self.permit_pick(index, limit, request, found));
            if let Some(pick) = pick {
                // Bound: as above.
                let _ = found.permits.try_push(pick);
            }
        }
        Ok(())
    }

    /// What a request on this route meets, or one on none.
    fn target(&self, route: Option<RouteIndex>) -> Target {
        let route = route.and_then(|route| self.routes.get(route.0));
        route.map_or(self.default, |route| route.target)
    }

    fn find_route<'r>(
        &self,
        method: &str,
        raw: &'r str,
        found: &mut Resolution<'r>,
    ) -> Result<(), RequestError> {
        let Some(path) = path::plain(raw) else {
            return self.find_route_in_all_readings(method, raw, found);
        };
        found.path.plain = Some(path);
        let captures = &mut found.captures;
        found.route = self.router.find(method, path, Ending::AsWritten, captures);
        match has_empty(captures, path) {
            true => Err(RequestError::PathAmbiguous),
            false => Ok(()),
        }
    }

    /// The route of a path that services may read in different ways; see [`path`].
    #[cold]
    fn find_route_in_all_readings(
        &self,
        method: &str,
        raw: &str,
        found: &mut Resolution<'_>,
    ) -> Result<(), RequestError> {
        let slash = path::normalise(raw, &mut found.path.normalised)?;
        let normal = &*found.path.normalised;
        let ending = Ending::Normalised { slash };
        found.route = self
            .router
            .find(method, normal, ending, &mut found.captures);

        let (mut buffer, mut captures) = (Buffer::new(), Captures::new());
        let written = path::as_written(raw, &mut buffer)?;
        let ending = Ending::AsWritten;
        let route = self.router.find(method, written, ending, &mut captures);
        if has_empty(&captures, written) {
            return Err(RequestError::PathAmbiguous);
        }
        let mut both = captures.iter().zip(&found.captures);
        let is_same = |(one, other): (&(usize, usize), &(usize, usize))| {
            let (one, other) = (written.get(one.0..one.1), normal.get(other.0..other.1));
            let parts = one.zip(other);
            parts.is_some_and(|(one, other)| path::is_same(one, other))
        };
        if route != found.route || !both.all(is_same) {
            return Err(RequestError::PathAmbiguous);
        }
        if self.target(route) == Target::Exempt {
            let slash = path::decode(raw, &mut buffer)?;
            let ending = Ending::Normalised { slash };
            if self.router.find(method, &buffer, ending, &mut captures) != route {
                return Err(RequestError::PathAmbiguous);
            }
        }
        Ok(())
    }

    fn tier(&self, request: &Request<'_>, found: &Resolution<'_>) -> Option<TierIndex> {
        let holds = |tier: &super::tier::TierSpec| {
            tier.when
                .iter()
                .all(|criterion| criterion.holds(self.value(criterion.attribute, request, found)))
        };
        self.tiers.iter().position(holds).map(TierIndex)
    }

    fn pick(
        &self,
        index: LimitIndex,
        limit: &LimitSpec,
        request: &Request<'_>,
        found: &Resolution<'_>,
    ) -> Option<Pick> {
        let lacks_key = self.lacks_key(limit.key, limit.when_key_missing, request, found)?;
        let (cost, refusal) = self.cost((limit.cost, limit.max_cost), request, found);
        Some(Pick {
            limit: index,
            cost,
            refusal: lacks_key.or(refusal),
        })
    }

    fn permit_pick(
        &self,
        index: ConcurrencyIndex,
        limit: &ConcurrencySpec,
        request: &Request<'_>,
        found: &Resolution<'_>,
    ) -> Option<PermitPick> {
        let lacks_key = self.lacks_key(limit.key, limit.when_key_missing, request, found)?;
        let (cost, refusal) = self.cost((limit.cost, limit.max_cost), request, found);
        Some(PermitPick {
            limit: index,
            // More than can be counted is more than any limit.
            weight: u32::try_from(cost).unwrap_or(u32::MAX),
            refusal: lacks_key.or(refusal),
        })
    }

    /// The refusal of a request that lacks what the key needs, if it is to be refused; none at all
    /// if the limit does not apply to it.
    fn lacks_key(
        &self,
        key: KeyIndex,
        when_missing: WhenKeyMissing,
        request: &Request<'_>,
        found: &Resolution<'_>,
    ) -> Option<Option<Refusal>> {
        if when_missing == WhenKeyMissing::Share
            || self.key_parts(key, request, found, &mut KeyLen::default())
        {
            return Some(None);
        }
        (when_missing == WhenKeyMissing::Refuse).then_some(Some(Refusal::KeyMissing))
    }

    #[inline]
    fn cost(
        &self,
        (cost, max_cost): (Cost, Option<u64>),
        request: &Request<'_>,
        found: &Resolution<'_>,
    ) -> (u64, Option<Refusal>) {
        let cost = match cost {
            Cost::Request => request.cost,
            Cost::Fixed(cost) => cost,
            Cost::Attribute { attribute, unsaid } => {
                match self.said_cost(attribute, unsaid, request, found) {
                    Some(cost) => cost,
                    None => return (u64::MAX, Some(Refusal::CostUnreadable)),
                }
            }
        };
        let too_high = max_cost.filter(|most| cost > *most);
        (cost, too_high.map(|most| Refusal::CostTooHigh { most }))
    }

    /// What an attribute says that a request costs; none if that is no whole number.
    // Apart: what most limits cost is known without a look at the request's attributes.
    #[inline(never)]
    fn said_cost(
        &self,
        attribute: AttributeIndex,
        unsaid: u64,
        request: &Request<'_>,
        found: &Resolution<'_>,
    ) -> Option<u64> {
        match self.value(attribute, request, found) {
            None => Some(unsaid),
            // A request is not free because its client says so.
            Some(value) => whole_number(value).map(|cost| cost.max(1)),
        }
    }

    /// Puts the parts of a key into `parts`, which is empty; false, and nothing put there, if the
    /// request lacks what the key needs. A limit that then shares one counter has it under a key
    /// without parts.
    #[inline]
    pub(crate) fn key_parts<'a>(
        &'a self,
        key: KeyIndex,
        request: &'a Request<'_>,
        found: &'a Resolution<'_>,
        parts: &mut impl KeySink<'a>,
    ) -> bool {
        let Some(key) = self.keys.get(key.0) else {
            return false;
        };
        let is_found = key.collect(&|attribute| self.value(attribute, request, found), parts);
        is_found && (key.is_global() || parts.len() > 0)
    }

    fn value<'a>(
        &'a self,
        attribute: AttributeIndex,
        request: &'a Request<'_>,
        found: &'a Resolution<'_>,
    ) -> Option<KeyValue<'a>> {
        let spec = self.attributes.get(attribute.0)?;
        let route = || found.route.and_then(|route| self.routes.get(route.0));
        let text = match spec.source {
            Source::Method => request.method.as_bytes(),
            Source::Path => found.path.bytes()?,
            Source::Route => route()?.template.as_bytes(),
            Source::Capture => {
                let captures = &route()?.captures;
                let place = captures
                    .iter()
                    .position(|known| *known == Some(attribute))?;
                let (start, end) = *found.captures.get(place)?;
                found.path.bytes()?.get(start..end)?
            }
            Source::Request => match request.get(&spec.name)? {
                AttributeValue::Text(text) => text,
                AttributeValue::Address(address) => {
                    return Some(address::value(address, spec.ipv6_prefix));
                }
            },
        };
        spec.value_of_text(text)
    }

    /// The parts of a key from its values in the order of the key; nothing if they do not fit
    /// it, or if the key has alternatives and so no one order.
    pub(crate) fn parts_in_order<'a>(
        &self,
        key: KeyIndex,
        values: &[&'a str],
    ) -> Option<KeyParts<'a>> {
        let key = self.keys.get(key.0)?;
        let mut sequence = Sequence::new();
        if !key.sequence(&mut sequence) || values.len() > sequence.len() {
            return None;
        }
        let values: ArrayVec<_, KEY_PARTS_MAX> =
            sequence.into_iter().zip(values.iter().copied()).collect();
        key.parts_of(&self.attributes, &values)
    }

    /// The parts of a key from values by attribute; nothing if they do not fit the key.
    pub(crate) fn parts_by_name<'a>(
        &self,
        key: KeyIndex,
        values: &[(&str, &'a str)],
    ) -> Option<KeyParts<'a>> {
        let key = self.keys.get(key.0)?;
        let mut found = ArrayVec::<_, KEY_PARTS_MAX>::new();
        for (name, value) in values {
            let index = self
                .attributes
                .iter()
                .position(|spec| *spec.name == **name)?;
            found.try_push((AttributeIndex(index), *value)).ok()?;
        }
        key.parts_of(&self.attributes, &found)
    }

    /// The key's parts of an override.
    pub(crate) fn override_parts<'a>(&'a self, of: &'a OverrideSpec) -> Option<KeyParts<'a>> {
        of.parts_of(self.keys.get(of.key.0)?, &self.attributes)
    }

    /// The key that overrides of the limit of this name are for, of whichever kind it is.
    pub(crate) fn override_key_named(&self, name: &str) -> Option<KeyIndex> {
        let limit = self.limit_named(name).map(|limit| self.limits.get(limit.0));
        let other = || self.concurrency.iter().find(|limit| limit.is_called(name));
        match limit {
            Some(limit) => limit.map(|limit| limit.override_key),
            None => other().map(|limit| limit.key),
        }
    }

    /// A rate for one key of the limit of this name, said while running; or how many run at a
    /// time, if it is a limit on that.
    ///
    /// # Errors
    /// What is wrong with `text`, and what to write instead.
    pub(crate) fn overridden(&self, name: &str, text: &str) -> Result<Overridden, String> {
        let named = self.concurrency.iter();
        if let Some(index) = named.into_iter().position(|limit| limit.is_called(name)) {
            let most = match text.trim() {
                "unlimited" => Some(UNLIMITED),
                text => text
                    .parse()
                    .ok()
                    .filter(|most| (1..UNLIMITED).contains(most)),
            };
            let advice = "is not how many run at a time; write a whole number, or \"unlimited\"";
            let most = most.ok_or_else(|| format!("{text:?} {advice}"))?;
            return Ok(Overridden::Concurrency(ConcurrencyIndex(index), most));
        }
        let index = self.limit_named(name).ok_or("there is no such limit")?;
        let limit = self.limits.get(index.0).ok_or("there is no such limit")?;
        Rate::parse(text)
            .and_then(|rate| plain(&rate)?.rate(&limit.shape))
            .map(|rate| Overridden::Rate(index, rate))
            .map_err(|fix| match fix.advice.as_str() {
                "" => format!("{}; write it like {:?}", fix.problem, limit.shape.example()),
                advice => format!("{}; {advice}", fix.problem),
            })
    }
}

/// True if a capture before a slash in `path` is empty: axum takes that, others do not.
fn has_empty(captures: &Captures, path: &[u8]) -> bool {
    let mut captures = captures.iter();
    // The rest of the root is nothing.
    path != b"/" && captures.any(|(start, end)| start == end && *end < path.len())
}

impl OverrideSpec {
    pub(super) fn parts_of<'a>(
        &'a self,
        key: &KeySpec,
        attributes: &[AttributeSpec],
    ) -> Option<KeyParts<'a>> {
        let values: ArrayVec<_, KEY_PARTS_MAX> = self
            .values
            .iter()
            .take(KEY_PARTS_MAX)
            .map(|(index, text)| (*index, &**text))
            .collect();
        key.parts_of(attributes, &values)
    }
}

/// The whole number that a value writes in decimal digits.
fn whole_number(value: KeyValue<'_>) -> Option<u64> {
    match value {
        KeyValue::Text(text) if text.first().is_some_and(u8::is_ascii_digit) => {
            std::str::from_utf8(text).ok()?.parse().ok()
        }
        _ => None,
    }
}
