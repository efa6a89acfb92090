//! What a question asks for: lists, groups, counts, the first or the last.

use super::draft::ErrorKind;
use super::noun::request_parameter;
use super::object::family_at;
use super::reader::Reader;
use super::words::Role;
use crate::plan::{Column, Comparison, EventOrder, QueryField};

/// Phrases for the fields that events are grouped by. If several match, the longest one counts.
const DIMENSIONS: &[(&str, Column)] = &[
    ("source? ip? address|addresses", Column::SourceIpAddress),
    ("source? ip|ips", Column::SourceIpAddress),
    ("aws? account|accounts id|ids?", Column::RecipientAccountId),
    ("aws? region|regions", Column::AwsRegion),
    ("user agent|agents", Column::UserAgent),
    ("iam? user|users name|names?", Column::Principal),
    ("principal|principals", Column::Principal),
    ("identity|identities", Column::Principal),
    ("caller|callers", Column::Principal),
    ("people|person", Column::Principal),
    ("iam? role|roles", Column::SessionIssuerArn),
    ("aws? service|services", Column::EventSource),
    ("event source|sources", Column::EventSource),
    ("event name|names|type|types", Column::EventName),
    ("api call|calls|action|actions|operation|operations|name|names", Column::EventName),
    ("api|apis", Column::EventName),
    ("action|actions", Column::EventName),
    ("operation|operations", Column::EventName),
    ("error message|messages", Column::ErrorMessage),
    ("error code|codes", Column::ErrorCode),
    ("error|errors", Column::ErrorCode),
    ("access key|keys id|ids?", Column::UserIdentityAccessKeyId),
    ("credential|credentials", Column::UserIdentityAccessKeyId),
    ("tls version|versions", Column::TlsVersion),
    ("vpc endpoint|endpoints", Column::VpcEndpointId),
    ("source identity|identities", Column::SourceIdentity),
    ("day|days|date", Column::Day),
    ("hour|hours", Column::Hour),
];

/// Phrases before the fields that events are grouped by.
const GROUPED: &[&str] = &[
    "grouped by each?",
    "group by each?",
    "broken down by",
    "break down by",
    "breakdown by",
    "split by",
    "for each|every",
    "in each|every",
    "of each|every",
    "from each|every",
    "per",
    "by each?",
];

const TOP: &[&str] = &[
    "top",
    "the? most common|frequent|frequently|active|often|used|called|popular",
    "most",
    "busiest",
    "the? highest number of",
];

impl Reader {
    /// Consumes `top 10`, `how many`, `more than 5 times`, `last 20`, `first time`.
    pub(super) fn read_numbers(&mut self) {
        self.read_having();
        if let Some((at, length)) = self.words.find(&["most recent"], Role::Output) {
            let number = self.number(at + length).or_else(|| at.checked_sub(1).and_then(|before| self.number(before)));
            self.draft.order = Some(EventOrder::Newest);
            self.draft.limit = Some(number.unwrap_or(1));
            self.draft.is_single = number.is_none();
        }
        if let Some((at, length)) = self.words.find(TOP, Role::Output) {
            self.draft.has_top = true;
            self.draft.limit = self.number(at + length);
            self.words.find(&["active|common|frequent|used|often|frequently"], Role::Output);
        }
        self.words.find(&["by the? number|count of"], Role::Output);
        if self.draft.has_top {
            if self.words.find(&["by errors|failures"], Role::State).is_some() {
                self.draft.errors.push(ErrorKind::Failed);
            }
            self.words.find(&["by api? calls|events|requests|activity|usage"], Role::Output);
        }
        let counted = [
            "how many times",
            "how many different|distinct|unique?",
            "how often",
            "the? total? number of different|distinct|unique?",
            "the? counts|count of?",
            "count",
            "total number",
        ];
        if self.words.find(&counted, Role::Output).is_some() {
            self.draft.counts = true;
        }
        for (phrases, order) in [
            (&["the? last|latest time", "last seen|used|active", "most recently"][..], EventOrder::Newest),
            (&["the? first|earliest time", "first seen|used"][..], EventOrder::Oldest),
        ] {
            if self.words.find(phrases, Role::Output).is_some() {
                self.draft.time_of = Some(order);
            }
        }
        let asks_when = ["when did", "when was", "when has", "when were"];
        for (phrases, order) in [
            (&["last", "latest", "newest", "most recent"][..], EventOrder::Newest),
            (&["first", "earliest", "oldest"][..], EventOrder::Oldest),
        ] {
            if let Some((at, length)) = self.words.find(phrases, Role::Output) {
                let number = self.number(at + length);
                let asks_time = asks_when.iter().any(|phrase| self.words.phrase(0, phrase).is_some());
                if asks_time && number.is_none() {
                    self.draft.time_of = Some(order);
                } else {
                    self.draft.order = Some(order);
                    self.draft.limit = Some(number.unwrap_or(1));
                    self.draft.is_single = number.is_none();
                }
            }
        }
    }

    /// `more than 5 times`, `at least 10`.
    fn read_having(&mut self) {
        for (phrase, comparison) in [
            ("more than", Comparison::Greater),
            ("over", Comparison::Greater),
            ("at least", Comparison::AtLeast),
            ("less|fewer than", Comparison::Less),
            ("at most", Comparison::AtMost),
            ("exactly", Comparison::Equal),
        ] {
            for at in 0..self.words.len() {
                let Some(length) = self.words.phrase(at, phrase) else { continue };
                let number = self.words.text(at + length).parse();
                let Ok(number) = number else { continue };
                let end = at + length + 1;
                let end = end + self.words.phrase(end, "times").unwrap_or(0);
                self.words.consume(at..end, Role::Output);
                self.draft.having = Some((comparison, number));
            }
        }
    }

    /// Consumes a number at this position.
    fn number(&mut self, at: usize) -> Option<u64> {
        let words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
        let text = self.words.lower(at);
        let word = words.iter().position(|word| *word == text).and_then(|index| u64::try_from(index + 1).ok());
        let number = word.or_else(|| text.parse().ok()).filter(|number| (1..=100_000).contains(number))?;
        self.words.consume(at..at + 1, Role::Output);
        Some(number)
    }

    /// Consumes `by service and region`, `per account`, `for each user`.
    pub(super) fn read_groups(&mut self) {
        for at in 0..self.words.len() {
            let Some(length) = GROUPED.iter().filter_map(|phrase| self.words.phrase(at, phrase)).max() else {
                continue;
            };
            let mut next = at + length;
            let mut fields = Vec::new();
            loop {
                let article = self.words.phrase(next, "the|their|its").unwrap_or(0);
                let Some((column, length)) = self.dimension(next + article) else { break };
                fields.push(column);
                next += article + length;
                let join = self.words.phrase(next, "and? by?").unwrap_or(0);
                if self.dimension(next + join).is_none() {
                    break;
                }
                next += join;
            }
            if !fields.is_empty() {
                self.words.consume(at..next, Role::Output);
                self.draft.by.extend(fields.into_iter().map(QueryField::Column));
            } else if let Some((family, length)) = family_at(&self.words, next)
                && !family.paths.is_empty()
            {
                // `per bucket`
                self.words.consume(at..next + length, Role::Output);
                self.draft.group_by_one_of(family.paths.iter().map(|path| request_parameter(path)).collect());
            }
        }
    }

    pub(super) fn dimension(&self, at: usize) -> Option<(Column, usize)> {
        let found = DIMENSIONS.iter().filter_map(|(phrase, column)| Some((*column, self.words.phrase(at, phrase)?)));
        found.max_by_key(|(_, length)| *length)
    }

    /// Consumes `which users`, `how many accounts`, `list of services`, and errors.
    pub(super) fn read_dimensions(&mut self) {
        for at in 0..self.words.len() {
            let Some((column, length)) = self.dimension(at) else { continue };
            let end = at + length;
            let before = self.words.before(at);
            let word = before.map_or("", |before| self.words.lower(before));
            let is_error = matches!(column, Column::ErrorCode | Column::ErrorMessage);
            let follows = self.words.lower(end);
            let follows_count = before.is_some_and(|at| self.words.role(at) == Some(Role::Output));
            let is_counted = self.draft.counts && follows_count;
            let is_asked = matches!(word, "which" | "what" | "whose" | "different" | "distinct" | "unique")
                || (matches!(word, "top" | "common" | "active" | "most" | "frequent") && self.draft.has_top)
                || (self.draft.has_top
                    && self.draft.by.is_empty()
                    && before.is_some_and(|at| self.words.role(at) == Some(Role::Output)))
                || (word == "of"
                    && before.is_some_and(|of| matches!(self.word_before(of), "list" | "names" | "number" | "count")))
                || (matches!(follows, "that" | "who" | "which" | "with") && !is_error);
            if column == Column::EventName && !is_asked {
                continue;
            }
            // `which roles did bob …` does not ask for the callers, because the caller is named.
            let is_caller = matches!(column, Column::Principal | Column::SessionIssuerArn);
            if is_caller && follows == "did" && !self.draft.principals.is_empty() {
                continue;
            }
            if is_error {
                self.words.consume(at..end, Role::State);
                if self.draft.errors.is_empty() {
                    self.draft.errors.push(ErrorKind::Failed);
                }
                if is_asked && !is_counted && !self.draft.by.contains(&column.into()) {
                    self.draft.by.push(column.into());
                }
                continue;
            }
            if is_counted && column != Column::EventName {
                self.words.consume(at..end, Role::Output);
                self.draft.count_distinct = Some(column.into());
            } else if is_asked && !is_counted {
                self.words.consume(at..end, Role::Output);
                self.words.find(&["different|distinct|unique"], Role::Output);
                if !self.draft.by.contains(&column.into()) {
                    self.draft.by.push(column.into());
                }
            }
        }
        self.words.find(&["from where", "where from", "where did"], Role::Output).inspect(|_| {
            if self.draft.by.is_empty() {
                self.draft.by.push(Column::SourceIpAddress.into());
            }
        });
        if self.words.find(&["why"], Role::Output).is_some() && self.draft.by.is_empty() {
            if self.draft.errors.is_empty() {
                self.draft.errors.push(ErrorKind::Failed);
            }
            self.draft.by.extend([Column::EventSource.into(), Column::EventName.into(), Column::ErrorMessage.into()]);
        }
        let asks_actions = self.words.phrase(0, "what");
        let lower = |at| self.words.lower(at);
        let has_did = (0..self.words.len()).any(|at| matches!(lower(at), "did" | "has" | "have"));
        let has_do = (0..self.words.len()).any(|at| matches!(lower(at), "do" | "done"));
        let has_timeline = (0..self.words.len()).any(|at| matches!(lower(at), "timeline" | "chronological"));
        let has_everything = has_did && (0..self.words.len()).any(|at| lower(at) == "everything");
        if self.draft.order.is_none()
            && ((asks_actions.is_some() && has_did && has_do) || has_everything || has_timeline)
        {
            self.draft.order = Some(EventOrder::Oldest);
        }
    }
}
