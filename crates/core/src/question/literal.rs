//! Words that are recognized by their form: access keys, account IDs, addresses, regions, resource IDs.

use crate::plan::Network;
use std::str::FromStr as _;

/// A word that is recognized by its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Literal {
    AccessKey(String),
    Account(String),
    /// An address, or a network with a prefix length.
    Address(Network),
    Region(String),
    /// `i-…`, `sg-…`, with the name of the family that it belongs to.
    ResourceId(String, &'static str),
    Uuid(String),
    Arn(String),
    Email(String),
}

/// Prefixes of resource IDs, and their families: empty for a resource without a family.
const RESOURCES: &[(&str, &str)] = &[
    ("i", "instance"),
    ("sg", "security group"),
    ("sgr", "security group rule"),
    ("vol", "volume"),
    ("snap", "snapshot"),
    ("ami", "ami"),
    ("vpc", "vpc"),
    ("subnet", "subnet"),
    ("rtb", "route table"),
    ("acl", "network acl"),
    ("eipalloc", "elastic ip"),
    ("vpn", "vpn connection"),
    ("fl", "flow log"),
    ("key", "key pair"),
    ("eni", ""),
    ("igw", ""),
    ("nat", ""),
    ("lt", ""),
    ("pcx", ""),
    ("vpce", ""),
    ("tgw", ""),
    ("vgw", ""),
    ("cgw", ""),
    ("dopt", ""),
    ("fs", ""),
    ("r", ""),
];

/// Parts of region names between the country and the number.
const DIRECTIONS: &[&str] =
    &["north", "south", "east", "west", "central", "northeast", "northwest", "southeast", "southwest"];

impl Literal {
    /// Recognizes a word. `None` for other words.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let upper = |text: &str| text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        if text.len() >= 20 && (text.starts_with("AKIA") || text.starts_with("ASIA")) && text.len() <= 32 && upper(text)
        {
            return Some(Self::AccessKey(text.to_owned()));
        }
        if text.starts_with("arn:") && text.split(':').count() >= 6 {
            return Some(Self::Arn(text.to_owned()));
        }
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let has_account_form = text.len() == 12 || (text.len() == 14 && text.split('-').all(|part| part.len() == 4));
        if has_account_form && digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(Self::Account(digits));
        }
        if text.contains(['.', ':'])
            && let Ok(network) = Network::from_str(text)
        {
            return Some(Self::Address(network));
        }
        if is_region(&text.to_lowercase()) {
            return Some(Self::Region(text.to_lowercase()));
        }
        if text.len() == 36 && uuid::Uuid::try_parse(text).is_ok() {
            return Some(Self::Uuid(text.to_owned()));
        }
        if let Some((prefix, id)) = text.split_once('-')
            && let Some((_, family)) = RESOURCES.iter().find(|(known, _)| *known == prefix)
            && id.len() >= 4
            && id.bytes().all(|byte| byte.is_ascii_hexdigit())
            && id.bytes().any(|byte| byte.is_ascii_digit())
        {
            return Some(Self::ResourceId(text.to_owned(), family));
        }
        if let Some((name, domain)) = text.split_once('@')
            && !name.is_empty()
            && domain.contains('.')
        {
            return Some(Self::Email(text.to_owned()));
        }
        None
    }
}

fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let (Some((last, rest)), Some(first)) = (parts.split_last(), parts.first()) else { return false };
    let is_number = last.len() == 1 && last.bytes().all(|byte| byte.is_ascii_digit());
    let direction = rest.get(1..).unwrap_or_default().iter().filter(|part| DIRECTIONS.contains(part)).count();
    let is_partition = |part: &&str| ["gov", "iso", "isob", "isoe", "isof"].contains(part);
    let others = rest.get(1..).unwrap_or_default().iter().filter(|part| is_partition(part)).count();
    is_number && direction == 1 && first.len() <= 5 && direction + others + 2 == parts.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_recognized_by_their_form() {
        for (text, expected) in [
            ("AKIAIOSFODNN7EXAMPLE", Some("AccessKey")),
            ("akiaiosfodnn7example", None),
            ("111122223333", Some("Account")),
            ("1111-2222-3333", Some("Account")),
            ("11112222333", None),
            ("192.0.2.1", Some("Address")),
            ("10.0.0.0/8", Some("Address")),
            ("2001:db8::1", Some("Address")),
            ("10.0.0.0/40", None),
            ("eu-west-1", Some("Region")),
            ("us-gov-east-1", Some("Region")),
            ("eu-west-12", None),
            ("my-bucket-1", None),
            ("i-0a1b2c3d4e5f67890", Some("ResourceId")),
            ("i-am-here", None),
            ("3270e016-59a1-4448-8dd1-d27a4796502d", Some("Uuid")),
            ("arn:aws:s3:::reports", Some("Arn")),
            ("alice@example.com", Some("Email")),
            ("reports-prod", None),
        ] {
            let found = Literal::parse(text).map(|literal| format!("{literal:?}"));
            assert_eq!(found.as_deref().and_then(|found| found.split('(').next()), expected, "{text}");
        }
    }
}
