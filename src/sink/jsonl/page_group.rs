//! Which files can contain the events of a ledger page.
//!
//! The ledger does not record the file of an event. If an event names its account and its region, they and its time
//! determine both its page and its partition. Otherwise the partition may depend on the object that delivered the
//! event, and only the date is known.

use super::partition::{date, folder_value};
use crate::ledger::model::page::PageName;

/// A group of pages whose events can be in the same files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum PageGroup {
    /// Pages whose events are in files of this partition.
    Partition(String),
    /// Pages whose events are in files of any partition with this date.
    Date(String),
}

impl PageGroup {
    /// Returns the group of a page.
    pub(super) fn of_page(page: &PageName) -> Self {
        let mut parts = page.0.splitn(3, '/');
        let (account, region) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let bucket = parts.next().unwrap_or_default().split(['+', '~']).next().unwrap_or_default();
        let date = date(bucket.parse().ok());
        // A page's name contains a hash instead of an unusual value, and the folder of that value is unknown.
        // `folder_value` marks such values with `~`.
        let folders = [account, region].map(|text| (!text.is_empty()).then(|| folder_value(text)));
        match folders {
            [Some(account), Some(region)] if !account.contains('~') && !region.contains('~') => {
                Self::Partition(format!("account={account}/region={region}/date={date}"))
            }
            _ => Self::Date(date),
        }
    }

    /// Returns the groups of the pages whose events can be in a file of this partition.
    pub(super) fn of_partition(partition: &str) -> [Self; 2] {
        [Self::Partition(partition.to_owned()), Self::Date(date_of(partition).to_owned())]
    }

    /// Returns whether a file of this partition can contain events of this group.
    pub(super) fn contains(&self, partition: &str) -> bool {
        match self {
            Self::Partition(own) => own == partition,
            Self::Date(date) => date_of(partition) == date,
        }
    }

    /// Returns a prefix of the names of all pages of this group. Pages of other groups can have the same prefix.
    pub(super) fn page_prefix(&self) -> String {
        let Self::Partition(partition) = self else { return String::new() };
        let values = partition.split('/').filter_map(|part| Some(part.split_once('=')?.1)).take(2);
        values.fold(String::new(), |prefix, value| prefix + value + "/")
    }
}

fn date_of(partition: &str) -> &str {
    partition.rsplit_once("/date=").map_or("", |(_, date)| date)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventId, EventScope};
    use crate::sink::jsonl::partition::folder;
    use proptest::prelude::*;

    const ID: EventId = EventId([0x5a; 16]);

    fn scope(account: &str, region: &str, minute: Option<i64>) -> EventScope {
        EventScope { account: account.into(), region: region.into(), minute }
    }

    #[test]
    fn incomplete_or_unusual_scope_is_known_by_its_date_only() {
        let minute = Some(28_000_004);
        let group = |account, region, minute| PageGroup::of_page(&PageName::root(&scope(account, region, minute), ID));
        let partition = PageGroup::Partition("account=1/region=eu/date=2023-03-28".into());
        assert_eq!(group("1", "eu", minute), partition);
        assert_eq!(partition.page_prefix(), "1/eu/");
        let long = "1".repeat(40);
        for (account, region) in [("", "eu"), ("1", ""), ("unknown", "eu"), ("1/2", "eu"), (&long, "eu")] {
            assert_eq!(group(account, region, minute), PageGroup::Date("2023-03-28".into()), "{account} {region}");
        }
        assert_eq!(group("1", "eu", None), PageGroup::Partition("account=1/region=eu/date=unknown".into()));
    }

    proptest! {
        #[test]
        fn partition_of_an_event_contains_the_group_of_its_page(
            account in "(unknown|[0-9a-zA-Z/=~-]{0,40})", region in "(unknown|[a-z0-9-]{0,50}|\\PC{0,5})",
            minute in proptest::option::of(-3_000_000_000i64..3_000_000_000), overflows in 0..4,
        ) {
            let scope = scope(&account, &region, minute);
            let root = PageName::root(&scope, ID);
            let page = (0..overflows).fold(root.clone(), |page, _| page.overflow(minute, ID));
            prop_assert_eq!(page.root_part(), &root.0);
            let (partition, group) = (folder(&scope), PageGroup::of_page(&page));
            prop_assert!(group.contains(&partition), "{partition} {group:?}");
            prop_assert!(PageGroup::of_partition(&partition).contains(&group));
            prop_assert!(page.0.starts_with(&group.page_prefix()), "{page} {group:?}");
        }
    }
}
