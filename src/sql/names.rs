//! Names of columns with dots, such as `userIdentity.arn`, in a statement.
//!
//! SQLite requires double quotes around such names. This module adds them, so that a column has the same name in SQL and in
//! plans.

use super::table;

/// A statement in which the names of columns with dots have quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QuotedStatement {
    pub(super) text: String,
    /// The offsets of the added quotes in `text`.
    quotes: Vec<usize>,
}

impl QuotedStatement {
    /// Returns the offset in the original statement.
    pub(super) fn original_offset(&self, offset: usize) -> usize {
        offset - self.quotes.iter().filter(|&&quote| quote < offset).count()
    }

    fn quote(&mut self) {
        self.quotes.push(self.text.len());
        self.text.push('"');
    }
}

/// Adds quotes around names of columns with dots. Texts, comments and names in quotes are not changed.
pub(super) fn quote_dotted(statement: &str) -> QuotedStatement {
    let dotted: Vec<String> =
        table::columns().into_iter().map(|column| column.name).filter(|name| name.contains('.')).collect();
    let mut quoted = QuotedStatement { text: String::with_capacity(statement.len() + 16), quotes: Vec::new() };
    let mut rest = statement;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' | '`' => quoted_length(rest, first),
            '[' => rest.find(']').map_or(rest.len(), |end| end + 1),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest[2..].find("*/").map_or(rest.len(), |end| end + 4),
            _ if is_name(first) => {
                let length = rest.find(|c| !is_name(c) && c != '.').unwrap_or(rest.len());
                push_names(&mut quoted, &rest[..length], &dotted);
                rest = &rest[length..];
                continue;
            }
            _ => first.len_utf8(),
        };
        quoted.text.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    quoted
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Returns the length of a text or name in quotes. A doubled quote is a part of it.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    text.len()
}

/// Appends names that are separated by dots, such as a column with or without the name of its table.
fn push_names(quoted: &mut QuotedStatement, names: &str, dotted: &[String]) {
    let is_column = |name: &str| dotted.iter().any(|column| column.eq_ignore_ascii_case(name));
    let (table, column) = match names.split_once('.') {
        _ if is_column(names) => ("", names),
        Some((table, column)) if is_column(column) => (&names[..=table.len()], column),
        _ => (names, ""),
    };
    quoted.text.push_str(table);
    if !column.is_empty() {
        quoted.quote();
        quoted.text.push_str(column);
        quoted.quote();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_with_dots_get_quotes_outside_of_texts_and_comments() {
        for (statement, expected) in [
            ("SELECT userIdentity.arn FROM events", r#"SELECT "userIdentity.arn" FROM events"#),
            ("SELECT e.USERIDENTITY.ARN", r#"SELECT e."USERIDENTITY.ARN""#),
            ("SELECT 'userIdentity.arn'", "SELECT 'userIdentity.arn'"),
            (
                "SELECT 'it''s userIdentity.arn', tlsDetails.tlsVersion",
                r#"SELECT 'it''s userIdentity.arn', "tlsDetails.tlsVersion""#,
            ),
            (r#"SELECT "userIdentity.arn""#, r#"SELECT "userIdentity.arn""#),
            ("SELECT [userIdentity.arn], `userIdentity.arn`", "SELECT [userIdentity.arn], `userIdentity.arn`"),
            ("-- userIdentity.arn\n/* userIdentity.arn */", "-- userIdentity.arn\n/* userIdentity.arn */"),
            ("SELECT requestParameters.x, 1.5, e.eventName", "SELECT requestParameters.x, 1.5, e.eventName"),
            ("SELECT 'open userIdentity.arn", "SELECT 'open userIdentity.arn"),
            ("ü.userIdentity.arn/*", "ü.\"userIdentity.arn\"/*"),
        ] {
            assert_eq!(quote_dotted(statement).text, expected, "{statement}");
        }
    }

    #[test]
    fn offsets_are_those_of_the_original_statement() {
        let statement = "SELECT userIdentity.arn, x";
        let quoted = quote_dotted(statement);
        let at = quoted.text.find('x').unwrap();
        assert_eq!(quoted.original_offset(at), statement.find('x').unwrap());
        assert_eq!(quoted.original_offset(0), 0);
    }
}
