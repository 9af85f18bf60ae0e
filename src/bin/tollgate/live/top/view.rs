//! The screen.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row, Table, Wrap};

use super::state::{KeyRow, LimitRow, Order, State, rate, shortened, span};

/// From this width on the two lists of keys stand side by side.
const WIDE: u16 = 120;
/// Below this width what can be missed is left out.
const NARROW: u16 = 72;

pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let running = state.running();
    let limits = state.limits();
    let rows = |rows: usize| u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(2);
    let [head, top, middle, bottom, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Max(rows(limits.len()).min(frame.area().height / 2)),
        Constraint::Length(if running.is_empty() {
            0
        } else {
            rows(running.len()).min(6)
        }),
        Constraint::Min(4),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_head(frame, state, head);
    draw_limits(frame, &limits, state.order, top);
    draw_running(frame, &running, middle);
    let halves = match bottom.width >= WIDE {
        true => Layout::horizontal([Constraint::Ratio(1, 2); 2]),
        false => Layout::vertical([Constraint::Ratio(1, 2); 2]),
    };
    let [left, right] = halves.spacing(1).areas(bottom);
    let busiest = state.busiest();
    let selected = state.selected;
    draw_keys(frame, "Busiest keys", &busiest, Some(selected), left);
    let refused = state.refused();
    let selected = selected.checked_sub(busiest.len());
    draw_keys(frame, "Most refused keys", &refused, selected, right);
    frame.render_widget(foot_line(state), foot);
    if state.shows_key {
        draw_key(frame, state);
    }
}

fn draw_head(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let health = match state.trouble() {
        Some(trouble) => Line::styled(trouble, Style::new().fg(Color::Red)),
        None => Line::raw(state.health()),
    };
    let directory = Line::styled(state.directory().to_owned(), bold);
    frame.render_widget(Paragraph::new(vec![directory, health]), area);
}

fn foot_line(state: &State) -> Line<'static> {
    match (state.is_typing, state.filter.as_str()) {
        (true, filter) => Line::raw(format!("filter: {filter}_  (Enter keeps it, Esc ends it)")),
        (false, "") => Line::raw("q end  s order  / filter  ↑↓ choose a key  Enter it in full"),
        (false, filter) => Line::raw(format!("filter: {filter}  (Esc ends it)  q end")),
    }
}

fn head_style() -> Style {
    Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
}

fn refusals(count: u64) -> Cell<'static> {
    let style = match count {
        0 => Style::new(),
        _ => Style::new().fg(Color::Red),
    };
    Cell::from(Line::raw(count.to_string()).right_aligned()).style(style)
}

fn number(text: String) -> Cell<'static> {
    Cell::from(Line::raw(text).right_aligned())
}

fn used([used, of, _]: [u64; 3]) -> String {
    format!("{used} of {of}")
}

fn draw_limits(frame: &mut Frame<'_>, limits: &[LimitRow], order: Order, area: Rect) {
    let is_narrow = area.width < NARROW;
    let mark = |name: &str, own: Order| match order == own {
        true => format!("{name}▾"),
        false => name.to_owned(),
    };
    let mut heads = vec![
        Cell::from(mark("Limit", Order::Name)),
        number(mark("per s", Order::Rate)),
        number("allowed".into()),
        number(mark("refused", Order::Refused)),
    ];
    let mut widths = vec![
        Constraint::Min(12),
        Constraint::Length(8),
        Constraint::Length(11),
        Constraint::Length(11),
    ];
    if !is_narrow {
        heads.push(number("in shadow".into()));
        heads.push(number("used by all".into()));
        heads.push(number("back in".into()));
        widths.extend([9, 16, 8].map(Constraint::Length));
    }
    if area.width >= WIDE {
        heads.push("".into());
        widths.push(Constraint::Fill(2));
    }
    let rows = limits.iter().map(|limit| {
        let mut cells = vec![
            Cell::from(limit.name.clone()),
            number(rate(limit.rate)),
            number(limit.allowed.to_string()),
            refusals(limit.refused),
        ];
        if !is_narrow {
            cells.push(number(limit.in_shadow.to_string()));
            cells.push(number(limit.used.map(used).unwrap_or_default()));
            let back = limit.used.map(|[_, _, reset]| span(reset));
            cells.push(number(back.unwrap_or_default()));
        }
        if area.width >= WIDE {
            cells.push(Cell::from(limit.words.clone()));
        }
        Row::new(cells)
    });
    let table = Table::new(rows, widths).header(Row::new(heads).style(head_style()));
    frame.render_widget(table, area);
}

fn draw_running(frame: &mut Frame<'_>, running: &[(String, [u64; 3])], area: Rect) {
    let heads = ["running", "waiting", "refused"].map(|head| number(head.into()));
    let heads = std::iter::once(Cell::from("Running")).chain(heads);
    let rows = running.iter().map(|(name, [runs, waits, refused])| {
        let name = Cell::from(name.clone());
        let [runs, waits] = [runs, waits].map(|count| number(count.to_string()));
        Row::new([name, runs, waits, refusals(*refused)])
    });
    let widths = [
        Constraint::Min(12),
        Constraint::Length(8),
        Constraint::Length(11),
        Constraint::Length(11),
    ];
    let table = Table::new(rows, widths).header(Row::new(heads).style(head_style()));
    frame.render_widget(table, area);
}

fn draw_keys(
    frame: &mut Frame<'_>,
    title: &'static str,
    keys: &[KeyRow],
    selected: Option<usize>,
    area: Rect,
) {
    let is_narrow = area.width < NARROW;
    let mut heads = vec![Cell::from(title), "Limit".into()];
    let mut widths = vec![Constraint::Fill(3), Constraint::Fill(2)];
    if !is_narrow {
        heads.push(number("counted".into()));
        widths.push(Constraint::Length(9));
    }
    heads.extend(["used", "back in"].map(|head| number(head.into())));
    widths.push(Constraint::Length(if is_narrow { 12 } else { 20 }));
    widths.push(Constraint::Length(7));
    // The selected one is in sight.
    let height = usize::from(area.height.saturating_sub(1)).max(1);
    let first = selected.map_or(0, |selected| (selected + 1).saturating_sub(height));
    let rows = keys.iter().enumerate().skip(first).take(height);
    let rows = rows.map(|(place, row)| {
        let style = match selected == Some(place) {
            true => Style::new().add_modifier(Modifier::REVERSED),
            false => Style::new(),
        };
        let mut cells = vec![
            Cell::from(shortened(&row.key)),
            Cell::from(row.limit.clone()),
        ];
        if !is_narrow {
            cells.push(number(row.count.to_string()));
        }
        cells.push(number(used(row.used)));
        cells.push(number(span(row.used[2])));
        Row::new(cells).style(style)
    });
    let table = Table::new(rows, widths).header(Row::new(heads).style(head_style()));
    frame.render_widget(table, area);
}

/// The selected key in full.
fn draw_key(frame: &mut Frame<'_>, state: &State) {
    let Some(row) = state.keys().into_iter().nth(state.selected) else {
        return;
    };
    let [_, _, reset] = row.used;
    let lines = vec![
        Line::raw(row.key),
        Line::raw(format!("limit {}", row.limit)),
        Line::raw(format!(
            "{} used, all back in {}",
            used(row.used),
            span(reset)
        )),
        Line::raw(format!("{} counted", row.count)),
    ];
    let area = frame.area();
    let height = 8.min(area.height);
    let width = area.width.saturating_sub(4).min(100);
    let [area] = Layout::horizontal([Constraint::Length(width)])
        .flex(ratatui::layout::Flex::Center)
        .areas(area);
    let [area] = Layout::vertical([Constraint::Length(height)])
        .flex(ratatui::layout::Flex::Center)
        .areas(area);
    frame.render_widget(Clear, area);
    let block = Block::bordered().title("Key (Esc ends)");
    let paragraph = Paragraph::new(lines).wrap(Wrap { trim: false });
    frame.render_widget(paragraph.block(block), area);
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::{KeyCode, KeyEvent};
    use serde_json::{Value, json};

    use super::super::state::Step;
    use super::*;

    fn figures(allowed: u64) -> Value {
        json!({
            "now": 1_000, "since": 1,
            "limits": [
                { "name": "per-user", "words": "5 per minute", "allowed": allowed, "refused": 7,
                  "would_refuse": 0 },
                { "name": "all", "words": "1000 per day", "allowed": 3, "refused": 900,
                  "would_refuse": 1, "used": 3, "of": 1_000, "reset": 8_200 },
            ],
            "running": [{ "name": "heavy", "words": "", "running": 2, "waiting": 1, "refused": 4 }],
            "busiest": [
                { "limit": "per-user", "key": "user=alice", "count": 50, "used": 5, "of": 5,
                  "reset": 1_030 },
                { "limit": "per-user", "key": "api_key=sk_live_0123456789abcdef", "count": 40,
                  "used": 1, "of": 5, "reset": 1_000 },
            ],
            "refused": [{ "limit": "all", "key": "", "count": 9, "used": 3, "of": 1_000,
                          "reset": 8_200 }],
            "health": { "slots": 4_096, "writing": { "backlog": 12, "durable_ms_ago": 80 } },
        })
    }

    fn state() -> State {
        let begun = Instant::now();
        let mut state = State::new("/var/lib/app/limits".into(), figures(100), begun);
        state.update(figures(400), begun + Duration::from_secs(2));
        state
    }

    fn screen(state: &State, width: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, 24)).unwrap();
        terminal.draw(|frame| draw(frame, state)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn what_matters_is_shown_at_every_width() {
        for width in [60, 80, 200] {
            let screen = screen(&state(), width);
            for part in [
                "/var/lib/app/limits",
                "12 to write",
                "per-user",
                "150",
                "900",
                "heavy",
                "user=alice",
                "5 of 5",
                "30 s",
                "everybody",
                "q end",
            ] {
                assert!(screen.contains(part), "{part} at {width}:\n{screen}");
            }
            assert!(!screen.contains("sk_live_0123456789abcdef"), "{screen}");
            assert!(screen.contains("sk_l…cdef"), "{screen}");
        }
        assert!(screen(&state(), 200).contains("5 per minute"));
        assert!(screen(&state(), 80).contains("3 of 1000"));
    }

    #[test]
    fn a_very_small_terminal_is_no_fault() {
        for (width, height) in [(1, 1), (10, 3), (40, 8)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            let mut state = state();
            state.shows_key = true;
            terminal.draw(|frame| draw(frame, &state)).unwrap();
        }
    }

    #[test]
    fn keys_of_the_keyboard() {
        let mut state = state();
        let press = |state: &mut State, code: KeyCode| state.key(KeyEvent::from(code));
        assert_eq!(state.limits()[0].name, "per-user");
        press(&mut state, KeyCode::Char('s'));
        assert_eq!(state.limits()[0].name, "all");
        press(&mut state, KeyCode::Down);
        press(&mut state, KeyCode::Enter);
        assert!(screen(&state, 80).contains("api_key=sk_live_0123456789abcdef"));
        press(&mut state, KeyCode::Esc);
        assert!(!screen(&state, 80).contains("sk_live_0123456789abcdef"));
        for code in ['/', 'a', 'l', 'i'] {
            press(&mut state, KeyCode::Char(code));
        }
        press(&mut state, KeyCode::Enter);
        let filtered = screen(&state, 80);
        assert!(filtered.contains("user=alice") && !filtered.contains("api_key"));
        press(&mut state, KeyCode::Esc);
        assert!(screen(&state, 80).contains("api_key"));
        state.fail("it is gone".into());
        assert!(screen(&state, 80).contains("the numbers are old: it is gone"));
        assert_eq!(press(&mut state, KeyCode::Char('q')), Step::End);
    }
}
