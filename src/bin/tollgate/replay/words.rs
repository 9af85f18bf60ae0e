//! Numbers and texts as people read them.

use indicatif::HumanCount;

/// Text from a log, with nothing in it that a terminal would act on, and of bounded length.
pub(crate) fn plain(text: &str) -> String {
    const CHARS_MAX: usize = 100;
    let safe = |c: char| {
        let harmless =
            !c.is_control() && !matches!(c, '\u{200e}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if harmless { c } else { '\u{fffd}' }
    };
    let mut short: String = text.chars().take(CHARS_MAX).map(safe).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}

/// With a mark every three digits.
pub(crate) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// `part` of `whole`, in percent; small shares get more digits, and only nothing is nothing.
pub(crate) fn share(part: u64, whole: u64) -> String {
    let Some(tenths) = per(part, whole, 1_000) else {
        return "-".to_owned();
    };
    match (part, tenths) {
        (0, _) => "0 %".to_owned(),
        (_, 0..10) => match per(part, whole, 100_000).unwrap_or(0) {
            0 => "< 0.001 %".to_owned(),
            thousandths => format!("0.{thousandths:03} %"),
        },
        _ => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}

fn per(part: u64, whole: u64, of: u128) -> Option<u64> {
    let scaled = (u128::from(part) * of).checked_div(u128::from(whole))?;
    u64::try_from(scaled).ok()
}

/// Milliseconds in seconds.
pub(crate) fn seconds(ms: u64) -> String {
    match ms % 1_000 {
        0 => count(ms / 1_000),
        rest => format!("{}.{rest:03}", count(ms / 1_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_keep_their_meaning() {
        for (part, whole, text) in [
            (0, 0, "-"),
            (0, 7, "0 %"),
            (1, 2, "50.0 %"),
            (7, 7, "100.0 %"),
            (1, 1_000, "0.100 %"),
            (1, 50_000, "0.002 %"),
            (1, u64::MAX, "< 0.001 %"),
        ] {
            assert_eq!(share(part, whole), text, "{part} of {whole}");
        }
    }

    #[test]
    fn hostile_text_is_disarmed() {
        assert_eq!(
            plain("a\u{1b}[31m\u{202e}b\n"),
            "a\u{fffd}[31m\u{fffd}b\u{fffd}"
        );
        assert_eq!(plain(&"x".repeat(500)).chars().count(), 101);
    }
}
