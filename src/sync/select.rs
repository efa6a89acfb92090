//! Select: which objects of a bucket are meant, by what their keys say. Pure.

use crate::object::key::{Foreign, Kind, Recognised, recognise};
use jiff::civil::Date;

/// Which objects are meant. The default: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Select {
    /// Delivered on this day (UTC) or later.
    pub since: Option<Date>,
    /// Delivered on this day (UTC) or earlier.
    pub until: Option<Date>,
    /// Of one of these accounts; of any, if there is none.
    pub accounts: Vec<String>,
    /// Of one of these regions; of any, if there is none.
    pub regions: Vec<String>,
    /// Of one of these kinds; of any, if there is none.
    pub kinds: Vec<Kind>,
    /// Not those whose key starts with this: the destination, where it lies within the source.
    pub except: Option<String>,
}

/// Whether an object is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// It is, or it is nothing that could be selected: ingest says what it is.
    Take,
    /// It is not.
    LeaveOut,
    /// CloudTrail's, of a kind that is not known here: its key does not say what the selection asks. Not read, and not
    /// passed over in silence.
    Unsaid,
}

impl Select {
    /// Whether the object of this key is meant.
    pub fn choose(&self, key: &str) -> Choice {
        if self.except.as_ref().is_some_and(|except| key.starts_with(except)) {
            return Choice::LeaveOut;
        }
        match recognise(key) {
            Recognised::Log { kind, account, region, date } => {
                let meant = self.since.is_none_or(|since| date >= since)
                    && self.until.is_none_or(|until| date <= until)
                    && (self.accounts.is_empty() || self.accounts.iter().any(|wanted| wanted == account))
                    && (self.regions.is_empty() || self.regions.iter().any(|wanted| wanted == region))
                    && (self.kinds.is_empty() || self.kinds.contains(&kind));
                if meant { Choice::Take } else { Choice::LeaveOut }
            }
            Recognised::Foreign(Foreign::Kind) if self.selects() => Choice::Unsaid,
            Recognised::Foreign(_) | Recognised::Digest => Choice::Take,
        }
    }

    /// Whether anything is asked of a key.
    pub fn selects(&self) -> bool {
        let Self { since, until, accounts, regions, kinds, except: _ } = self;
        since.is_some() || until.is_some() || !(accounts.is_empty() && regions.is_empty() && kinds.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn key(account: &str, kind: &str, region: &str, day: &str) -> String {
        let (folder, stamp) = (day.replace('-', "/"), day.replace('-', ""));
        format!(
            "AWSLogs/{account}/{kind}/{region}/{folder}/{account}_{kind}_{region}_{stamp}T0000Z_aBcDeFgH12345678.json.gz"
        )
    }

    #[test]
    fn the_days_are_inclusive_and_those_of_the_delivery() {
        let select = Select { since: Some(date(2026, 11, 1)), until: Some(date(2026, 11, 2)), ..Select::default() };
        for (day, choice) in [
            ("2026-10-31", Choice::LeaveOut),
            ("2026-11-01", Choice::Take),
            ("2026-11-02", Choice::Take),
            ("2026-11-03", Choice::LeaveOut),
        ] {
            assert_eq!(select.choose(&key("111122223333", "CloudTrail", "eu-west-1", day)), choice, "{day}");
        }
    }

    #[test]
    fn one_of_each_list_is_enough_and_each_list_must_have_one() {
        let select = Select {
            accounts: vec!["111122223333".into(), "444455556666".into()],
            regions: vec!["eu-west-1".into()],
            kinds: vec![Kind::CloudTrail, Kind::Insight],
            ..Select::default()
        };
        let choose = |account, kind, region| select.choose(&key(account, kind, region, "2026-11-01"));
        assert_eq!(choose("444455556666", "CloudTrail-Insight", "eu-west-1"), Choice::Take);
        assert_eq!(choose("999999999999", "CloudTrail", "eu-west-1"), Choice::LeaveOut);
        assert_eq!(choose("111122223333", "CloudTrail", "us-east-1"), Choice::LeaveOut);
        assert_eq!(choose("111122223333", "CloudTrail-NetworkActivity", "eu-west-1"), Choice::LeaveOut);
    }

    #[test]
    fn what_is_no_log_is_ingests_to_name_and_a_new_kind_is_never_passed_over_in_silence() {
        let asks = Select { since: Some(date(2026, 11, 1)), ..Select::default() };
        let new = key("111122223333", "CloudTrail-New", "eu-west-1", "2026-10-01");
        assert_eq!(asks.choose("notes.txt"), Choice::Take);
        assert_eq!(asks.choose(&new), Choice::Unsaid);
        assert_eq!(Select::default().choose(&new), Choice::Take);
    }

    #[test]
    fn the_destination_within_the_source_is_left_out() {
        let select = Select { except: Some("out/".into()), ..Select::default() };
        assert_eq!(select.choose("out/a.json"), Choice::LeaveOut);
        assert_eq!(select.choose("outer/a.json"), Choice::Take);
        assert!(!select.selects());
    }
}
