//! Discovery finds every combination with data once, and nothing else.

mod memory_source;

use memory_source::{BUCKET, MemorySource, log};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use trailhose::listing::DayRange;
use trailhose::listing::day_range;
use trailhose::listing::discover::{
    Coverage, DetectedLayout, Discovery, DiscoveryItem, DiscoveryProgress, DiscoveryRequest,
};
use trailhose::listing::folder_level::Filters;
use trailhose::listing::unit::{Layout, Unit};
use trailhose::object::key::{Recognized, recognize};

const A: &str = "111122223333";
const B: &str = "444455556666";
const DAY: &str = "2026-11-18";

fn day_range() -> DayRange {
    DayRange::looking_back("2026-11-20".parse().unwrap(), day_range::LOOK_BACK)
}

async fn walk(memory_source: &Arc<MemorySource>, ask: DiscoveryRequest) -> (Vec<Unit>, DiscoveryProgress) {
    let mut discovery = Discovery::new(memory_source.clone(), ask);
    let mut units = Vec::new();
    while let Some(unit) = discovery.next().await.unwrap() {
        units.push(unit);
    }
    units.sort_by(|a, b| a.prefix.cmp(&b.prefix).then(a.day_range.from().cmp(&b.day_range.from())));
    (units, discovery.progress().clone())
}

async fn folders(memory_source: &Arc<MemorySource>, prefix: &str) -> Vec<String> {
    walk(memory_source, DiscoveryRequest::new(BUCKET, prefix, day_range()))
        .await
        .0
        .into_iter()
        .map(|unit| unit.prefix)
        .collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[tokio::test]
async fn both_layouts_and_several_organizations_are_found() {
    let memory_source = Arc::new(MemorySource::holding([
        log("", A, "CloudTrail", "eu-west-1", DAY, "a"),
        log("", A, "CloudTrail", "us-east-1", DAY, "a"),
        log("", A, "CloudTrail-Insight", "eu-west-1", DAY, "a"),
        log("", &format!("o-abc/{A}"), "CloudTrail", "eu-west-1", DAY, "a"),
        log("", &format!("o-xyz/{B}"), "CloudTrail-SomethingNew", "eu-west-1", DAY, "a"),
        format!("AWSLogs/{A}/CloudTrail-Digest/eu-west-1/2026/11/18/d.json.gz"),
        format!("AWSLogs/{A}/Config/eu-west-1/2026/11/18/c.json.gz"),
        format!("AWSLogs/{B}/CloudTrail/"),
    ]));
    let (units, progress) = walk(&memory_source, DiscoveryRequest::new(BUCKET, "", day_range())).await;
    let found: Vec<&str> = units.iter().map(|unit| unit.prefix.as_str()).collect();
    assert_eq!(
        found,
        [
            "AWSLogs/111122223333/CloudTrail-Insight/eu-west-1/",
            "AWSLogs/111122223333/CloudTrail/eu-west-1/",
            "AWSLogs/111122223333/CloudTrail/us-east-1/",
            "AWSLogs/o-abc/111122223333/CloudTrail/eu-west-1/",
            "AWSLogs/o-xyz/444455556666/CloudTrail-SomethingNew/eu-west-1/",
        ]
    );
    assert!(
        units.iter().all(|unit| unit.layout == Layout::Days && unit.day_range == day_range() && unit.after.is_none())
    );
    assert_eq!(progress.shape, DetectedLayout::CloudTrail);
    assert_eq!((progress.accounts, progress.regions, progress.waiting), (4, 5, 0));
    assert_eq!(progress.unvisited, [format!("AWSLogs/{A}/Config/")]);
}

#[tokio::test]
async fn prefix_may_contain_slashes_and_awslogs() {
    for (above, asked) in [
        ("", ""),
        ("trail/", "trail"),
        ("trail/", "trail/"),
        ("a/b/c/", "a/b/c"),
        ("AWSLogs/", "AWSLogs"),
        ("AWSLogs/old/", "AWSLogs/old/"),
        ("x/AWSLogs/y/", "x/AWSLogs/y"),
    ] {
        let key = log(above, A, "CloudTrail", "eu-west-1", DAY, "a");
        let memory_source = Arc::new(MemorySource::holding([key, "trailing/AWSLogs/x".to_owned()]));
        let folder = format!("{above}AWSLogs/{A}/CloudTrail/eu-west-1/");
        assert_eq!(folders(&memory_source, asked).await, [folder], "asked for {asked:?}");
    }
}

#[tokio::test]
async fn prefix_may_be_any_folder_of_the_layout() {
    let memory_source = Arc::new(MemorySource::holding([
        log("p/", &format!("o-abc/{A}"), "CloudTrail", "eu-west-1", DAY, "a"),
        log("p/", &format!("o-abc/{B}"), "CloudTrail", "eu-west-1", DAY, "a"),
    ]));
    let whole = format!("p/AWSLogs/o-abc/{A}/CloudTrail/eu-west-1/");
    for (at, _) in whole.match_indices('/').skip(3) {
        assert_eq!(folders(&memory_source, &whole[..at]).await, [whole.as_str()], "asked for {}", &whole[..at]);
    }
    assert_eq!(folders(&memory_source, "p/AWSLogs").await.len(), 2);
    assert_eq!(folders(&memory_source, "p/AWSLogs/o-abc/").await.len(), 2);
}

#[tokio::test]
async fn trails_with_separate_prefixes_are_found_and_other_folders_are_reported() {
    let memory_source = Arc::new(MemorySource::holding([
        log("one/", A, "CloudTrail", "eu-west-1", DAY, "a"),
        log("two/deep/", B, "CloudTrail", "eu-west-1", DAY, "a"),
        "copies/by-hand.json.gz".to_owned(),
    ]));
    let (units, progress) = walk(&memory_source, DiscoveryRequest::new(BUCKET, "", day_range())).await;
    assert_eq!(units.len(), 2);
    assert_eq!(progress.unvisited, ["copies/"]);
}

/// Returns a bucket with layouts next to, above and below each other, and the folders of the regions in them, sorted.
fn nested_layouts() -> (Arc<MemorySource>, Vec<String>) {
    let mut keys = Vec::new();
    let mut regions = Vec::new();
    for above in ["", "member-trail/", "one/two/", "one/two/AWSLogs/", "AWSLogs/old/", "zebra/AWSLogs/"] {
        keys.push(log(above, A, "CloudTrail", "us-east-1", DAY, "a"));
        regions.push(format!("{above}AWSLogs/{A}/CloudTrail/us-east-1/"));
    }
    regions.sort();
    (Arc::new(MemorySource::holding(keys)), regions)
}

#[tokio::test]
async fn siblings_of_a_layout_are_found_with_every_selection() {
    let (memory_source, regions) = nested_layouts();
    let filters = [
        Filters::default(),
        Filters { accounts: names(&[A]), ..Filters::default() },
        Filters { regions: names(&["us-east-1"]), ..Filters::default() },
        Filters { kinds: names(&["CloudTrail"]), ..Filters::default() },
    ];
    for coverage in [Coverage::Days, Coverage::Regions] {
        for filters in &filters {
            let ask = DiscoveryRequest {
                coverage,
                filters: filters.clone(),
                ..DiscoveryRequest::new(BUCKET, "", day_range())
            };
            let (units, progress) = walk(&memory_source, ask).await;
            let found: Vec<&String> = units.iter().map(|unit| &unit.prefix).collect();
            assert!(found.iter().copied().eq(&regions), "{coverage:?}, {filters:?}: {found:?}");
            assert_eq!((progress.unvisited_count, progress.searched), (0, 6), "{coverage:?}, {filters:?}");
        }
    }
}

#[tokio::test]
async fn layout_below_the_searched_depth_is_named_as_unvisited() {
    let memory_source = Arc::new(MemorySource::holding([
        log("", A, "CloudTrail", "us-east-1", DAY, "a"),
        log("one/two/three/", A, "CloudTrail", "us-east-1", DAY, "a"),
        log("one/two/", B, "CloudTrail", "us-east-1", DAY, "a"),
        "empty/".to_owned(),
        "readme.txt".to_owned(),
    ]));
    let (units, progress) = walk(&memory_source, DiscoveryRequest::new(BUCKET, "", day_range())).await;
    assert_eq!(units.len(), 2);
    assert_eq!((progress.unvisited, progress.unvisited_count), (vec!["one/two/three/".to_owned()], 1));
}

#[tokio::test]
async fn logs_directly_in_a_layout_folder_are_named_as_unvisited() {
    let direct = |day: &str| format!("AWSLogs/{A}/{A}_CloudTrail_eu-west-1_202611{day}T0000Z_a.json.gz");
    let region = log("", A, "CloudTrail", "eu-west-1", DAY, "a");
    let keys = [region.clone(), direct("17"), direct("18"), format!("AWSLogs/{A}/ELBAccessLogTestFile")];
    let memory_source = Arc::new(MemorySource { page: 1, ..MemorySource::holding(keys) });
    let (_, progress) = walk(&memory_source, DiscoveryRequest::new(BUCKET, "", day_range())).await;
    assert_eq!((progress.unvisited, progress.unvisited_count), (vec![format!("AWSLogs/{A}/")], 1));
    // Nothing of the selection is missed.
    let memory_source = Arc::new(MemorySource::holding([region, direct("01")]));
    let (_, progress) = walk(&memory_source, DiscoveryRequest::new(BUCKET, "", day_range())).await;
    assert_eq!(progress.unvisited_count, 0);
}

#[tokio::test]
async fn search_next_to_a_layout_is_limited_and_what_it_omits_is_counted() {
    let found = async |above: &str, folders: usize| {
        let layout = log("", A, "CloudTrail", "eu-west-1", DAY, "a");
        let keys = (0..folders).map(|number| format!("{above}{number:05}/x.json")).chain([layout]);
        let memory_source = Arc::new(MemorySource::holding(keys));
        let (units, progress) = walk(&memory_source, DiscoveryRequest::new(BUCKET, "", day_range())).await;
        assert_eq!(units.len(), 1, "{folders} folders in {above:?}");
        // Besides the searched folders: `AWSLogs/`, the account and the kind.
        assert!(progress.requests <= progress.searched + 4, "{progress:?}");
        (progress.searched, progress.unvisited_count, progress.unvisited)
    };
    let (searched, unvisited, names) = found("", 900).await;
    assert_eq!((searched, unvisited, names.len()), (901, 900, 20));
    // More siblings than may be searched. The root is counted for those after the first page.
    let (searched, unvisited, names) = found("", 1_500).await;
    assert_eq!((searched, unvisited, names.len()), (1, 1_001, 20));
    assert_eq!(found("data/", 900).await.1, 900);
    assert_eq!(found("data/", 1_500).await, (2, 1, vec!["data/".to_owned()]));
}

#[tokio::test]
async fn unknown_layout_is_one_flat_unit_and_an_empty_bucket_is_reported() {
    let memory_source =
        Arc::new(MemorySource::holding([format!("copied/{A}_CloudTrail_eu-west-1_20261118T0000Z_a.json.gz")]));
    let filters = Filters { accounts: names(&[A]), ..Filters::default() };
    for prefix in ["", "copied", "copied/"] {
        let ask = DiscoveryRequest { filters: filters.clone(), ..DiscoveryRequest::new(BUCKET, prefix, day_range()) };
        let (units, progress) = walk(&memory_source, ask).await;
        assert_eq!((units.len(), progress.shape), (1, DetectedLayout::Flat));
        assert_eq!((units[0].layout, &units[0].filters), (Layout::Flat, &filters));
    }
    for prefix in ["nowhere", "AWSLogs", "copied/AWSLogs/"] {
        let (units, progress) = walk(&memory_source, DiscoveryRequest::new(BUCKET, prefix, day_range())).await;
        assert_eq!((units.len(), progress.shape), (0, DetectedLayout::Empty), "{prefix}");
    }
}

#[tokio::test]
async fn search_of_a_bucket_with_many_folders_is_limited() {
    let memory_source = Arc::new(MemorySource::holding((0..5000).map(|number| format!("data/{number:05}/x/y.json"))));
    let (units, progress) = walk(&memory_source, DiscoveryRequest::new(BUCKET, "", day_range())).await;
    assert_eq!((units.len(), progress.shape), (1, DetectedLayout::Flat));
    assert!(progress.requests < 10, "{}", progress.requests);
}

#[tokio::test]
async fn filter_avoids_listings_of_excluded_folders() {
    let accounts: Vec<String> = (0..50).map(|number| format!("{number:012}")).collect();
    let regions = ["eu-west-1", "us-east-1"];
    let keys =
        accounts.iter().flat_map(|account| regions.map(|region| log("", account, "CloudTrail", region, DAY, "a")));
    let memory_source = Arc::new(MemorySource::holding(keys));
    let filters = Filters { accounts: names(&[&accounts[7]]), regions: names(&["us-east-1"]), ..Filters::default() };
    let (units, progress) =
        walk(&memory_source, DiscoveryRequest { filters, ..DiscoveryRequest::new(BUCKET, "", day_range()) }).await;
    assert_eq!(units.len(), 1);
    assert_eq!(units[0].prefix, format!("AWSLogs/{}/CloudTrail/us-east-1/", accounts[7]));
    // The root, `AWSLogs/`, the account and its kind.
    assert_eq!((memory_source.requests(), progress.requests, progress.excluded), (4, 4, 50));
}

#[tokio::test]
async fn long_day_range_is_split_into_units_of_at_most_a_month() {
    let memory_source = Arc::new(MemorySource::holding([log("", A, "CloudTrail", "eu-west-1", DAY, "a")]));
    let year = DayRange::parse("2025-11-21", "2026-11-20").unwrap();
    let (units, _) = walk(&memory_source, DiscoveryRequest::new(BUCKET, "", year)).await;
    assert_eq!(units.len(), 12);
    assert_eq!(units.iter().flat_map(|unit| unit.day_range.days()).count(), 365);
}

#[tokio::test]
async fn failed_listing_ends_discovery_with_the_reason() {
    let keys = (0..20).map(|number| log("", &format!("{number:012}"), "CloudTrail", "eu-west-1", DAY, "a"));
    let memory_source = Arc::new(MemorySource { failing: Some(10), ..MemorySource::holding(keys) });
    let mut discovery = Discovery::new(memory_source, DiscoveryRequest::new(BUCKET, "", day_range()));
    let error = loop {
        match discovery.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("discovery ended without an error"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.to_string(), "SlowDown");
}

#[tokio::test]
async fn progress_is_reported_and_concurrency_is_limited() {
    let keys = (0..40).map(|number| log("", &format!("{number:012}"), "CloudTrail", "eu-west-1", DAY, "a"));
    let memory_source = Arc::new(MemorySource::holding(keys));
    let reported = Arc::new(Mutex::new(Vec::new()));
    let (keep, most) = (Arc::clone(&reported), Arc::new(AtomicUsize::new(0)));
    let ask = DiscoveryRequest { concurrency: 4, ..DiscoveryRequest::new(BUCKET, "", day_range()) };
    let source = Arc::clone(&memory_source);
    let high = Arc::clone(&most);
    let mut discovery = Discovery::new(memory_source.clone(), ask).with_progress_callback(Arc::new(
        move |progress: &DiscoveryProgress| {
            high.fetch_max(source.requests() - progress.requests as usize, Ordering::SeqCst);
            keep.lock().unwrap().push(progress.clone());
        },
    ));
    while discovery.next().await.unwrap().is_some() {}
    let reported = reported.lock().unwrap();
    assert_eq!(reported.len(), 82, "one request for the root, for AWSLogs/, for each account and for each kind");
    assert_eq!(reported.last(), Some(discovery.progress()));
    assert!(most.load(Ordering::SeqCst) < 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_region_with_data_is_one_unit_for_any_page_size(
        combinations in proptest::collection::btree_set((0u8..4, 0usize..12, 0u8..3, 0u8..4), 1..60),
        page in 1usize..7,
        above in "([a-z]{1,3}/){0,2}",
    ) {
        let organizations = ["", "o-aaa/", "o-bbb/", "o-ccc/"];
        let kinds = ["CloudTrail", "CloudTrail-Insight", "CloudTrail-NetworkActivity"];
        let regions = ["eu-west-1", "us-east-1", "us-gov-west-1", "ap-southeast-2"];
        let mut expected = BTreeSet::new();
        let mut keys = Vec::new();
        for (organization, account, kind, region) in combinations {
            let account = format!("{}{account:012}", organizations[organization as usize]);
            let (kind, region) = (kinds[kind as usize], regions[region as usize]);
            keys.push(log(&above, &account, kind, region, "2026-11-17", "a"));
            keys.push(log(&above, &account, kind, region, "2026-11-18", "b"));
            expected.insert(format!("{above}AWSLogs/{account}/{kind}/{region}/"));
        }
        let memory_source = Arc::new(MemorySource { page, ..MemorySource::holding(keys) });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(folders(&memory_source, &above));
        prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }
}

/// Returns all keys that discovery of everything finds, sorted. A key that is found twice occurs twice.
async fn every_key(memory_source: &Arc<MemorySource>, prefix: &str, concurrency: usize) -> Vec<String> {
    let ask = DiscoveryRequest {
        coverage: Coverage::Everything,
        concurrency,
        ..DiscoveryRequest::new(BUCKET, prefix, day_range())
    };
    let mut discovery = Discovery::new(memory_source.clone(), ask);
    let mut keys = Vec::new();
    while let Some(found) = discovery.next_item().await.unwrap() {
        match found {
            DiscoveryItem::Objects(_, objects) => keys.extend(objects.into_iter().map(|object| object.key)),
            DiscoveryItem::Unit(unit) => {
                assert_eq!(unit.layout, Layout::Flat, "discovery of everything has no units of days");
                let all = memory_source.keys.lock().unwrap();
                keys.extend(all.keys().filter(|key| key.starts_with(&unit.prefix)).cloned());
            }
        }
    }
    keys.sort();
    keys
}

/// CloudTrail writes to day folders only. Logs directly in the folders above sort before, between or after the days.
#[tokio::test]
async fn logs_directly_in_region_year_and_month_folders_are_found() {
    let region = format!("AWSLogs/{A}/CloudTrail/eu-west-1");
    // The account sorts before the years, `9…` after them.
    let name = |account: &str, day: &str| format!("{account}_CloudTrail_eu-west-1_{day}T0000Z_x.json.gz");
    let loose: Vec<String> = ["", "2026/", "2026/10/", "2026/11/"]
        .iter()
        .flat_map(|folder| ["111122223333", "999988887777"].map(|account| (folder, account)))
        .map(|(folder, account)| format!("{region}/{folder}{}", name(account, "20261118")))
        .collect();
    let in_days = log("", A, "CloudTrail", "eu-west-1", DAY, "a");
    let keys = loose.iter().cloned().chain([in_days.clone(), format!("{region}/2024/x/{}", name(A, "20261118"))]);
    let memory_source = Arc::new(MemorySource { page: 3, ..MemorySource::holding(keys) });
    let range = DayRange::parse("2026-10-30", "2026-11-19").unwrap();
    let ask = DiscoveryRequest {
        coverage: Coverage::Regions,
        includes_loose_logs: true,
        ..DiscoveryRequest::new(BUCKET, "", range)
    };
    let mut discovery = Discovery::new(memory_source.clone(), ask.clone());
    let (mut found, mut listed) = (Vec::new(), BTreeSet::new());
    while let Some(item) = discovery.next_item().await.unwrap() {
        match item {
            DiscoveryItem::Objects(unit, objects) => {
                assert_eq!((unit.layout, unit.day_range), (Layout::Flat, range));
                found.extend(objects.into_iter().map(|object| object.key));
            }
            DiscoveryItem::Unit(unit) => {
                let (first, end) = unit.key_range();
                let (first, end) = (first.unwrap(), end.unwrap());
                let keys = memory_source.keys.lock().unwrap();
                listed.extend(keys.keys().filter(|key| **key > first && **key < end).cloned());
            }
        }
    }
    assert!(listed.contains(&in_days) && listed.len() > 1, "some are between the days: {listed:?}");
    assert!(
        !found.is_empty() && found.iter().all(|key| !listed.contains(key)),
        "no object is returned twice: {found:?}"
    );
    listed.extend(found);
    assert_eq!(listed, loose.iter().cloned().chain([in_days]).collect());
    // Without the option, a region costs no further request.
    let requests = memory_source.requests();
    walk(&memory_source, DiscoveryRequest { includes_loose_logs: false, ..ask }).await;
    assert_eq!(memory_source.requests() - requests, 4, "the root, AWSLogs, the account and its kind");
}

#[tokio::test]
async fn prefix_may_end_within_a_file_name() {
    let name = format!("copied/{A}_CloudTrail_eu-west-1_20261118T0000Z_a.json.gz");
    let memory_source = Arc::new(MemorySource::holding([name.clone(), "copied/other".to_owned()]));
    assert_eq!(every_key(&memory_source, "copied/1111", 4).await, std::slice::from_ref(&name));
    assert_eq!(every_key(&memory_source, &name, 4).await, [name]);
    assert!(every_key(&memory_source, "elsewhere", 4).await.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn discovery_of_everything_finds_every_key_once(
        keys in proptest::collection::btree_set(any_key(), 1..60),
        page in 1usize..7,
        prefix in "(a/|AWSLogs/|b/AWSLogs|a)?",
        concurrency in 1usize..5,
    ) {
        let folder = if prefix.is_empty() || prefix.ends_with('/') { prefix.clone() } else { format!("{prefix}/") };
        let mut expected: Vec<String> = keys.iter().filter(|key| key.starts_with(&folder)).cloned().collect();
        if expected.is_empty() {
            expected = keys.iter().filter(|key| key.starts_with(&prefix)).cloned().collect();
        }
        let memory_source = Arc::new(MemorySource { page, ..MemorySource::holding(keys) });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        prop_assert_eq!(runtime.block_on(every_key(&memory_source, &prefix, concurrency)), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    /// Each key with the name of a log is in a unit, or in a folder that is named as unvisited.
    #[test]
    fn no_log_is_omitted_silently(
        keys in proptest::collection::btree_set(any_key(), 1..40),
        page in 1usize..7,
        prefix in "(a/|AWSLogs/|b/AWSLogs|a)?",
        regions in any::<bool>(),
        concurrency in 1usize..5,
    ) {
        let coverage = if regions { Coverage::Regions } else { Coverage::Days };
        let ask = DiscoveryRequest { coverage, concurrency, ..DiscoveryRequest::new(BUCKET, &prefix, day_range()) };
        let folder = if prefix.is_empty() || prefix.ends_with('/') { prefix.clone() } else { format!("{prefix}/") };
        let memory_source = Arc::new(MemorySource { page, ..MemorySource::holding(keys.clone()) });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (units, progress) = runtime.block_on(walk(&memory_source, ask));
        prop_assert!(progress.unvisited_count <= 20, "more than are named: {}", progress.unvisited_count);
        prop_assert_eq!(progress.unvisited_count, progress.unvisited.len() as u64);
        let is_log = |key: &&String| matches!(recognize(key), Recognized::Log { .. });
        for key in keys.iter().filter(|key| key.starts_with(&folder)).filter(is_log) {
            let units = units.iter().filter(|unit| key.starts_with(&unit.prefix)).count();
            let unvisited = progress.unvisited.iter().any(|folder| key.starts_with(folder));
            prop_assert!(units == 1 || (units == 0 && unvisited), "{}: {} units, unvisited: {}", key, units, unvisited);
        }
    }

    /// A discovery that is stopped anywhere and continued in parts finds each unit once.
    #[test]
    fn stopped_discovery_is_continued_without_repeating_units(
        keys in proptest::collection::btree_set(any_key(), 1..40),
        page in 1usize..7,
        stops in proptest::collection::vec(1usize..4, 1..12),
        max_bytes in 1usize..400,
        days in 1i64..90,
    ) {
        let day_range = DayRange::looking_back("2026-11-20".parse().unwrap(), days as u32);
        let ask = || DiscoveryRequest { concurrency: 2, ..DiscoveryRequest::new(BUCKET, "", day_range) };
        let memory_source = Arc::new(MemorySource { page, ..MemorySource::holding(keys) });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (expected, progress) = walk(&memory_source, ask()).await;
            let mut stops = stops.into_iter();
            let (mut found, mut unvisited) = (Vec::new(), 0);
            let mut waiting = vec![Discovery::new(memory_source.clone(), ask())];
            while let Some(mut discovery) = waiting.pop() {
                let mut left = stops.next().unwrap_or(usize::MAX);
                while let Some(unit) = discovery.next().await.unwrap() {
                    found.push(unit);
                    left -= 1;
                    if left == 0 && let Some(rest) = discovery.take_rest() {
                        let parts = rest.split(max_bytes).into_iter();
                        // Each part passes through a queue.
                        waiting.extend(parts.map(|part| {
                            let text = serde_json::to_string(&part).unwrap();
                            Discovery::resume(memory_source.clone(), ask(), serde_json::from_str(&text).unwrap())
                        }));
                        break;
                    }
                    left = left.max(1);
                }
                unvisited += discovery.progress().unvisited_count;
            }
            found.sort_by(|a, b| a.prefix.cmp(&b.prefix).then(a.day_range.from().cmp(&b.day_range.from())));
            prop_assert_eq!(found, expected);
            prop_assert_eq!(unvisited, progress.unvisited_count);
            Ok(())
        })?;
    }
}

/// Generates keys inside and outside of the layout.
fn any_key() -> impl Strategy<Value = String> {
    let above = "(a/|b/|c/d/e/|AWSLogs/){0,2}";
    let layout =
        (above, "(o-abc/)?", 0u8..3, 0usize..3, 0u8..2).prop_map(|(above, organization, account, kind, day)| {
            let kind = ["CloudTrail", "CloudTrail-Digest", "CloudTrail-New"][kind];
            let account = format!("{organization}{account:012}");
            log(&above, &account, kind, "eu-west-1", &format!("2026-11-1{day}"), "a")
        });
    let foreign = (above, "(AWSLogs/)?(111122223333/)?(CloudTrail/)?(elb/)?(eu-west-1/)?[xyz]{1,2}(\\.json)?")
        .prop_map(|(above, rest)| format!("{above}{rest}"));
    prop_oneof![layout, foreign]
}
