//! The state of reading one question.

use super::draft::Draft;
use super::literal::Literal;
use super::words::{Role, Words};
use jiff::Timestamp;

/// Words of a question, what they are by their form, and what was understood.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) words: Words,
    literals: Vec<Option<Literal>>,
    pub(super) draft: Draft,
    pub(super) now: Timestamp,
    /// Why the question is refused although all words may be understood.
    pub(super) refusal: Option<String>,
}

impl Reader {
    pub(super) fn new(text: &str, now: Timestamp) -> Self {
        let words = Words::split(text);
        let literals = words.all.iter().map(|word| Literal::parse(&word.text)).collect();
        Self { words, literals, draft: Draft::default(), now, refusal: None }
    }

    /// Returns the literal at this position if the word is free.
    pub(super) fn literal(&self, at: usize) -> Option<&Literal> {
        self.literals.get(at).and_then(Option::as_ref).filter(|_| self.words.is_free(at))
    }

    /// Returns the nearest word before this one that is not an article or a label of a name.
    pub(super) fn word_before(&self, at: usize) -> &str {
        self.words.before(at).map_or("", |before| self.words.lower(before))
    }

    /// Consumes a negation of the item at this position, such as `not`, `outside` or `other than`, and returns whether there is
    /// one. Prepositions and labels may be between negation and item. A negation also applies to the further items of a list.
    /// The item must be consumed before the call.
    pub(super) fn take_negation(&mut self, at: usize) -> bool {
        let is_negated = self.follows_negation(at);
        let role = self.words.role(at);
        for word in self.words.all.iter_mut().skip(at).take_while(|word| word.role == role && role.is_some()) {
            word.is_negated = is_negated;
        }
        is_negated
    }

    fn follows_negation(&mut self, at: usize) -> bool {
        const BETWEEN: &[&str] = &[
            "of",
            "by",
            "from",
            "in",
            "for",
            "to",
            "on",
            "user",
            "users",
            "role",
            "roles",
            "region",
            "regions",
            "account",
            "accounts",
            "network",
            "networks",
            "ip",
            "address",
            "addresses",
            "service",
            "services",
            "event",
            "events",
            "made",
            "anyone",
            "someone",
            "those",
            "come",
            "coming",
            "calls",
            "and",
            "root",
        ];
        let mut start = at;
        while start > 0 {
            let before = start - 1;
            let word = self.words.lower(before);
            let is_negation =
                matches!(word, "not" | "except" | "excluding" | "outside" | "without" | "besides" | "exclude");
            if is_negation && self.words.is_free(before) {
                self.words.consume(before..start, Role::Negation);
                self.consume_label_before(before);
                return true;
            }
            if self.words.is_free(before) && (word == "than" || word == "from") && before > 0 {
                let introduction = self.words.lower(before - 1);
                let is_phrase = matches!((introduction, word), ("other", "than") | ("apart" | "aside", "from"));
                if is_phrase && self.words.is_free(before - 1) {
                    self.words.consume(before - 1..start, Role::Negation);
                    self.consume_label_before(before - 1);
                    return true;
                }
            }
            if word == "but"
                && self.words.is_free(before)
                && matches!(self.words.lower(before.saturating_sub(1)), "anyone" | "all")
            {
                self.words.consume(before..start, Role::Negation);
                return true;
            }
            // `outside eu-west-1 and us-east-1`
            if self.words.all.get(before).is_some_and(|word| word.is_negated)
                && self.words.role(before) == self.words.role(at)
            {
                return true;
            }
            let is_between = BETWEEN.contains(&word) || super::stop_words::is_article(word);
            if !is_between {
                return false;
            }
            start = before;
        }
        false
    }

    /// `addresses other than …`
    fn consume_label_before(&mut self, at: usize) {
        const LABELS: [&str; 10] =
            ["ip", "ips", "address", "addresses", "region", "regions", "users", "roles", "services", "accounts"];
        // Without a preposition the label is a part of the output: `top 10 addresses excluding …`
        let follows_preposition = at > 1 && matches!(self.words.lower(at - 2), "from" | "in" | "by" | "with" | "for");
        if follows_preposition && self.words.is_free(at - 1) && LABELS.contains(&self.words.lower(at - 1)) {
            self.words.consume(at - 1..at, Role::Label);
        }
    }
}
