//! Policy documents of resources: whether a statement allows or denies an action to a principal. Pure.
//!
//! The evaluation is not complete. Of the conditions, only `aws:SourceArn` is compared: an `Allow` with other conditions
//! counts, and a `Deny` with conditions does not. The policies of the principal's account are not read.

use serde_json::Value;

/// A request that a resource's policy should allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PolicyRequest<'r> {
    /// ARN of a role, or a service such as `s3.amazonaws.com`.
    pub(crate) principal: &'r str,
    /// Action, such as `sqs:SendMessage`.
    pub(crate) action: &'r str,
    /// ARN of the resource.
    pub(crate) resource: &'r str,
    /// ARN of the resource on whose behalf a service sends, compared with the condition on `aws:SourceArn`.
    pub(crate) source: Option<&'r str>,
}

/// What a resource's policy says about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PolicyDecision {
    /// A statement allows it. Contains the condition keys of the statement, apart from `aws:SourceArn`.
    Allowed {
        /// Condition keys, which are not evaluated.
        conditions: Vec<String>,
    },
    /// A statement without conditions denies it.
    Denied {
        /// The statement's `Sid`, or its number.
        statement: String,
    },
    /// A statement allows the action, but to another source.
    OtherSource {
        /// The sources that are allowed.
        sources: Vec<String>,
    },
    /// No statement mentions it.
    NotMentioned,
}

/// Evaluates a request against a policy document.
///
/// # Errors
/// The document is not JSON.
pub(crate) fn evaluate_policy(document: &str, request: &PolicyRequest<'_>) -> Result<PolicyDecision, String> {
    let document: Value = serde_json::from_str(document).map_err(|error| format!("the policy is not JSON: {error}"))?;
    let mut allowed: Option<Vec<String>> = None;
    let mut sources = Vec::new();
    for (number, statement) in list(&document["Statement"]).into_iter().enumerate() {
        if !mentions(statement, request) {
            continue;
        }
        let conditions = conditions(statement);
        match statement["Effect"].as_str() {
            Some("Deny") if conditions.is_empty() => {
                let statement =
                    statement["Sid"].as_str().map_or_else(|| format!("statement {}", number + 1), str::to_owned);
                return Ok(PolicyDecision::Denied { statement });
            }
            Some("Allow") => {
                let named = source_patterns(&conditions);
                match request.source {
                    Some(source) if !named.is_empty() && !named.iter().any(|pattern| matches(pattern, source)) => {
                        sources.extend(named);
                    }
                    _ => {
                        let mut keys: Vec<String> = conditions.into_iter().map(|(key, _)| key).collect();
                        keys.retain(|key| !key.eq_ignore_ascii_case("aws:SourceArn"));
                        // The statement with the fewest conditions is reported.
                        if allowed.as_ref().is_none_or(|before| keys.len() < before.len()) {
                            allowed = Some(keys);
                        }
                    }
                }
            }
            _ => {}
        }
    }
    Ok(match allowed {
        Some(conditions) => PolicyDecision::Allowed { conditions },
        None if !sources.is_empty() => PolicyDecision::OtherSource { sources },
        None => PolicyDecision::NotMentioned,
    })
}

fn mentions(statement: &Value, request: &PolicyRequest<'_>) -> bool {
    let any = |name: &str, text: &str, fold: bool| {
        texts(&statement[name]).iter().any(|pattern| match fold {
            true => matches(&pattern.to_ascii_lowercase(), &text.to_ascii_lowercase()),
            false => matches(pattern, text),
        })
    };
    let action = any("Action", request.action, true)
        || (statement.get("NotAction").is_some() && !any("NotAction", request.action, true));
    let resource = any("Resource", request.resource, false)
        || (statement.get("NotResource").is_some() && !any("NotResource", request.resource, false));
    let principal = match (statement.get("Principal"), statement.get("NotPrincipal")) {
        (Some(principal), _) => names_principal(principal, request.principal),
        (None, Some(principal)) => !names_principal(principal, request.principal),
        (None, None) => false,
    };
    action && resource && principal
}

/// Returns whether a `Principal` element names the principal, its account or everyone.
fn names_principal(element: &Value, principal: &str) -> bool {
    let account = principal.split(':').nth(4);
    let names = |name: &str| {
        name == "*"
            || name == principal
            || account.is_some_and(|account| {
                name == account || (name.starts_with("arn:") && name.ends_with(&format!(":iam::{account}:root")))
            })
    };
    match element {
        Value::String(name) => names(name),
        Value::Object(kinds) => kinds.values().any(|kind| texts(kind).iter().any(|name| names(name))),
        _ => false,
    }
}

/// Returns the condition keys of a statement with their values.
fn conditions(statement: &Value) -> Vec<(String, Vec<String>)> {
    let operators = statement["Condition"].as_object().into_iter().flat_map(|operators| operators.values());
    let keys = operators.filter_map(Value::as_object).flatten();
    keys.map(|(key, values)| (key.clone(), texts(values))).collect()
}

fn source_patterns(conditions: &[(String, Vec<String>)]) -> Vec<String> {
    let sources = conditions.iter().filter(|(key, _)| key.eq_ignore_ascii_case("aws:SourceArn"));
    sources.flat_map(|(_, values)| values.clone()).collect()
}

fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(all) => all.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

fn texts(value: &Value) -> Vec<String> {
    list(value).into_iter().filter_map(|each| each.as_str().map(str::to_owned)).collect()
}

/// Returns whether a text matches a pattern with `*` and `?`.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Position after the last star, and the text position up to which the star extends.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p + 1, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((after, end)) = star {
            (p, t) = (after, end + 1);
            star = Some((after, end + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const QUEUE: &str = "arn:aws:sqs:eu-west-1:111122223333:q";
    const ROLE: &str = "arn:aws:iam::111122223333:role/ingest";

    fn send(source: Option<&'static str>) -> PolicyRequest<'static> {
        PolicyRequest { principal: "s3.amazonaws.com", action: "sqs:SendMessage", resource: QUEUE, source }
    }

    fn get(principal: &'static str) -> PolicyRequest<'static> {
        PolicyRequest { principal, action: "s3:GetObject", resource: "arn:aws:s3:::logs/AWSLogs/x", source: None }
    }

    fn decision(statements: Value, request: &PolicyRequest<'_>) -> PolicyDecision {
        evaluate_policy(&json!({ "Version": "2012-10-17", "Statement": statements }).to_string(), request).unwrap()
    }

    #[test]
    fn source_of_a_service_is_compared() {
        let statement = json!({
            "Effect": "Allow", "Principal": { "Service": "s3.amazonaws.com" }, "Action": "sqs:SendMessage", "Resource": QUEUE,
            "Condition": {
                "ArnEquals": { "aws:SourceArn": "arn:aws:s3:::logs" },
                "StringEquals": { "aws:SourceAccount": "111122223333" }
            }
        });
        let allowed = PolicyDecision::Allowed { conditions: vec!["aws:SourceAccount".into()] };
        assert_eq!(decision(statement.clone(), &send(Some("arn:aws:s3:::logs"))), allowed);
        assert_eq!(
            decision(statement.clone(), &send(Some("arn:aws:s3:::other"))),
            PolicyDecision::OtherSource { sources: vec!["arn:aws:s3:::logs".into()] }
        );
        let topic = PolicyRequest { principal: "sns.amazonaws.com", ..send(None) };
        assert_eq!(decision(statement, &topic), PolicyDecision::NotMentioned);
        assert_eq!(decision(json!([]), &send(None)), PolicyDecision::NotMentioned);
    }

    #[test]
    fn unconditional_denial_takes_precedence() {
        let allow = json!({ "Effect": "Allow", "Principal": { "AWS": ROLE }, "Action": ["s3:Get*"], "Resource": "arn:aws:s3:::logs/*" });
        let deny = json!({ "Sid": "Locked", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*" });
        let no_tls = json!({
            "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*",
            "Condition": { "Bool": { "aws:SecureTransport": "false" } }
        });
        let allowed = PolicyDecision::Allowed { conditions: vec![] };
        assert_eq!(decision(json!([allow, no_tls]), &get(ROLE)), allowed);
        assert_eq!(decision(json!([allow, deny]), &get(ROLE)), PolicyDecision::Denied { statement: "Locked".into() });
        assert_eq!(
            decision(json!([allow]), &get("arn:aws:iam::111122223333:role/other")),
            PolicyDecision::NotMentioned
        );
    }

    #[test]
    fn account_of_the_principal_counts_as_the_principal() {
        for principal in
            [json!("*"), json!({ "AWS": "111122223333" }), json!({ "AWS": ["arn:aws:iam::111122223333:root"] })]
        {
            let statement =
                json!([{ "Effect": "Allow", "Principal": principal, "NotAction": "s3:Put*", "Resource": "*" }]);
            assert_eq!(decision(statement, &get(ROLE)), PolicyDecision::Allowed { conditions: vec![] });
        }
        let other = json!([{ "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::444455556666:root" }, "Action": "*", "Resource": "*" }]);
        assert_eq!(decision(other, &get(ROLE)), PolicyDecision::NotMentioned);
    }

    #[test]
    fn wildcards_match_as_in_policies() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("", "a", false),
            ("arn:aws:s3:::logs/*", "arn:aws:s3:::logs", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
