//! Parses a filter file.
//!
//! ```toml
//! [[exclude]]
//! name = "KMS calls of the nodes"
//! when = [
//!     { field = "eventSource", equals = "kms.amazonaws.com" },
//!     { field = "userIdentity.sessionContext.sessionIssuer.arn", prefix = "arn:aws:iam::111122223333:role/eks-" },
//! ]
//! ```
//!
//! Every value keeps its position, so that each error names the line and the rule.

use super::condition::{Condition, Pattern, Test};
use super::path::FieldPath;
use super::{Filter, PathTable, Rule, RuleKind};
use crate::event::field::{self, FieldKind};
use crate::suggest;
use ipnet::IpNet;
use regex::bytes::RegexBuilder;
use std::collections::HashMap;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Maximum number of rules of a file.
pub const MAX_RULES: usize = 10_000;

/// Maximum number of regular expressions of a file. Each can take more than a megabyte.
pub const MAX_PATTERNS: usize = 1_000;

/// Maximum size of a compiled regular expression in bytes. A list of a hundred names takes about 100 kB.
pub(super) const PATTERN_BYTES: usize = 1 << 20;

/// Maximum memory in bytes that a regular expression takes per thread while it matches.
pub(super) const PATTERN_CACHE_BYTES: usize = 256 << 10;

/// The names of the tests of a condition.
const TESTS: [&str; 8] = ["any_of", "cidr", "equals", "exists", "null", "prefix", "regex", "suffix"];

/// The errors of a filter file, in the order of their lines. Each names the file, the line and the rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterFileError(Vec<String>);

impl FilterFileError {
    /// Returns all errors; at least one.
    pub fn all(&self) -> &[String] {
        &self.0
    }
}

impl std::fmt::Display for FilterFileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0[..] {
            [] => Ok(()),
            [only] => f.write_str(only),
            [first, rest @ ..] => {
                write!(f, "{first} ({} more; `trailhose filter check` shows all)", rest.len())
            }
        }
    }
}

impl std::error::Error for FilterFileError {}

impl Filter {
    /// Parses the text of a filter file. `name` is the name of the file for errors.
    ///
    /// # Errors
    /// The text is not valid TOML, or a rule is invalid. All invalid rules are reported.
    pub fn from_toml(name: &str, text: &str) -> Result<Self, FilterFileError> {
        let lines = LineNumbers::new(text);
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().unwrap_or(0..0);
            let rule = rule_before(&text[..at.start.min(text.len())]);
            FilterFileError(vec![format!("{name}:{}: {rule}{}", lines.of(&at), one_line(error.message()))])
        })?;
        let mut parser = FileParser { lines, ..FileParser::default() };
        parser.file(table.get_ref());
        if parser.errors.is_empty() {
            return Ok(Self::new(parser.include, parser.exclude, parser.paths.paths));
        }
        parser.errors.sort_by_key(|(line, _)| *line);
        let message = |(line, what): (usize, String)| format!("{name}:{line}: {what}");
        Err(FilterFileError(parser.errors.into_iter().map(message).collect()))
    }
}

/// The line numbers of a text.
#[derive(Debug, Default)]
struct LineNumbers {
    /// The offset of each line break.
    breaks: Vec<usize>,
}

impl LineNumbers {
    fn new(text: &str) -> Self {
        Self { breaks: text.match_indices('\n').map(|(at, _)| at).collect() }
    }

    /// Returns the number of the line on which a range starts, from 1.
    fn of(&self, range: &Range<usize>) -> usize {
        self.breaks.partition_point(|&at| at < range.start) + 1
    }
}

/// Returns the name of the last rule in this text, as the start of a message, or an empty text. Errors of the TOML parser
/// name only a position.
fn rule_before(text: &str) -> String {
    let count = |kind: RuleKind| {
        let header = format!("[[{}]]", kind.as_str());
        let headers = text.lines().filter(|line| line.trim_start().starts_with(&header)).count();
        (text.rfind(&header), headers, kind)
    };
    match count(RuleKind::Include).max(count(RuleKind::Exclude)) {
        (Some(_), number, kind) => format!("{} rule {number}: ", kind.as_str()),
        (None, ..) => String::new(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Collects rules and errors.
#[derive(Debug, Default)]
struct FileParser {
    lines: LineNumbers,
    include: Vec<Rule>,
    exclude: Vec<Rule>,
    paths: PathTable,
    patterns: usize,
    /// The line of each name.
    names: HashMap<String, usize>,
    /// Line and message.
    errors: Vec<(usize, String)>,
}

type FileTable<'t> = DeTable<'t>;
type Value<'t> = Spanned<DeValue<'t>>;

/// An error within a rule: its position and message.
type ConditionError = (Range<usize>, String);

impl FileParser {
    fn file(&mut self, table: &FileTable<'_>) {
        let mut rules = 0;
        for (key, value) in table {
            let kind = match key.get_ref().as_ref() {
                "include" => RuleKind::Include,
                "exclude" => RuleKind::Exclude,
                other => {
                    let hint = suggest::did_you_mean(other, ["include", "exclude"]);
                    self.error(
                        &key.span(),
                        format!("unknown key {other:?}: expected [[include]] or [[exclude]]{hint}"),
                    );
                    continue;
                }
            };
            let tables = match value.get_ref() {
                DeValue::Array(tables) if tables.iter().all(|table| matches!(table.get_ref(), DeValue::Table(_))) => {
                    tables
                }
                other => {
                    let what = format!(
                        "{key} is {}: expected one [[{key}]] section per rule",
                        type_name(other),
                        key = kind.as_str()
                    );
                    self.error(&value.span(), what);
                    continue;
                }
            };
            rules += tables.len();
            if rules > MAX_RULES {
                self.error(&value.span(), format!("more than {MAX_RULES} rules: combine rules with any_of"));
                return;
            }
            for table in tables {
                if let DeValue::Table(rule) = table.get_ref() {
                    self.rule(kind, rule, &table.span());
                }
            }
        }
    }

    fn rule(&mut self, kind: RuleKind, table: &FileTable<'_>, span: &Range<usize>) {
        let line = self.lines.of(span);
        let number = match kind {
            RuleKind::Include => self.include.len(),
            RuleKind::Exclude => self.exclude.len(),
        };
        let mut name = format!("{} rule {}", kind.as_str(), number + 1);
        let mut named = name.clone();
        let mut found = Vec::new();
        if let Some(value) = get(table, "name") {
            match value.get_ref() {
                DeValue::String(text) if !text.trim().is_empty() => {
                    name = one_line(text);
                    named = format!("{} rule {name:?}", kind.as_str());
                }
                other => self.error(&value.span(), format!("{named}: name is {}: expected a text", type_name(other))),
            }
        }
        if let Some(earlier) = self.names.insert(name.clone(), line) {
            self.error(span, format!("{named}: the rule on line {earlier} has the same name: use another name"));
        }
        for (key, _) in table {
            let key_name = key.get_ref().as_ref();
            if key_name != "name" && key_name != "when" {
                let hint = suggest::did_you_mean(key_name, ["name", "when"]);
                self.error(&key.span(), format!("{named}: unknown key {key_name:?}: a rule has name and when{hint}"));
            }
        }
        match get(table, "when").map(|value| (value, value.get_ref())) {
            Some((_, DeValue::Array(list))) if !list.is_empty() => {
                for condition in list {
                    match self.condition(condition) {
                        Ok(condition) => found.push(condition),
                        Err((span, what)) => self.error(&span, format!("{named}: {what}")),
                    }
                }
            }
            Some((value, DeValue::Array(_))) => {
                self.error(&value.span(), format!("{named}: when is empty: a rule needs at least one condition"));
            }
            Some((value, other)) => {
                let what = format!(
                    "{named}: when is {}: expected a list of conditions, such as [{{ field = \"eventName\", equals = \
                     \"Decrypt\" }}]",
                    type_name(other)
                );
                self.error(&value.span(), what);
            }
            None => self.error(span, format!("{named}: when is missing: a rule needs at least one condition")),
        }
        let rule = Rule { name, kind, number, line, conditions: found };
        match kind {
            RuleKind::Include => self.include.push(rule),
            RuleKind::Exclude => self.exclude.push(rule),
        }
    }

    fn condition(&mut self, value: &Value<'_>) -> Result<Condition, ConditionError> {
        let DeValue::Table(table) = value.get_ref() else {
            let what =
                format!("a condition is {}: expected {{ field = \"…\", equals = \"…\" }}", type_name(value.get_ref()));
            return Err((value.span(), what));
        };
        for (key, _) in table {
            let name = key.get_ref().as_ref();
            let known = || TESTS.into_iter().chain(["field", "not"]);
            if known().all(|known| known != name) {
                let hint = suggest::did_you_mean(name, known());
                let what = format!(
                    "unknown key {name:?} of a condition: expected field, not, or one of {}{hint}",
                    TESTS.join(", ")
                );
                return Err((key.span(), what));
            }
        }
        let field = match get(table, "field").map(|value| (value.span(), value.get_ref())) {
            Some((span, DeValue::String(text))) => (span, text.as_ref()),
            Some((span, other)) => return Err((span, format!("field is {}: expected a text", type_name(other)))),
            None => return Err((value.span(), "a condition has no field: expected field = \"eventName\"".into())),
        };
        let tests: Vec<(&str, &Value<'_>)> =
            TESTS.into_iter().filter_map(|name| Some((name, get(table, name)?))).collect();
        let &[(test, operand)] = &tests[..] else {
            let names: Vec<&str> = tests.iter().map(|(name, _)| *name).collect();
            let found = if names.is_empty() { "no test".to_owned() } else { names.join(" and ") };
            let what =
                format!("the condition on {} has {found}: expected exactly one of {}", field.1, TESTS.join(", "));
            return Err((value.span(), what));
        };
        let negated = match get(table, "not").map(|value| (value.span(), value.get_ref())) {
            None => false,
            Some((_, DeValue::Boolean(negated))) => *negated,
            Some((span, other)) => {
                return Err((span, format!("not of {} is {}: expected true or false", field.1, type_name(other))));
            }
        };
        let (names, kind) = checked_path(field.1, test).map_err(|what| (field.0, what))?;
        let (test, is_false) = self.test(test, operand, field.1, kind)?;
        let path = self.paths.intern(names, kind);
        Ok(Condition { path, test, negated: negated != is_false })
    }

    /// Parses a test. Also returns whether the test is `exists = false` or `null = false`, which negate it.
    fn test(
        &mut self,
        name: &str,
        value: &Value<'_>,
        field: &str,
        kind: FieldKind,
    ) -> Result<(Test, bool), ConditionError> {
        if let "exists" | "null" = name {
            let DeValue::Boolean(is_true) = value.get_ref() else {
                let what = format!("{name} of {field} is {}: expected true or false", type_name(value.get_ref()));
                return Err((value.span(), what));
            };
            return Ok((if name == "exists" { Test::Exists } else { Test::Null }, !is_true));
        }
        let operands = operands(name, value, field)?;
        let mut texts: Vec<String> = operands.iter().map(|(_, text)| text.clone()).collect();
        texts.sort();
        texts.dedup();
        let test = match name {
            "prefix" => Test::Prefix(texts),
            "suffix" => Test::Suffix(texts),
            "cidr" => {
                Test::Network(each(&operands, |text| network(text).map_err(|what| format!("cidr of {field}: {what}")))?)
            }
            "regex" => Test::Regex(each(&operands, |text| {
                self.pattern(text).map_err(|what| format!("regex of {field}: {what}"))
            })?),
            _ => {
                let wrong = operands.iter().find(|(_, text)| kind.is_boolean && text != "true" && text != "false");
                if let Some((span, text)) = wrong {
                    return Err((span.clone(), format!("{name} of {field} is {text:?}: the field is true or false")));
                }
                Test::AnyOf { texts, or_null: false }
            }
        };
        Ok((test, false))
    }

    fn pattern(&mut self, text: &str) -> Result<Pattern, String> {
        self.patterns += 1;
        if self.patterns > MAX_PATTERNS {
            return Err(format!(
                "the file has more than {MAX_PATTERNS} regular expressions: use any_of, prefix or suffix"
            ));
        }
        let built = RegexBuilder::new(text).size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_CACHE_BYTES).build();
        built.map(|regex| Pattern { regex, number: 0 }).map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => {
                format!("the regular expression {} needs more than {limit} bytes: use smaller repetitions", shown(text))
            }
            error => {
                // The message of a syntax error marks the position on lines of its own. The last line is the reason.
                let message = error.to_string();
                let reason = message.lines().last().unwrap_or_default();
                format!(
                    "invalid regular expression {}: {}",
                    shown(text),
                    reason.strip_prefix("error: ").unwrap_or(reason)
                )
            }
        })
    }

    fn error(&mut self, span: &Range<usize>, what: String) {
        self.errors.push((self.lines.of(span), what));
    }
}

/// Splits and checks the path of a field.
fn checked_path(field: &str, test: &str) -> Result<(Vec<String>, FieldKind), String> {
    let names = FieldPath::split(field)?;
    let kind = match test {
        "exists" | "null" => field::check_presence(&names),
        _ => field::check(&names),
    };
    Ok((names, kind?))
}

/// Returns the operands of a test as texts, each with its position: one value or a list. `equals` and `any_of` also accept
/// numbers and booleans, which are compared by their JSON text.
fn operands(name: &str, value: &Value<'_>, field: &str) -> Result<Vec<(Range<usize>, String)>, ConditionError> {
    let is_exact = matches!(name, "equals" | "any_of");
    let text = |value: &Value<'_>| match value.get_ref() {
        DeValue::String(text) => Ok((value.span(), text.clone().into_owned())),
        DeValue::Integer(number) if is_exact && number.radix() == 10 => {
            Ok((value.span(), number.as_str().replace('_', "")))
        }
        DeValue::Boolean(boolean) if is_exact => Ok((value.span(), boolean.to_string())),
        other => {
            let expected = if is_exact { "a text, a decimal integer or a boolean" } else { "a text" };
            Err((value.span(), format!("{name} of {field} is {}: expected {expected}", type_name(other))))
        }
    };
    match (name, value.get_ref()) {
        ("equals", DeValue::Array(_)) => Err((value.span(), format!("equals of {field} is a list: use any_of"))),
        (_, DeValue::Array(list)) if list.is_empty() => {
            Err((value.span(), format!("{name} of {field} is an empty list: the condition would never match")))
        }
        (_, DeValue::Array(list)) => list.iter().map(text).collect(),
        ("any_of", other) => {
            Err((value.span(), format!("any_of of {field} is {}: expected a list, or use equals", type_name(other))))
        }
        _ => Ok(vec![text(value)?]),
    }
}

/// Parses each operand. An error has the operand's position.
fn each<T>(
    operands: &[(Range<usize>, String)],
    mut parse: impl FnMut(&str) -> Result<T, String>,
) -> Result<Vec<T>, ConditionError> {
    operands.iter().map(|(span, text)| parse(text).map_err(|what| (span.clone(), what))).collect()
}

/// Parses `10.0.0.0/8`, or an address, which is a network of one address.
fn network(text: &str) -> Result<IpNet, String> {
    let invalid =
        || format!("{} is not a network: expected an address with a prefix length, such as 10.0.0.0/8", shown(text));
    let network: IpNet = match text.parse::<std::net::IpAddr>() {
        Ok(address) => address.into(),
        Err(_) => text.parse().map_err(|_| invalid())?,
    };
    if network.trunc() != network {
        return Err(format!("{text} has bits set after its prefix: did you mean {}?", network.trunc()));
    }
    Ok(network)
}

fn get<'t, 'v>(table: &'t FileTable<'v>, name: &str) -> Option<&'t Value<'v>> {
    table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value)
}

/// Returns the text in quotes, cut to 60 characters.
fn shown(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    let mut start: String = text.chars().take(MAX_CHARS).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    format!("{start:?}")
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(text) if text.trim().is_empty() => "an empty text",
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a decimal point",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
