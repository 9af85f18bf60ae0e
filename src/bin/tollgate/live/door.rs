//! How a command reaches a limiter: over the control socket of the process that has it open, or by
//! opening it itself. The calls are the same.

use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;
use tollgate::control::Connection;
use tollgate::{Admin, Limiter, ManualClock, Mapping, Policy, Timestamp};

use crate::out;

/// A limiter that can be asked.
pub(crate) enum Door {
    Live(Connection),
    Own { limiter: Limiter, admin: Admin },
}

impl Door {
    /// The limiter of a process that has the directory open; else opened here, under the policy.
    ///
    /// # Errors
    /// If it can be reached in neither way.
    pub(crate) fn open(data: &Path, policy: Option<&Path>) -> anyhow::Result<Self> {
        Self::open_at(data, policy, None)
    }

    /// The same as of another time, which only a limiter that is opened here can have.
    ///
    /// # Errors
    /// If it can be reached in neither way, or another process has it open and a time is given.
    pub(crate) fn open_at(
        data: &Path,
        policy: Option<&Path>,
        at: Option<Timestamp>,
    ) -> anyhow::Result<Self> {
        if let Some(connection) = connect(data)? {
            let holder = connection.holder();
            if at.is_some() {
                bail!("process {holder} has it open, and its time is its own: leave --at out");
            }
            let policy = match policy {
                Some(_) => ", and goes by its own policy",
                None => "",
            };
            out::note(format_args!(
                "process {holder} has {} open and is asked{policy}",
                data.display()
            ));
            return Ok(Self::Live(connection));
        }
        let Some(policy) = policy else {
            let shown = data.display();
            bail!("no service has {shown} open that could be asked: say --policy FILE to open it");
        };
        let mut builder = Limiter::builder(Policy::from_path(policy)?);
        if let Some(time) = at {
            builder = builder.clock(ManualClock::new(time));
        }
        let opened = builder.mapping(Mapping::DataDirectory).open(data);
        let limiter = opened.with_context(|| format!("cannot open {}", data.display()))?;
        let admin = Admin::new(limiter.clone()).on_behalf_of("tollgate");
        Ok(Self::Own { limiter, admin })
    }

    /// The limiter of a process that has the directory open.
    ///
    /// # Errors
    /// If none has, or it cannot be asked.
    pub(crate) fn live(data: &Path) -> anyhow::Result<Self> {
        let shown = data.display();
        match connect(data)? {
            Some(connection) => Ok(Self::Live(connection)),
            None if data.is_dir() => bail!("no service has {shown} open that could be asked"),
            None => bail!("there is no directory at {shown}"),
        }
    }

    /// Has a call done.
    ///
    /// # Errors
    /// If it is refused, or cannot be done.
    pub(crate) fn call(&mut self, name: &str, with: &Value) -> anyhow::Result<Value> {
        let with = with.to_string();
        let answer = match self {
            Self::Live(connection) => connection.call(name, &with),
            Self::Own { admin, .. } => admin.call(name, &with),
        };
        serde_json::from_str(&answer?).context("the answer cannot be read")
    }

    /// Closes what was opened here: an answer that could not be kept is no answer.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn close(self) -> anyhow::Result<()> {
        match self {
            Self::Live(_) => Ok(()),
            Self::Own { limiter, .. } => limiter.close().context("cannot close the counters"),
        }
    }
}

fn connect(data: &Path) -> anyhow::Result<Option<Connection>> {
    let shown = data.display();
    Connection::open(data).with_context(|| format!("cannot ask the process that has {shown} open"))
}
