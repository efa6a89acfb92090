//! The sample: the bucket and the payloads of `events/`.

#![allow(dead_code)] // Each test file uses its part.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The name by which the payloads call the sample bucket.
pub const BUCKET: &str = "trailhose-sample";

/// The folder `events/`.
pub fn events() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("events")
}

/// Key and bytes of every object of the sample bucket.
pub fn objects() -> BTreeMap<String, Vec<u8>> {
    let top = events().join("bucket");
    let (mut found, mut folders) = (BTreeMap::new(), vec![top.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let parts = path.strip_prefix(&top).unwrap().iter().map(|part| part.to_str().unwrap());
                found.insert(parts.collect::<Vec<_>>().join("/"), std::fs::read(path).unwrap());
            }
        }
    }
    found
}

/// Name and text of every payload in a folder, not in those below.
pub fn payloads(folder: &Path) -> BTreeMap<String, String> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let payloads = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    payloads.map(|path| (name(&path), std::fs::read_to_string(&path).unwrap())).collect()
}
