//! The stated figures, and the terms under which they hold.

use std::path::PathBuf;
use std::process::Command;

use toml_edit::{DocumentMut, Item, value};

use crate::Failure;
use crate::scenario::SCENARIOS;

/// How far a figure may be off with the compiler that it was recorded with.
const MARGIN: f64 = 0.05;
/// With any other: that one may well choose other instructions.
const MARGIN_OTHERWISE: f64 = 0.25;

pub struct Figures {
    text: DocumentMut,
    compiler: String,
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("figures.toml")
}

/// What `rustc` calls itself: release and commit.
fn compiler() -> Result<String, Failure> {
    let name = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(name).arg("--version").output()?;
    Ok(String::from_utf8(said.stdout)?.trim().to_owned())
}

impl Figures {
    pub fn read() -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path())?.parse()?;
        Ok(Self {
            text,
            compiler: compiler()?,
        })
    }

    fn is_same_compiler(&self) -> bool {
        self.text.get("compiler").and_then(Item::as_str) == Some(&self.compiler)
    }

    pub fn margin(&self) -> f64 {
        if self.is_same_compiler() {
            MARGIN
        } else {
            MARGIN_OTHERWISE
        }
    }

    pub fn terms(&self) -> String {
        let per_cent = self.margin() * 100.0;
        let compiler = &self.compiler;
        match self.is_same_compiler() {
            true => format!("{compiler}, as recorded: at most {per_cent} % off\n"),
            false => format!("{compiler}, recorded with another: at most {per_cent} % off\n"),
        }
    }

    /// Instructions a check.
    pub fn of(&self, name: &str) -> Option<f64> {
        self.text.get("instructions")?.get(name)?.as_float()
    }

    /// What is stated of nothing that is counted.
    pub fn unknown(&self) -> Vec<String> {
        let table = self.text.get("instructions").and_then(Item::as_table);
        let names = table.into_iter().flatten().map(|(name, _)| name);
        let is_known = |name: &&str| SCENARIOS.iter().any(|one| one.name == *name);
        names
            .filter(|name| !is_known(name))
            .map(str::to_owned)
            .collect()
    }

    pub fn record(&mut self, name: &str, found: f64) {
        self.text["compiler"] = value(self.compiler.as_str());
        self.text["instructions"][name] = value((found * 10.0).round() / 10.0);
    }

    pub fn write(mut self) -> Result<(), Failure> {
        for name in self.unknown() {
            self.text["instructions"]
                .as_table_mut()
                .and_then(|table| table.remove(&name));
        }
        Ok(std::fs::write(path(), self.text.to_string())?)
    }
}
