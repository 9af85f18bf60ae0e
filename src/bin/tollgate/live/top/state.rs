//! What is shown: the last two answers, an order, a filter, a key that is looked at.

use std::collections::HashMap;
use std::time::Instant;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

/// Whether to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Go,
    End,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    Rate,
    Refused,
    Name,
}

/// A limit, counted.
#[derive(Clone, Debug, Default)]
pub(super) struct LimitRow {
    pub(super) name: String,
    pub(super) words: String,
    pub(super) rate: f64,
    pub(super) allowed: u64,
    pub(super) refused: u64,
    pub(super) in_shadow: u64,
    /// Used, of how much, and seconds until all is back.
    pub(super) used: Option<[u64; 3]>,
}

/// A key of a limit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct KeyRow {
    pub(super) key: String,
    pub(super) limit: String,
    pub(super) count: u64,
    pub(super) used: [u64; 3],
}

pub(super) struct State {
    directory: String,
    figures: Value,
    at: Instant,
    rates: HashMap<String, f64>,
    fault: Option<String>,
    pub(super) order: Order,
    pub(super) filter: String,
    pub(super) is_typing: bool,
    pub(super) selected: usize,
    pub(super) shows_key: bool,
}

impl State {
    pub(super) fn new(directory: String, figures: Value, at: Instant) -> Self {
        Self {
            directory,
            figures,
            at,
            rates: HashMap::new(),
            fault: None,
            order: Order::Rate,
            filter: String::new(),
            is_typing: false,
            selected: 0,
            shows_key: false,
        }
    }

    pub(super) fn directory(&self) -> &str {
        &self.directory
    }

    /// Takes the next answer.
    pub(super) fn update(&mut self, figures: Value, at: Instant) {
        let took = at.saturating_duration_since(self.at).as_secs_f64();
        let before = totals(&self.figures);
        // Another service's counts, or counts that were begun anew, are no differences.
        let is_same = self.figures["since"] == figures["since"];
        let rate = |(name, total): (String, u64)| {
            let before = if is_same { before.get(&name) } else { None };
            let more = total.saturating_sub(before.copied().unwrap_or(0));
            let more = f64::from(u32::try_from(more).unwrap_or(u32::MAX));
            (name, if took > 0.0 { more / took } else { 0.0 })
        };
        self.rates = totals(&figures).into_iter().map(rate).collect();
        (self.figures, self.at, self.fault) = (figures, at, None);
        self.selected = self.selected.min(self.keys().len().saturating_sub(1));
    }

    /// The service does not answer.
    pub(super) fn fail(&mut self, why: String) {
        self.fault = Some(why);
    }

    /// The answer with the rates, for programs.
    pub(super) fn json(&self) -> Value {
        let mut figures = self.figures.clone();
        for limit in figures["limits"].as_array_mut().into_iter().flatten() {
            let rate = limit["name"].as_str().and_then(|name| self.rates.get(name));
            limit["per_second"] = json!(rate);
        }
        figures
    }

    /// What is wrong, if anything is.
    pub(super) fn trouble(&self) -> Option<String> {
        if let Some(fault) = &self.fault {
            return Some(format!("the numbers are old: {fault}"));
        }
        let health = &self.figures["health"];
        let places = [
            "/trouble",
            "/writing/trouble/why",
            "/reservations/trouble/why",
        ];
        let mut found = places.iter().filter_map(|place| health.pointer(place));
        found.find_map(|why| why.as_str().map(str::to_owned))
    }

    /// How the service writes, in words.
    pub(super) fn health(&self) -> String {
        let health = &self.figures["health"];
        let number = |place: &str| health.pointer(place).and_then(Value::as_u64).unwrap_or(0);
        format!(
            "{} to write, durable {} ms ago, {} slots",
            number("/writing/backlog"),
            number("/writing/durable_ms_ago"),
            number("/slots")
        )
    }

    /// The limits that the filter lets through, in order.
    pub(super) fn limits(&self) -> Vec<LimitRow> {
        let now = self.figures["now"].as_u64().unwrap_or(0);
        let all = self.figures["limits"].as_array().into_iter().flatten();
        let rows = all.map(|limit| {
            let number = |name: &str| limit[name].as_u64();
            let name = text(limit, "name");
            LimitRow {
                rate: self.rates.get(&name).copied().unwrap_or(0.0),
                words: text(limit, "words"),
                allowed: number("allowed").unwrap_or(0),
                refused: number("refused").unwrap_or(0),
                in_shadow: number("would_refuse").unwrap_or(0),
                used: number("used").map(|used| {
                    let reset = number("reset").unwrap_or(0).saturating_sub(now);
                    [used, number("of").unwrap_or(0), reset]
                }),
                name,
            }
        });
        let mut rows: Vec<_> = rows.filter(|row| self.passes(&[&row.name])).collect();
        match self.order {
            Order::Rate => rows.sort_by(|a, b| b.rate.total_cmp(&a.rate)),
            Order::Refused => rows.sort_by_key(|row| std::cmp::Reverse(row.refused)),
            Order::Name => rows.sort_by(|a, b| a.name.cmp(&b.name)),
        }
        rows
    }

    /// Limits on how many run: name, running, waiting, refused.
    pub(super) fn running(&self) -> Vec<(String, [u64; 3])> {
        let all = self.figures["running"].as_array().into_iter().flatten();
        let rows = all.map(|one| {
            let number = |name: &str| one[name].as_u64().unwrap_or(0);
            let numbers = [number("running"), number("waiting"), number("refused")];
            (text(one, "name"), numbers)
        });
        rows.filter(|(name, _)| self.passes(&[name])).collect()
    }

    pub(super) fn busiest(&self) -> Vec<KeyRow> {
        self.list("busiest")
    }

    pub(super) fn refused(&self) -> Vec<KeyRow> {
        self.list("refused")
    }

    /// All keys that can be selected: the busiest, then the most refused.
    pub(super) fn keys(&self) -> Vec<KeyRow> {
        let mut keys = self.busiest();
        keys.extend(self.refused());
        keys
    }

    fn list(&self, name: &str) -> Vec<KeyRow> {
        let now = self.figures["now"].as_u64().unwrap_or(0);
        let all = self.figures[name].as_array().into_iter().flatten();
        let rows = all.map(|one| {
            let number = |name: &str| one[name].as_u64().unwrap_or(0);
            let key = text(one, "key");
            KeyRow {
                key: if key.is_empty() {
                    "everybody".into()
                } else {
                    key
                },
                limit: text(one, "limit"),
                count: number("count"),
                used: [
                    number("used"),
                    number("of"),
                    number("reset").saturating_sub(now),
                ],
            }
        });
        rows.filter(|row| self.passes(&[&row.key, &row.limit]))
            .collect()
    }

    fn passes(&self, texts: &[&str]) -> bool {
        self.filter.is_empty() || texts.iter().any(|text| text.contains(&self.filter))
    }

    /// A key of the keyboard.
    pub(super) fn key(&mut self, key: KeyEvent) -> Step {
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Step::End;
        }
        if self.is_typing {
            match key.code {
                KeyCode::Enter => self.is_typing = false,
                KeyCode::Esc => (self.is_typing, self.filter) = (false, String::new()),
                KeyCode::Backspace => drop(self.filter.pop()),
                KeyCode::Char(letter) => self.filter.push(letter),
                _ => {}
            }
            self.selected = 0;
            return Step::Go;
        }
        match key.code {
            KeyCode::Char('q') => return Step::End,
            KeyCode::Esc if self.shows_key => self.shows_key = false,
            KeyCode::Esc if !self.filter.is_empty() => self.filter.clear(),
            KeyCode::Esc => return Step::End,
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('s') => {
                self.order = match self.order {
                    Order::Rate => Order::Refused,
                    Order::Refused => Order::Name,
                    Order::Name => Order::Rate,
                }
            }
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => {
                let last = self.keys().len().saturating_sub(1);
                self.selected = (self.selected + 1).min(last);
            }
            KeyCode::Enter => self.shows_key = !self.shows_key,
            _ => {}
        }
        Step::Go
    }
}

/// What was decided of each limit.
fn totals(figures: &Value) -> HashMap<String, u64> {
    let all = figures["limits"].as_array().into_iter().flatten();
    all.map(|limit| {
        let parts = ["allowed", "refused", "would_refuse"];
        let parts = parts.iter().filter_map(|part| limit[part].as_u64());
        (text(limit, "name"), parts.sum())
    })
    .collect()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

/// A key as it is shown beside others: of what may be a secret both ends. Selected, it is in full.
pub(super) fn shortened(key: &str) -> String {
    let parts = key.split(' ').map(|part| {
        let (name, value) = part.split_once('=').unwrap_or(("", part));
        let letters: Vec<char> = value.chars().collect();
        let is_address = value.parse::<std::net::IpAddr>().is_ok() || value.contains("::");
        let is_open = ["route", "path", "method"].contains(&name) || value.contains(['/', '#']);
        if letters.len() <= 12 || is_address || is_open {
            return part.to_owned();
        }
        let [first, last] = [&letters[..4], &letters[letters.len() - 4..]].map(String::from_iter);
        match name {
            "" => format!("{first}…{last}"),
            name => format!("{name}={first}…{last}"),
        }
    });
    parts.collect::<Vec<_>>().join(" ")
}

/// In how long all is back.
pub(super) fn span(secs: u64) -> String {
    match secs {
        0 => "now".to_owned(),
        1..120 => format!("{secs} s"),
        120..7_200 => format!("{} min", secs / 60),
        7_200..172_800 => format!("{} h", secs / 3_600),
        _ => format!("{} d", secs / 86_400),
    }
}

/// A rate, as precise as it is worth.
pub(super) fn rate(rate: f64) -> String {
    match rate {
        rate if rate < 10.0 => format!("{rate:.1}"),
        rate => format!("{rate:.0}"),
    }
}
