//! The sample buckets and payloads of `events/`.

#![allow(dead_code)] // No test file uses all functions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Name of the sample bucket in the payloads.
pub const BUCKET: &str = "trailhose-sample";

/// Returns the folder `events/`.
pub fn events() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("events")
}

/// Returns key and bytes of every object in `events/bucket`.
pub fn objects() -> BTreeMap<String, Vec<u8>> {
    objects_in("bucket")
}

/// Returns key and bytes of every object in `events/damaged`.
pub fn damaged_objects() -> BTreeMap<String, Vec<u8>> {
    objects_in("damaged")
}

fn objects_in(bucket: &str) -> BTreeMap<String, Vec<u8>> {
    let top = events().join(bucket);
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

/// Returns name and text of every payload in a folder, without its subfolders.
pub fn payloads(folder: &Path) -> BTreeMap<String, String> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    // `local.json` has the variables for `sam local invoke`.
    let payloads = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let payloads = payloads.filter(|path| !path.ends_with("local.json"));
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    payloads.map(|path| (name(&path), std::fs::read_to_string(&path).unwrap())).collect()
}
