//! Rates in the words of a policy's explanations, taken apart to try other amounts.

use std::fmt;

/// `100 per minute, burst 150`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    amount: u64,
    /// More than one for a share of another limit that comes out as a fraction.
    denominator: u64,
    span: String,
    burst: Option<u64>,
}

impl Rate {
    /// The rate that `words` tell; none for `unlimited` and `denied`, which have no amount.
    pub(crate) fn parse(words: &str) -> Option<Self> {
        let (amount, rest) = words.split_once(" per ")?;
        let (amount, denominator) = match amount.split_once('/') {
            Some((amount, denominator)) => (amount.parse().ok()?, denominator.parse().ok()?),
            None => (amount.parse().ok()?, 1),
        };
        let (span, burst) = match rest.split_once(", burst ") {
            Some((span, burst)) => (span, Some(burst.parse().ok()?)),
            None => (rest, None),
        };
        Some(Self {
            amount,
            denominator,
            span: span.to_owned(),
            burst,
        })
    }

    /// True if it is the rate itself that [`scaled`](Self::scaled) gives for its own amount.
    pub(crate) fn is_whole(&self) -> bool {
        self.denominator == 1
    }

    pub(crate) const fn amount(&self) -> u64 {
        self.amount
    }

    /// The rate with another amount, and a burst in the same proportion, rounded up.
    pub(crate) fn scaled(&self, amount: u64) -> Self {
        let scale = |burst: u64| {
            let product = u128::from(burst) * u128::from(amount) * u128::from(self.denominator);
            let scaled = product.div_ceil(u128::from(self.amount.max(1)));
            u64::try_from(scaled).unwrap_or(u64::MAX).max(1)
        };
        Self {
            amount,
            denominator: 1,
            span: self.span.clone(),
            burst: self.burst.map(scale),
        }
    }
}

/// As a policy writes it: `100 per minute burst 150`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per {}", self.amount, self.span)?;
        match self.burst {
            Some(burst) => write!(f, " burst {burst}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_apart_and_put_together() {
        for (words, doubled) in [
            ("100 per minute", "200 per minute"),
            ("100 per minute, burst 150", "200 per minute burst 300"),
            ("3 per 10 seconds, burst 2", "6 per 10 seconds burst 4"),
            ("100/30 per second", "200 per second"),
            ("1/30 per second, burst 2", "2 per second burst 120"),
        ] {
            let rate = Rate::parse(words).unwrap();
            assert_eq!(
                rate.scaled(rate.amount() * 2).to_string(),
                doubled,
                "{words}"
            );
        }
        for words in [
            "unlimited",
            "denied",
            "",
            "many per minute",
            "1 per s, burst x",
        ] {
            assert_eq!(Rate::parse(words), None, "{words}");
        }
    }

    #[test]
    fn bursts_never_vanish_or_overflow() {
        let rate = Rate::parse("1000 per minute, burst 3").unwrap();
        assert_eq!(rate.scaled(1).to_string(), "1 per minute burst 1");
        let rate = Rate::parse("1 per minute, burst 18446744073709551615").unwrap();
        assert_eq!(rate.scaled(9).burst, Some(u64::MAX));
    }
}
