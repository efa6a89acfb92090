use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn write(root: &Path, key: &str, bytes: &[u8]) {
    let path = root.join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn request<'a>(source: &'a Directory, prefix: &'a str, delimiter: Option<char>) -> Listing<'a> {
    Listing { bucket: source.bucket(), prefix, delimiter, token: None, start_after: None }
}

async fn keys(source: &Directory, request: Listing<'_>) -> (Vec<String>, Vec<String>) {
    let (mut objects, mut prefixes, mut token) = (Vec::new(), Vec::new(), None::<String>);
    loop {
        let page = source.list(&Listing { token: token.as_deref(), ..request }).await.unwrap();
        assert!(page.objects.len() + page.prefixes.len() <= 1000);
        objects.extend(page.objects.into_iter().map(|object| object.key));
        prefixes.extend(page.prefixes);
        match page.next {
            Some(next) => token = Some(next),
            None => return (objects, prefixes),
        }
    }
}

/// Returns the listing that S3 would return for these keys, computed naively.
fn expected(all: &BTreeSet<String>, prefix: &str, after: &str, delimiter: bool) -> (Vec<String>, Vec<String>) {
    let (mut objects, mut prefixes) = (Vec::new(), BTreeSet::new());
    for key in all.iter().filter(|key| key.starts_with(prefix)) {
        match key[prefix.len()..].find('/').filter(|_| delimiter) {
            Some(at) => drop(prefixes.insert(key[..prefix.len() + at + 1].to_owned())),
            None if &**key > after => objects.push(key.clone()),
            None => {}
        }
    }
    (objects, prefixes.into_iter().filter(|one| &**one > after && !after.starts_with(one)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn folder_lists_like_a_bucket_with_the_same_keys(
        names in proptest::collection::btree_set("[a-c.](/[a-c.+]{1,2}){0,3}", 0..30),
        prefix in "([a-c]/?){0,3}", after in "([a-c]/?){0,3}", delimiter in any::<bool>(),
    ) {
        let root = tempfile::tempdir().unwrap();
        let mut all = BTreeSet::new();
        for name in names {
            if name.split('/').any(|part| part == "." || part == "..") {
                continue;
            }
            // A file system cannot contain a key that is also the folder of another key.
            let path = root.path().join(&name);
            if std::fs::create_dir_all(path.parent().unwrap()).is_ok() && !path.is_dir() {
                std::fs::write(path, "x").unwrap();
                all.insert(name);
            }
        }
        let source = Directory::open(root.path()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let request = Listing { start_after: Some(&after), ..request(&source, &prefix, delimiter.then_some('/')) };
        let found = runtime.block_on(keys(&source, request));
        let expected_page = expected(&all, &prefix, &after, delimiter);
        prop_assert_eq!(&found.0, &expected_page.0);
        // An empty folder is a common prefix here. A bucket has no empty prefixes.
        let prefixes: Vec<_> = found.1.into_iter().filter(|one| all.iter().any(|key| key.starts_with(one))).collect();
        prop_assert_eq!(&prefixes, &expected_page.1);
    }
}

#[tokio::test]
async fn long_listing_is_paged_and_complete() {
    let root = tempfile::tempdir().unwrap();
    for number in 0..2100 {
        write(root.path(), &format!("AWSLogs/{}/{number:05}.json.gz", number % 3), b"x");
    }
    let source = Directory::open(root.path()).unwrap();
    let first = source.list(&request(&source, "AWSLogs/", None)).await.unwrap();
    assert_eq!((first.objects.len(), first.next.is_some()), (1000, true));
    let (objects, _) = keys(&source, request(&source, "AWSLogs/", None)).await;
    assert_eq!(objects.len(), 2100);
    assert!(objects.is_sorted());
    for number in 0..1001 {
        write(root.path(), &format!("wide/{number}/x"), b"x");
    }
    assert_eq!(keys(&source, request(&source, "wide/", Some('/'))).await.1.len(), 1001);
}

#[tokio::test]
async fn last_page_has_no_next_token() {
    let root = tempfile::tempdir().unwrap();
    (0..1000).for_each(|number| write(root.path(), &number.to_string(), b"x"));
    let source = Directory::open(root.path()).unwrap();
    let page = source.list(&request(&source, "", None)).await.unwrap();
    assert_eq!((page.objects.len(), page.next), (1000, None));
}

#[tokio::test]
async fn state_folder_of_a_destination_is_listed_like_any_other() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), ".trailhose/ledger.db", b"x");
    write(root.path(), "a/.trailhose/x.json.gz", b"x");
    write(root.path(), "a/.hidden", b"x");
    let source = Directory::open(root.path()).unwrap();
    let all = [".trailhose/ledger.db", "a/.hidden", "a/.trailhose/x.json.gz"];
    assert_eq!(keys(&source, request(&source, "", None)).await.0, all);
    assert_eq!(keys(&source, request(&source, "", Some('/'))).await.1, [".trailhose/", "a/"]);
}

async fn only_object(source: &Directory) -> Object {
    source.list(&request(source, "", None)).await.unwrap().objects.remove(0).object().unwrap()
}

#[tokio::test]
async fn file_is_fetched_in_its_listed_version() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a b/ü.gz", b"one");
    let source = Directory::open(root.path()).unwrap();
    let object = only_object(&source).await;
    assert_eq!(source.fetch(&object).await.unwrap(), b"one");
    for (from, max_bytes, bytes) in [(0, 2, "on"), (2, 2, "e"), (0, 9, "one"), (3, 2, "")] {
        let part = source.fetch_range(&object, from, max_bytes).await.unwrap();
        assert_eq!((part.bytes.as_slice(), part.size), (bytes.as_bytes(), 3), "{from}");
    }
    let stat = source.stat(&ObjectRef::new(source.bucket(), "a b/ü.gz")).await.unwrap();
    assert_eq!((stat.object().unwrap(), stat.size), (object.clone(), Some(3)));
    write(root.path(), "a b/ü.gz", b"other");
    assert!(matches!(source.fetch(&object).await, Err(SourceError::Changed(..))));
    assert!(matches!(source.fetch_range(&object, 1, 1).await, Err(SourceError::Changed(..))));
    let newer = only_object(&source).await;
    let file = std::fs::File::options().write(true).open(root.path().join("a b/ü.gz")).unwrap();
    file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(5)).unwrap();
    assert!(matches!(source.fetch(&newer).await, Err(SourceError::Changed(..))), "same size, later modification time");
    std::fs::remove_file(root.path().join("a b/ü.gz")).unwrap();
    assert!(matches!(source.fetch(&newer).await, Err(SourceError::Missing(_))));
}

#[tokio::test]
async fn no_key_escapes_the_folder() {
    let home = tempfile::tempdir().unwrap();
    write(home.path(), "secret", b"x");
    write(home.path(), "in/a", b"x");
    let source = Directory::open(&home.path().join("in")).unwrap();
    let outside = format!("{}/secret", home.path().display());
    for key in ["../secret", "a/../../secret", "", ".", "..", "./a", "a//b", &outside] {
        let found = source.stat(&ObjectRef::new(source.bucket(), key)).await;
        assert!(found.is_err(), "{key:?} found {found:?}");
        let object = Object { bucket: source.bucket().into(), key: key.into(), etag: "e".into() };
        assert!(matches!(source.fetch(&object).await, Err(SourceError::Unavailable(_))), "{key:?}");
        let page = source.list(&request(&source, key, None)).await.unwrap();
        assert!(page.objects.iter().all(|object| object.key == "a"), "{key:?} lists {page:?}");
    }
    assert!(source.list(&Listing { bucket: "file:///", ..request(&source, "", None) }).await.is_err());
}

#[cfg(unix)]
#[tokio::test]
async fn unlistable_entry_is_named_and_the_others_are_listed() {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    let home = tempfile::tempdir().unwrap();
    write(home.path(), "secret", b"x");
    write(home.path(), "in/real", b"xyz");
    write(home.path(), "in/sub/file", b"xyz");
    let root = home.path().join("in");
    let source = Directory::open(&root).unwrap();
    symlink(root.join("real"), root.join("link")).unwrap();
    let page = source.list(&request(&source, "", None)).await.unwrap();
    assert_eq!(page.objects.iter().map(|object| &*object.key).collect::<Vec<_>>(), ["link", "real", "sub/file"]);
    assert_eq!(source.fetch(&page.objects[0].object().unwrap()).await.unwrap(), b"xyz");
    assert!(page.unlisted.is_empty() && page.complete().is_ok());

    let bad = root.join("sub/bad");
    for (target, reason, is_folder) in [
        (home.path().join("secret"), "outside the folder", false),
        (root.clone(), "a folder and is not followed: if it contains logs, add it as a source", true),
        (root.join("gone"), "broken symbolic link", false),
        ("/dev/null".into(), "/dev/null, which is neither a file nor a folder: remove the link", false),
    ] {
        symlink(target, &bad).unwrap();
        let page = source.list(&request(&source, "", None)).await.unwrap();
        assert_eq!(page.objects.len(), 3, "the other entries are listed");
        let [entry] = &page.unlisted[..] else { panic!("{page:?}") };
        assert_eq!((entry.key.as_str(), entry.is_folder), ("sub/bad", is_folder));
        assert!(entry.reason.contains(bad.to_str().unwrap()) && entry.reason.contains(reason), "{entry:?}");
        let error = page.complete().unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        let fetched = source.stat(&ObjectRef::new(source.bucket(), "sub/bad")).await;
        assert!(fetched.is_err(), "{fetched:?}");
        std::fs::remove_file(&bad).unwrap();
    }
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    std::fs::write(root.join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "x").unwrap();
    let page = source.list(&request(&source, "", None)).await.unwrap();
    let mut reasons: Vec<_> = page.unlisted.iter().map(|entry| entry.reason.clone()).collect();
    reasons.sort();
    assert!(reasons[0].contains("caf\u{fffd} has a name that is not UTF-8"), "{reasons:?}");
    assert!(reasons.len() == 2 && reasons[1].contains("socket is neither a file nor a folder"), "{reasons:?}");
}

#[test]
fn missing_folder_or_file_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    assert!(matches!(Directory::open(&root.path().join("gone")), Err(SourceError::Missing(_))));
    write(root.path(), "file", b"x");
    assert!(Directory::open(&root.path().join("file")).unwrap_err().to_string().contains("expected a folder"));
}
