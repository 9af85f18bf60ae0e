//! Tables of plain text that fit into the width there is.

use std::fmt::{self, Formatter};

/// The least width that a column of text is cut to.
const COLUMN_MIN: usize = 8;

/// Between two columns.
const GAP: usize = 2;

/// Writes an empty line, the head and the rows, in at most `width` columns: texts are cut; if that
/// is not enough, each row is written over several lines. Columns are as wide as they need be, the
/// first one and all that are no numbers to the left. Nothing is written of no rows.
pub(crate) fn table<const N: usize>(
    f: &mut Formatter<'_>,
    width: usize,
    head: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> fmt::Result {
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    let is_number = |text: &String| {
        text.chars()
            .all(|c| c.is_ascii_digit() || " ,.%<-".contains(c))
    };
    let mut widths = head.map(chars);
    let mut numeric = [true; N];
    numeric[0] = false;
    for row in &rows {
        for ((cell, widest), numeric) in row.iter().zip(&mut widths).zip(&mut numeric) {
            *widest = (*widest).max(chars(cell));
            *numeric &= is_number(cell);
        }
    }
    if !shrink(&mut widths, &numeric, head, width) {
        return blocks(f, width, head, &rows);
    }
    let mut line = |cells: [&str; N]| {
        let mut text = String::new();
        for ((cell, widest), numeric) in cells.iter().zip(widths).zip(numeric) {
            let cell = cut(cell, widest);
            let room = " ".repeat(widest - chars(&cell));
            let (before, after) = if numeric {
                (room.as_str(), "")
            } else {
                ("", room.as_str())
            };
            text.extend([before, &cell, after, "  "]);
        }
        writeln!(f, "{}", text.trim_end())
    };
    line([""; N])?;
    line(head)?;
    rows.iter()
        .try_for_each(|row| line(row.each_ref().map(String::as_str)))
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

fn cut(text: &str, most: usize) -> String {
    if chars(text) <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Makes the columns of text narrower, the widest first, until all fit; false if they cannot.
fn shrink<const N: usize>(
    widths: &mut [usize; N],
    numeric: &[bool; N],
    head: [&str; N],
    width: usize,
) -> bool {
    loop {
        let whole = widths.iter().sum::<usize>() + GAP * (N - 1);
        let Some(over) = whole.checked_sub(width).filter(|over| *over > 0) else {
            return true;
        };
        let least = |column: usize| COLUMN_MIN.max(chars(head[column]));
        let texts = (0..N).filter(|column| !numeric[*column] && widths[*column] > least(*column));
        // What a row is of is cut last: two names that are cut may look the same.
        let Some(widest) = texts.max_by_key(|column| (*column > 0, widths[*column])) else {
            return false;
        };
        let second = (0..N)
            .filter(|column| *column != widest && !numeric[*column] && *column > 0)
            .map(|column| widths[column]);
        // As wide as the next one at the most, so that all are cut alike.
        let next = second
            .filter(|next| *next < widths[widest])
            .max()
            .unwrap_or(0);
        let by = over.min(widths[widest] - next.max(least(widest)).min(widths[widest] - 1));
        widths[widest] -= by;
    }
}

/// Each row as its first cell, and below it the others with their names.
fn blocks<const N: usize>(
    f: &mut Formatter<'_>,
    width: usize,
    head: [&str; N],
    rows: &[[String; N]],
) -> fmt::Result {
    for row in rows {
        let cells = head.iter().zip(row).filter(|(_, cell)| !cell.is_empty());
        let mut line = String::new();
        writeln!(f)?;
        for (number, (name, cell)) in cells.enumerate() {
            let space = match (name.is_empty(), number) {
                (true, _) => "",
                (false, 0) => " ",
                (false, _) => ": ",
            };
            let told = cut(&format!("{name}{space}{cell}"), width.saturating_sub(GAP));
            if number == 0 {
                writeln!(f, "{told}")?;
                continue;
            }
            if !line.is_empty() && chars(&line) + GAP + chars(&told) > width {
                writeln!(f, "{line}")?;
                line.clear();
            }
            line.push_str("  ");
            line.push_str(&told);
        }
        if !line.is_empty() {
            writeln!(f, "{line}")?;
        }
    }
    Ok(())
}

/// Writes `text` in lines of at most `width` columns, broken between words where that is possible.
pub(crate) fn prose(f: &mut Formatter<'_>, width: usize, text: &str) -> fmt::Result {
    let width = width.max(1);
    let mut line = String::new();
    for word in text.split_inclusive(' ') {
        if !line.is_empty() && chars(&line) + chars(word.trim_end()) > width {
            writeln!(f, "{}", line.trim_end())?;
            line.clear();
        }
        line.push_str(word);
        while chars(line.trim_end()) > width {
            let end = line
                .char_indices()
                .nth(width)
                .map_or(line.len(), |(end, _)| end);
            let rest = line.split_off(end);
            writeln!(f, "{line}")?;
            line = rest;
        }
    }
    writeln!(f, "{}", line.trim_end())
}

/// The columns of the terminal that standard output, or else `on`, is; as many as one likes if it
/// is none.
pub(crate) fn width_of(on: impl std::os::fd::AsFd) -> usize {
    let columns = rustix::termios::tcgetwinsize(on).map(|size| usize::from(size.ws_col));
    columns
        .ok()
        .filter(|columns| *columns > 0)
        .unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::fmt::Display;

    use super::*;

    struct Table<'a>(usize, &'a [[&'a str; 3]]);

    impl Display for Table<'_> {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            let rows = self.1.iter().map(|row| row.map(str::to_owned));
            table(f, self.0, ["NAME", "N", "T"], rows)
        }
    }

    #[test]
    fn tables_line_up() {
        let rows = [["a", "1,000", "x"], ["long", "7", "yy"]];
        assert_eq!(
            Table(usize::MAX, &rows).to_string(),
            "\nNAME      N  T\na     1,000  x\nlong      7  yy\n"
        );
    }

    struct Prose<'a>(usize, &'a str);

    impl Display for Prose<'_> {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            prose(f, self.0, self.1)
        }
    }

    #[test]
    fn prose_is_broken_between_words_or_where_it_must_be() {
        assert_eq!(Prose(9, "one two three").to_string(), "one two\nthree\n");
        assert_eq!(Prose(4, "abcdefghi jk").to_string(), "abcd\nefgh\ni jk\n");
        assert_eq!(Prose(usize::MAX, "one two ").to_string(), "one two\n");
    }

    #[test]
    fn no_line_is_longer_than_there_is_room() {
        let (long, number) = ("x".repeat(70), "9".repeat(30));
        let rows = [
            [long.as_str(), "7", "short"],
            ["a", "1", &long],
            ["b", &number, "-"],
        ];
        for width in 12..200 {
            for rows in [&rows[..2], &rows[..]] {
                let text = Table(width, rows).to_string();
                assert!(
                    text.lines().all(|line| chars(line) <= width),
                    "{width}: {text}"
                );
                assert!(text.contains('7') && text.contains('x'), "{width}: {text}");
            }
        }
        let cut = Table(40, &rows[..2]).to_string();
        assert!(cut.contains("xx…") && cut.starts_with("\nNAME "), "{cut}");
        // The name keeps its width as long as another column can be cut.
        let rows = [["203.0.113.66", "7", "a rather long text"]];
        let cut = Table(26, &rows).to_string();
        assert!(cut.contains("203.0.113.66  7  a rathe"), "{cut}");
    }
}
