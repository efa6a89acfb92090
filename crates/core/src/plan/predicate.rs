//! The predicate of a plan: a boolean expression of tests.

use super::{PlanError, QueryField};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Maximum nesting depth of predicates.
pub const MAX_PREDICATE_DEPTH: usize = 64;

/// Maximum number of predicates and values of a plan.
const MAX_SIZE: usize = 10_000;

/// A boolean expression. An event fulfills it or does not; there is no third truth value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Predicate {
    /// All predicates. Without predicates, every event fulfills it.
    All(Vec<Predicate>),
    /// At least one predicate. Without predicates, no event fulfills it.
    Any(Vec<Predicate>),
    /// The predicate does not hold.
    Not(Box<Predicate>),
    /// The value of the field passes the test.
    Field(QueryField, ValueTest),
    /// This text occurs in a value of the event at any depth. Names of fields are not values. The comparison is
    /// case-sensitive.
    Anywhere(String),
}

/// A test of the value of a field. Texts are compared case-sensitively, except by [`ValueTest::Contains`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueTest {
    /// The value is one of these.
    Equals(Vec<String>),
    /// The value starts with one of these.
    Prefix(Vec<String>),
    /// The value ends with one of these.
    Suffix(Vec<String>),
    /// The value contains one of these. The case of ASCII letters is ignored.
    Contains(Vec<String>),
    /// The value is an IP address in one of these networks.
    Cidr(Vec<Network>),
    /// The field is missing or `null`.
    Null,
    /// The value equals the value of this field.
    SameAs(QueryField),
}

/// A network of IP addresses. It contains addresses of its own IP version only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_length: u8,
}

impl Predicate {
    /// Returns the predicate that holds for every event.
    pub fn always() -> Self {
        Self::All(Vec::new())
    }

    /// Returns the predicate that a field has this value.
    pub fn equals(field: impl Into<QueryField>, value: impl Into<String>) -> Self {
        Self::Field(field.into(), ValueTest::Equals(vec![value.into()]))
    }

    /// Returns the negation of this predicate.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// Checks the depth, the number of predicates and values, and the values of the tests.
    pub(super) fn check(&self) -> Result<(), PlanError> {
        let mut size = 0;
        self.check_at(0, &mut size)
    }

    fn check_at(&self, depth: usize, size: &mut usize) -> Result<(), PlanError> {
        if depth > MAX_PREDICATE_DEPTH {
            return Err(PlanError::new(format!("predicates are nested more than {MAX_PREDICATE_DEPTH} deep")));
        }
        *size += 1;
        match self {
            Self::All(inner) | Self::Any(inner) => {
                for predicate in inner {
                    predicate.check_at(depth + 1, size)?;
                }
            }
            Self::Not(inner) => inner.check_at(depth + 1, size)?,
            Self::Anywhere(text) if text.is_empty() => {
                return Err(PlanError::new("the text to find anywhere in the event is empty"));
            }
            Self::Anywhere(_) => {}
            Self::Field(field, test) => {
                let values = test.check().map_err(|what| PlanError::new(format!("{field}: {what}")))?;
                *size += values;
            }
        }
        if *size > MAX_SIZE {
            return Err(PlanError::new(format!("the plan has more than {MAX_SIZE} predicates and values: use fewer")));
        }
        Ok(())
    }
}

impl ValueTest {
    /// Checks the values and returns their number.
    fn check(&self) -> Result<usize, &'static str> {
        let values = match self {
            Self::Equals(values) => values,
            Self::Prefix(values) | Self::Suffix(values) | Self::Contains(values) => {
                if values.iter().any(String::is_empty) {
                    return Err("an empty text matches every value: use at least one character");
                }
                values
            }
            Self::Cidr(networks) if networks.is_empty() => return Err("a test needs at least one value"),
            Self::Cidr(networks) => return Ok(networks.len()),
            Self::Null | Self::SameAs(_) => return Ok(1),
        };
        if values.is_empty() {
            return Err("a test needs at least one value");
        }
        Ok(values.len())
    }
}

impl Network {
    /// Returns the lowest address.
    pub fn first(self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask_v4(self.prefix_length))),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask_v6(self.prefix_length))),
        }
    }

    /// Returns the number of leading bits that all addresses have in common.
    pub fn prefix_length(self) -> u8 {
        self.prefix_length
    }

    /// Returns whether an address is in the network.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()) & mask_v4(self.prefix_length) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()) & mask_v6(self.prefix_length) == 0
            }
            _ => false,
        }
    }
}

fn mask_v4(prefix_length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix_length)).unwrap_or(0)
}

fn mask_v6(prefix_length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix_length)).unwrap_or(0)
}

impl FromStr for Network {
    type Err = PlanError;

    /// Parses `10.0.0.0/8`, or an address, which is a network of one address.
    fn from_str(text: &str) -> Result<Self, PlanError> {
        let invalid = || PlanError::new(format!("{text:?} is not a network: expected for example 10.0.0.0/8"));
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix_length = length.map_or(Ok(bits), |length| length.parse().map_err(|_| invalid()))?;
        if prefix_length > bits {
            return Err(invalid());
        }
        Ok(Self { address, prefix_length })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_length)
    }
}
