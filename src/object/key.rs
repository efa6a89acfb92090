//! The CloudTrail key grammar.
