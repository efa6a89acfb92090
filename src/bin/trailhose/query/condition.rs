//! Conditions such as `requestParameters.bucketName=reports-prod`.

use trailhose::plan::{Network, Predicate, QueryField, ValueTest};

/// Parses the condition of `--where` or `--not`.
pub(crate) fn parse(text: &str) -> Result<Predicate, String> {
    let invalid = |what: &str| format!("invalid condition {text:?}: {what}");
    let field = |name: &str| name.parse::<QueryField>().map_err(|error| invalid(&error.to_string()));
    let Some((left, value)) = text.split_once('=') else {
        return Ok(match text.strip_prefix('!') {
            Some(name) => Predicate::Field(field(name)?, ValueTest::Null),
            None => Predicate::Field(field(text)?, ValueTest::Null).negated(),
        });
    };
    let one = || vec![value.to_owned()];
    let (name, test, is_negated) = match left.split_at_checked(left.len().saturating_sub(1)) {
        Some((name, "!")) => (name, ValueTest::Equals(one()), true),
        Some((name, "^")) => (name, ValueTest::Prefix(one()), false),
        Some((name, "$")) => (name, ValueTest::Suffix(one()), false),
        Some((name, "~")) => (name, ValueTest::Contains(one()), false),
        Some((name, "@")) => {
            let network: Network = value.parse().map_err(|error| invalid(&format!("{error}")))?;
            (name, ValueTest::Cidr(vec![network]), false)
        }
        _ => (left, ValueTest::Equals(one()), false),
    };
    let predicate = Predicate::Field(field(name)?, test);
    Ok(if is_negated { predicate.negated() } else { predicate })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_parsed_by_their_operator() {
        let test = |text: &str| match parse(text).unwrap() {
            Predicate::Field(field, test) => (field.to_string(), Some(test)),
            Predicate::Not(inner) => match *inner {
                Predicate::Field(field, _) => (field.to_string(), None),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        let one = |value: &str| vec![value.to_owned()];
        let bucket = "requestParameters.bucketName";
        assert_eq!(test("requestParameters.bucketName=a=b"), (bucket.into(), Some(ValueTest::Equals(one("a=b")))));
        assert_eq!(test("requestParameters.bucketName^=a"), (bucket.into(), Some(ValueTest::Prefix(one("a")))));
        assert_eq!(test("requestParameters.bucketName$=a"), (bucket.into(), Some(ValueTest::Suffix(one("a")))));
        assert_eq!(test("userAgent~=boto"), ("userAgent".into(), Some(ValueTest::Contains(one("boto")))));
        assert_eq!(test("!errorCode"), ("errorCode".into(), Some(ValueTest::Null)));
        assert_eq!(test("errorCode"), ("errorCode".into(), None));
        assert_eq!(test("errorCode!=AccessDenied"), ("errorCode".into(), None));
        let network = ValueTest::Cidr(vec!["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(test("sourceIPAddress@=10.0.0.0/8"), ("sourceIPAddress".into(), Some(network)));
        for (text, expected) in [
            ("eventname=x", "did you mean eventName?"),
            ("=x", "unknown field"),
            ("sourceIPAddress@=x", "is not a network"),
            ("", "unknown field"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
