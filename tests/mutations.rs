//! Every patch in `tests/mutations` still applies, so the rule that it removes still exists. `tests/mutations/run`
//! checks that a test fails without each rule, which takes too long for every build.

use std::process::Command;

#[test]
fn every_mutation_applies() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mutations/run");
    let checked = Command::new(script).arg("--check").output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    assert!(checked.status.success(), "{said}{complained}");
    let patches = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mutations");
    let names = std::fs::read_dir(patches).unwrap().map(|entry| entry.unwrap().file_name());
    let patches = names.filter(|name| name.to_string_lossy().ends_with(".patch")).count();
    assert_eq!(said.trim(), format!("{patches} mutations apply"));
}
