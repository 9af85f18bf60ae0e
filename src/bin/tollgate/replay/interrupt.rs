//! Being asked to end, by Ctrl-C or a service manager.

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Whether somebody asked for the end.
pub(crate) struct Interrupt {
    signals: Signals,
    is_asked: bool,
}

impl Interrupt {
    /// # Errors
    /// If the process cannot listen for signals.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let signals = Signals::new([SIGINT, SIGTERM]).context("cannot listen for signals")?;
        Ok(Self {
            signals,
            is_asked: false,
        })
    }

    /// True once somebody asked.
    pub(crate) fn is_asked(&mut self) -> bool {
        self.is_asked |= self.signals.pending().next().is_some();
        self.is_asked
    }

    /// From now on, only who asks again has asked.
    pub(crate) fn forget(&mut self) {
        self.is_asked = false;
    }
}
