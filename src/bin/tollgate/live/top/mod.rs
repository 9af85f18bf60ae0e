//! `tollgate top`: who is limited, live in a terminal, or once in plain lines.

mod plain;
mod state;
mod view;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::Context;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use serde_json::{Value, json};

use super::args::TopArgs;
use super::door::Door;
use crate::out;
use state::{State, Step};

/// How often the service is asked.
const PACE: Duration = Duration::from_secs(1);

/// Runs `tollgate top`.
///
/// # Errors
/// If no service can be asked, or the terminal cannot be used.
pub(super) fn run(args: &TopArgs) -> anyhow::Result<()> {
    let mut door = Door::live(&args.data)?;
    let first = ask(&mut door)?;
    let shown = args.data.display().to_string();
    if args.json || args.plain || !std::io::stdout().is_terminal() {
        let mut state = State::new(shown, first, Instant::now());
        std::thread::sleep(args.seconds);
        state.update(ask(&mut door)?, Instant::now());
        return match args.json {
            true => out::print(state.json()),
            false => out::print_exactly(&plain::text(&state)),
        };
    }
    let mut state = State::new(shown, first, Instant::now());
    let mut terminal = ratatui::try_init().context("cannot use the terminal")?;
    let ended = watch(&mut terminal, &mut door, &mut state);
    ratatui::restore();
    ended
}

fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    door: &mut Door,
    state: &mut State,
) -> anyhow::Result<()> {
    let mut next = Instant::now() + PACE;
    loop {
        terminal.draw(|frame| view::draw(frame, state))?;
        if event::poll(next.saturating_duration_since(Instant::now()))? {
            if let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
                && state.key(key) == Step::End
            {
                return Ok(());
            }
            continue;
        }
        next = Instant::now() + PACE;
        // A service that is deployed anew is asked again; until then the numbers are old.
        match ask(door) {
            Ok(figures) => state.update(figures, Instant::now()),
            Err(fault) => {
                state.fail(format!("{fault:#}"));
                if let Ok(anew) = Door::live(state.directory().as_ref()) {
                    *door = anew;
                }
            }
        }
    }
}

fn ask(door: &mut Door) -> anyhow::Result<Value> {
    door.call("top", &json!({}))
}
