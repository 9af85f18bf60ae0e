//! Buckets inside buckets: the limits that each leads to.

use super::bounds::BUCKETS_MAX;
use super::fault::{Faults, fix, quoted};
use super::names::Names;
use super::route::{BucketText, Name};

/// Buckets with their parents looked up.
pub(super) struct Buckets<'t> {
    texts: &'t [BucketText],
    names: Names<'t>,
    /// The limits of each bucket and of those it is inside of.
    limits: Vec<Vec<usize>>,
    /// The bucket that each is inside of.
    parents: Vec<Option<usize>>,
    is_used: Vec<bool>,
}

impl<'t> Buckets<'t> {
    pub(super) fn new(
        texts: &'t [BucketText],
        limit_names: &Names<'_>,
        faults: &mut Faults,
    ) -> Self {
        let names = Names::new("bucket", texts.iter().map(|bucket| bucket.name.as_str()));
        let parents: Vec<_> = texts
            .iter()
            .map(|bucket| names.find(bucket.inside.as_ref()?, faults))
            .collect();
        let own: Vec<Vec<usize>> = texts
            .iter()
            .map(|bucket| {
                let limits = bucket.limits.iter();
                limits
                    .filter_map(|name| limit_names.find(name, faults))
                    .collect()
            })
            .collect();
        let mut buckets = Self {
            texts,
            names,
            limits: Vec::new(),
            parents,
            is_used: vec![false; texts.len()],
        };
        buckets.check_cycles(faults);
        let of = |index: &usize| own.get(*index).cloned().unwrap_or_default();
        buckets.limits = (0..texts.len())
            .map(|index| buckets.chain(index).iter().flat_map(of).collect())
            .collect();
        buckets
    }

    /// The limits of the bucket and of those it is inside of.
    pub(super) fn limits(&mut self, name: &Name, faults: &mut Faults) -> Option<Vec<usize>> {
        let index = self.names.find(name, faults)?;
        for used in self.chain(index) {
            if let Some(flag) = self.is_used.get_mut(used) {
                *flag = true;
            }
        }
        self.limits.get(index).cloned()
    }

    /// Buckets that nothing has asked for.
    pub(super) fn check_use(&self, faults: &mut Faults) {
        let unused = self.texts.iter().zip(&self.is_used);
        for (bucket, _) in unused.filter(|(_, is_used)| !**is_used) {
            let problem = format!("no route leads to bucket {}", quoted(&bucket.name));
            let advice = "list its routes = [\"...\"], or name it in [default]";
            faults.push(&bucket.place, fix(problem, advice));
        }
    }

    /// The bucket and those it is inside of, innermost first; ends before the first repetition.
    fn chain(&self, index: usize) -> Vec<usize> {
        // Bound: a chain has each bucket once.
        let mut chain = vec![index];
        let mut at = index;
        while let Some(Some(parent)) = self.parents.get(at)
            && chain.len() < BUCKETS_MAX
            && !chain.contains(parent)
        {
            chain.push(*parent);
            at = *parent;
        }
        chain
    }

    fn check_cycles(&self, faults: &mut Faults) {
        let name = |index: &usize| self.texts.get(*index).map_or("", |text| &text.name);
        for (index, text) in self.texts.iter().enumerate() {
            let chain = self.chain(index);
            let last = chain.last().copied().unwrap_or(index);
            let returns = self.parents.get(last) == Some(&Some(index));
            // Each cycle is told once, at its first bucket.
            if returns && chain.iter().min() == Some(&index) {
                let path: Vec<_> = chain.iter().chain([&index]).map(name).collect();
                let problem = format!("buckets go in a circle: {}", path.join(" inside "));
                let place = text.inside.as_ref().map_or(&text.place, |name| &name.place);
                faults.push(place, fix(problem, "take one of them out of the other"));
            }
        }
    }
}
