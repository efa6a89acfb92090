//! Checks the name of a region that a person typed.
//!
//! Keys are recognized with the looser [`super::key`] grammar, so that the objects of a new region are read without a
//! change of this program. A typed name is checked more strictly, because a misspelled region selects nothing.

use crate::suggest;

/// The words before the compass direction, one for each geography and partition.
const GEOGRAPHIES: [&str; 17] = [
    "af", "ap", "ca", "cn", "eu", "eu-isoe", "eusc-de", "il", "me", "mx", "sa", "us", "us-gov", "us-iso", "us-isob",
    "us-isof", "us-isog",
];

/// The compass directions that AWS uses.
const DIRECTIONS: [&str; 9] =
    ["central", "east", "north", "northeast", "northwest", "south", "southeast", "southwest", "west"];

/// Regions to suggest. A region that is missing here is accepted if its words are known.
const REGIONS: [&str; 38] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eusc-de-east-1",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-west-1",
    "us-west-1",
    "us-west-2",
];

/// Checks that the text names a region: a known geography, a compass direction and a number, for example `eu-west-1`.
/// Any number is accepted, because it may belong to a region that this program does not know.
///
/// # Errors
/// A message with the expected form, and the most similar region.
pub fn check(text: &str) -> Result<(), String> {
    let is_region = || {
        let (words, number) = text.rsplit_once('-')?;
        let (geography, direction) = words.rsplit_once('-')?;
        let is_number = !number.is_empty() && number.len() <= 2 && number.bytes().all(|byte| byte.is_ascii_digit());
        (is_number && GEOGRAPHIES.contains(&geography) && DIRECTIONS.contains(&direction)).then_some(())
    };
    is_region().ok_or_else(|| {
        let hint = suggest::did_you_mean(text, REGIONS);
        format!("unknown region {text:?}: expected a region such as eu-west-1{hint}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_words_with_any_number_are_accepted() {
        for region in REGIONS.into_iter().chain(["eu-west-9", "us-gov-east-1", "us-iso-west-1", "us-isob-east-1"]) {
            assert_eq!(check(region), Ok(()), "{region}");
        }
    }

    #[test]
    fn misspelled_region_is_rejected_with_a_suggestion() {
        for (text, hint) in [
            ("eu-wset-1", "; did you mean eu-west-1?"),
            ("EU-West-1", "; did you mean eu-west-1?"),
            ("eu-west1", "; did you mean eu-west-1?"),
            ("us-east-1a", "; did you mean us-east-1?"),
            ("ireland", ""),
            ("", ""),
        ] {
            let expected = format!("unknown region {text:?}: expected a region such as eu-west-1{hint}");
            assert_eq!(check(text), Err(expected));
        }
    }
}
