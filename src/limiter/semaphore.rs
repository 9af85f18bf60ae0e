//! The permits of a limit on how many run at a time, kept from one law to the next.

use std::sync::Arc;

use crate::error::Error;
use crate::permits::{PermitTerms, Permits};
use crate::policy::{ConcurrencySpec, UNLIMITED};

/// A limit's permits, and the terms that a law wants for them.
#[derive(Clone, Debug)]
pub(super) struct Semaphore {
    permits: Arc<Permits>,
    keys_max: u32,
    /// As the policy says; a limit in shadow lets in more.
    terms: Arc<PermitTerms>,
    is_shadow: bool,
}

impl Semaphore {
    /// The permits of a limit: those that there were `before`, if there were, with all who run and
    /// wait.
    ///
    /// # Errors
    /// If the room for keys would have to change with permits out.
    pub(super) fn new(
        spec: &ConcurrencySpec,
        terms: PermitTerms,
        before: Option<&Self>,
    ) -> Result<Self, Error> {
        let terms = Arc::new(terms);
        let what = || format!("limit {:?}", spec.name);
        let permits = match before {
            Some(before) if before.keys_max != spec.keys_max => {
                let (old, new) = (before.keys_max, spec.keys_max);
                let why = format!("max_keys cannot change from {old} to {new} while it is open");
                return Err(Error::invalid(what(), why));
            }
            Some(before) => Arc::clone(&before.permits),
            None => {
                let terms = enforced(&terms, spec.shadow);
                let permits = Permits::under(terms, spec.wait_max, spec.keys_max);
                Arc::new(permits.map_err(|error| Error::invalid(what(), error.to_string()))?)
            }
        };
        Ok(Self {
            permits,
            keys_max: spec.keys_max,
            terms,
            is_shadow: spec.shadow,
        })
    }

    /// Puts the terms in force, for those who wait, too.
    pub(super) fn enforce(&self) {
        self.permits
            .set_terms(&enforced(&self.terms, self.is_shadow));
    }

    /// Lets in all who wait: from law number `generation` on there is no such limit.
    pub(super) fn abolish(&self, generation: u64) {
        self.permits.set_terms(&Arc::new(unlimited(generation)));
    }

    pub(super) fn close(&self) {
        self.permits.close();
    }

    /// How many may run at a time.
    pub(super) fn most(&self, key: u64, level: u64) -> u32 {
        self.terms.limit(key, level)
    }

    pub(super) fn permits(&self) -> &Permits {
        &self.permits
    }

    /// By how many at a time a call goes to which the limit says `most`.
    pub(super) fn enforced_most(&self, most: u32) -> u32 {
        match self.is_shadow {
            true => UNLIMITED,
            false => most,
        }
    }
}

/// The terms that the permits of a limit go by: in shadow nobody is refused and nobody waits.
fn enforced(terms: &Arc<PermitTerms>, is_shadow: bool) -> Arc<PermitTerms> {
    match is_shadow {
        true => Arc::new(unlimited(terms.generation)),
        false => Arc::clone(terms),
    }
}

fn unlimited(generation: u64) -> PermitTerms {
    PermitTerms {
        limit: UNLIMITED,
        generation,
        ..PermitTerms::default()
    }
}
