//! The description of a rule, and the reason why a document is not a rule.

use std::fmt;

/// A valid Sigma rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetectionRule {
    /// The ID that the rule states. Unique within a rule set.
    pub id: String,
    /// The name by which filter documents can refer to the rule.
    pub name: Option<String>,
    /// What the rule detects, in a few words.
    pub title: String,
    /// How severe a match is. [`RuleLevel::Medium`] if the rule states no level.
    pub level: RuleLevel,
    /// Who wrote the rule.
    pub author: Option<String>,
    /// The license of the rule's text.
    pub license: Option<String>,
    /// What the rule detects, in sentences.
    pub description: Option<String>,
    /// Pages about what the rule detects.
    pub references: Vec<String>,
    /// ATT&CK tactics and techniques and other tags, such as `attack.t1562.008`.
    pub tags: Vec<String>,
    /// What can match without being an attack.
    pub false_positives: Vec<String>,
    /// The SHA-256 hash of the rule file's bytes in hexadecimal digits. A finding names the version that matched.
    pub version: String,
    /// The values of `eventName` that can match. A name that ends with `*` is a prefix. Empty if events of every name can
    /// match.
    pub event_names: Vec<String>,
    /// The values of `eventSource` that can match, in the same form.
    pub event_sources: Vec<String>,
    /// A message for each field that no event of CloudTrail has. A condition on such a field is not fulfilled, except `null`
    /// and `exists: false`.
    pub unknown_fields: Vec<String>,
    /// The name of the file.
    pub file: String,
    /// The line of the file on which the rule's document starts. The first line is 1.
    pub line: usize,
}

/// How severe a match is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum RuleLevel {
    /// Adds information to other findings.
    Informational,
    /// Rarely an incident.
    Low,
    /// Must be reviewed.
    #[default]
    Medium,
    /// Must be reviewed soon.
    High,
    /// Must be reviewed at once.
    Critical,
}

impl RuleLevel {
    /// Returns the level with this name in a rule file.
    pub fn parse(name: &str) -> Option<Self> {
        let levels = [Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical];
        levels.into_iter().find(|level| level.as_str() == name)
    }

    /// Returns the level's name in a rule file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl From<rsigma_parser::Level> for RuleLevel {
    fn from(level: rsigma_parser::Level) -> Self {
        match level {
            rsigma_parser::Level::Informational => Self::Informational,
            rsigma_parser::Level::Low => Self::Low,
            rsigma_parser::Level::Medium => Self::Medium,
            rsigma_parser::Level::High => Self::High,
            rsigma_parser::Level::Critical => Self::Critical,
        }
    }
}

impl fmt::Display for RuleLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A document that is not a valid rule or filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidRule {
    /// The name of the file.
    pub file: String,
    /// The line of the defect, or the first line of the document if the line is not known. The first line is 1.
    pub line: usize,
    /// What is invalid, and what to write instead.
    pub reason: String,
}

impl fmt::Display for InvalidRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.reason)
    }
}

impl std::error::Error for InvalidRule {}
