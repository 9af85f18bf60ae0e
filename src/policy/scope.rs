//! Which limits a request meets together: what its route leads to, and what applies everywhere.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::bounds::{PERMIT_PICKS_MAX, PICKS_MAX};
use super::buckets::Buckets;
use super::concurrency::ConcurrencySpec;
use super::fault::{Faults, Place, fix, quoted};
use super::key::Attributes;
use super::names::Names;
use super::plan::{LimitSpec, RouteSpec, Scope};
use super::route::{RouteEntry, TargetText};
use super::router::Router;
use super::terms::{AttributeIndex, ConcurrencyIndex, LimitIndex, RouteIndex, ScopeIndex, Target};
use super::texts::PolicyText;

/// Routes and the limits that they lead to.
pub(super) struct Scopes {
    pub(super) routes: Vec<RouteSpec>,
    pub(super) router: Router,
    pub(super) scopes: Vec<Scope>,
    pub(super) default: Target,
    /// The names of the limits that apply to every request.
    pub(super) everywhere: Vec<Box<str>>,
    /// What is sound and may not be meant.
    pub(super) warnings: Vec<String>,
}

/// Looks up what every route leads to.
pub(super) fn compile(
    text: &PolicyText,
    limit_names: &Names<'_>,
    limits: &[Option<LimitSpec>],
    concurrency: &[ConcurrencySpec],
    faults: &mut Faults,
) -> Scopes {
    let mut builder = Builder {
        everywhere: Vec::new(),
        limit_names,
        limits,
        concurrency,
        buckets: Buckets::new(&text.buckets, limit_names, faults),
        known: HashMap::new(),
        scopes: Vec::new(),
    };
    let unnamed = builder.named_nowhere(text);
    let said = said_everywhere(text);
    let names: Vec<&str> = text.limits.names().collect();
    let warnings = warnings(&names, &unnamed, &said);
    builder.everywhere = unnamed;
    builder.everywhere.extend(said);
    builder.everywhere.sort_unstable();
    builder.everywhere.dedup();
    let everywhere = builder.everywhere.iter();
    let names = everywhere.filter_map(|limit| names.get(*limit).map(|name| (*name).into()));
    let everywhere_names = names.collect();
    let mut routes = Vec::new();
    let mut router = Router::new();
    for entry in &text.routes {
        let target = builder.target(&entry.target, &entry.place, faults);
        let index = RouteIndex(routes.len());
        let existing = |index: RouteIndex| text.routes.get(index.0);
        add_route(&mut router, entry, index, existing, faults);
        routes.push(RouteSpec {
            template: entry.route.template.text.as_str().into(),
            captures: captures(entry, &text.attributes),
            target,
        });
    }
    let everywhere = (TargetText::Limits(Vec::new()), Place::default());
    let (target, place) = text.default.as_ref().unwrap_or(&everywhere);
    let default = builder.target(target, place, faults);
    if !text.has_unread_routes {
        builder.buckets.check_use(faults);
    }
    Scopes {
        routes,
        router,
        scopes: builder.scopes,
        default,
        everywhere: everywhere_names,
        warnings,
    }
}

/// The limits that say that they apply to every request.
fn said_everywhere(text: &PolicyText) -> Vec<usize> {
    let rates = text.limits.rates.iter().map(|limit| &limit.common);
    let others = text.limits.concurrency.iter().map(|limit| &limit.common);
    let all = rates.chain(others).enumerate();
    all.filter(|(_, limit)| limit.everywhere)
        .map(|(index, _)| index)
        .collect()
}

/// Where routes name limits, one that none names may have lost its route.
fn warnings(names: &[&str], unnamed: &[usize], said: &[usize]) -> Vec<String> {
    if unnamed.len() == names.len() {
        return Vec::new();
    }
    let silent = unnamed.iter().filter(|limit| !said.contains(limit));
    let names = silent.filter_map(|limit| names.get(*limit));
    names
        .map(|name| {
            format!(
                "no route names limit {}, so it applies to every request; if that is meant, write \
                 everywhere = true",
                quoted(name)
            )
        })
        .collect()
}

fn add_route<'t>(
    router: &mut Router,
    entry: &RouteEntry,
    index: RouteIndex,
    existing: impl Fn(RouteIndex) -> Option<&'t RouteEntry>,
    faults: &mut Faults,
) {
    let template = &entry.route.template;
    let methods = entry
        .route
        .methods
        .iter()
        .map(|method| Some(method.as_str()));
    let any = entry.route.methods.is_empty().then_some(None);
    for method in methods.chain(any) {
        let Err(other) = router.add(method, template, index) else {
            continue;
        };
        let other = existing(other).map_or("", |other| &other.route.template.text);
        let problem = format!(
            "{} {} is routed already, as {}",
            method.unwrap_or("any method of"),
            quoted(&template.text),
            quoted(other)
        );
        faults.push(&entry.place, fix(problem, "keep one of the two routes"));
    }
}

/// Which attribute each capture is, where anything refers to it.
fn captures(entry: &RouteEntry, attributes: &Attributes) -> Vec<Option<AttributeIndex>> {
    let names = entry.route.template.captures.iter();
    names
        .map(|name| {
            let braced = format!("{{{name}}}");
            let index = attributes
                .specs
                .iter()
                .position(|spec| *spec.name == *braced);
            index.map(AttributeIndex)
        })
        .collect()
}

struct Builder<'t> {
    /// The limits that no bucket and no route names: they apply to every request.
    everywhere: Vec<usize>,
    limit_names: &'t Names<'t>,
    limits: &'t [Option<LimitSpec>],
    concurrency: &'t [ConcurrencySpec],
    buckets: Buckets<'t>,
    known: HashMap<Vec<usize>, ScopeIndex>,
    scopes: Vec<Scope>,
}

impl Builder<'_> {
    fn named_nowhere(&self, text: &PolicyText) -> Vec<usize> {
        let targets = text.routes.iter().map(|entry| &entry.target);
        let in_targets = targets
            .chain(text.default.as_ref().map(|(target, _)| target))
            .filter_map(|target| match target {
                TargetText::Limits(names) => Some(names),
                TargetText::Bucket(_) | TargetText::Exempt => None,
            });
        let in_buckets = text.buckets.iter().map(|bucket| &bucket.limits);
        let mut is_named = vec![false; self.limits.len() + self.concurrency.len()];
        for name in in_targets.chain(in_buckets).flatten() {
            let index = self.limit_names.get(&name.text);
            if let Some(flag) = index.and_then(|index| is_named.get_mut(index)) {
                *flag = true;
            }
        }
        let unnamed = is_named
            .iter()
            .enumerate()
            .filter(|(_, is_named)| !**is_named);
        unnamed.map(|(index, _)| index).collect()
    }

    fn target(&mut self, target: &TargetText, place: &Place, faults: &mut Faults) -> Target {
        let mut limits = match target {
            TargetText::Exempt => return Target::Exempt,
            TargetText::Bucket(name) => self.buckets.limits(name, faults).unwrap_or_default(),
            TargetText::Limits(names) => {
                let names = names.iter();
                names
                    .filter_map(|name| self.limit_names.find(name, faults))
                    .collect()
            }
        };
        limits.extend(&self.everywhere);
        limits.sort_unstable();
        limits.dedup();
        let rates = limits.partition_point(|limit| *limit < self.limits.len());
        // A key may be new to every limit that counts new ones.
        let is_for_new_keys = |limit: &&usize| {
            let spec = self.limits.get(**limit).and_then(Option::as_ref);
            spec.is_some_and(|spec| spec.new_keys.is_some())
        };
        let new_keys = limits.iter().filter(is_for_new_keys).count();
        let kinds = [
            (rates + new_keys, PICKS_MAX, "limits"),
            (
                limits.len() - rates,
                PERMIT_PICKS_MAX,
                "max_concurrent limits",
            ),
        ];
        for (count, most, kind) in kinds {
            if count > most {
                let problem = format!("a request here meets {count} {kind}");
                faults.push(place, fix(problem, format!("at most {most}")));
            }
        }
        self.scope(limits)
    }

    /// The scope of these limits, each set of limits once.
    fn scope(&mut self, mut limits: Vec<usize>) -> Target {
        if let Some(known) = self.known.get(&limits) {
            return Target::Scope(*known);
        }
        let index = ScopeIndex(self.scopes.len());
        self.known.insert(limits.clone(), index);
        let rates = limits.partition_point(|limit| *limit < self.limits.len());
        let others = limits.split_off(rates).into_iter();
        let mut concurrency: Vec<_> = others
            .map(|limit| ConcurrencyIndex(limit - self.limits.len()))
            .collect();
        concurrency.sort_by_key(|limit| self.concurrency.get(limit.0).map(|spec| &spec.name));
        limits.sort_by_key(|limit| {
            let spec = self.limits.get(*limit).and_then(Option::as_ref);
            spec.map(|spec| {
                let capacity = spec.rates.first().map(|rate| rate.rule.capacity());
                (capacity, Reverse(spec.span_nanos))
            })
        });
        self.scopes.push(Scope {
            limits: limits.into_iter().map(LimitIndex).collect(),
            concurrency,
        });
        Target::Scope(index)
    }
}
