//! A cursor over a short phrase: the words, numbers and signs of a rate, a key or a template.

/// What is left of a phrase. Spaces before each piece are passed over.
#[derive(Clone)]
pub(super) struct Scan<'t> {
    rest: &'t str,
}

impl<'t> Scan<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            rest: text.trim_start(),
        }
    }

    pub(super) fn rest(&self) -> &'t str {
        self.rest
    }

    fn split(&mut self, at: usize) -> &'t str {
        let (piece, rest) = self.rest.split_at_checked(at).unwrap_or((self.rest, ""));
        self.rest = rest.trim_start();
        piece
    }

    /// Passes over `sign`, if it is next.
    pub(super) fn eat(&mut self, sign: &str) -> bool {
        let found = self.rest.starts_with(sign);
        if found {
            self.split(sign.len());
        }
        found
    }

    /// Passes over `word` in whatever case, if it is the whole next word.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.next_word().eq_ignore_ascii_case(word);
        if found {
            self.split(word.len());
        }
        found
    }

    /// True if `word` is next, in whatever case.
    pub(super) fn at_word(&self, word: &str) -> bool {
        self.next_word().eq_ignore_ascii_case(word)
    }

    pub(super) fn at_digit(&self) -> bool {
        self.rest.starts_with(|c: char| c.is_ascii_digit())
    }

    fn next_word(&self) -> &'t str {
        self.prefix(|c| c.is_alphabetic())
    }

    fn prefix(&self, fits: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len());
        self.rest.get(..end).unwrap_or("")
    }

    /// The letters that are next.
    pub(super) fn word(&mut self) -> &'t str {
        self.split(self.next_word().len())
    }

    /// The digits that are next, underscores between them included.
    pub(super) fn digits(&mut self) -> &'t str {
        if !self.at_digit() {
            return "";
        }
        self.split(self.prefix(|c| c.is_ascii_digit() || c == '_').len())
    }

    /// Everything up to the next space.
    pub(super) fn until_space(&mut self) -> &'t str {
        self.split(self.prefix(|c| !c.is_whitespace()).len())
    }

    /// The letters, digits, underscores, dots and hyphens that are next.
    pub(super) fn name(&mut self) -> &'t str {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        self.split(self.prefix(fits).len())
    }
}
