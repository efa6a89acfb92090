//! What the programs are built from keeps to `deny.toml`: licences, banned crates, where crates come from, and which may
//! be there in two versions. `cargo deny` reads the same file and knows more, but takes a quarter of an hour to install.
#![cfg(feature = "cli")] // It is the program with the most dependencies, and this reads TOML.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// A crate that the programs are built from.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    licence: String,
    /// Where it comes from, if that is no registry.
    elsewhere: Option<String>,
}

/// Every crate that is needed to build or to run on this machine with every feature on; not what only tests need.
fn packages() -> BTreeSet<Package> {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--locked", "--offline", "--all-features", "--edges=normal,build", "--no-dedupe"])
        .args(["--prefix=none", "--format={p}|{l}"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let package = |line: &str| {
        let (package, licence) = line.split_once('|').unwrap();
        let mut words = package.split(' ');
        let (name, version) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let elsewhere = words.find(|word| *word != "(proc-macro)").map(str::to_owned);
        Package { name, version, licence: licence.to_owned(), elsewhere }
    };
    // The first line is this package.
    tree.lines().skip(1).map(package).collect()
}

fn rules() -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml");
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

fn names<'t>(rules: &'t toml::Table, table: &str, list: &str) -> Vec<&'t str> {
    let name = |entry: &'t toml::Value| entry.get("crate").unwrap_or(entry).as_str().unwrap();
    rules[table][list].as_array().unwrap().iter().map(name).collect()
}

/// Whether an SPDX expression can be kept to with these licences. The old spelling of OR is a slash.
fn allowed(expression: &str, licences: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "+WITH+");
    let words: Vec<String> = spaced.split_whitespace().map(|word| word.replace("+WITH+", " WITH ")).collect();
    let mut at = 0;
    either(&words, &mut at, licences) && at == words.len()
}

fn either(words: &[String], at: &mut usize, licences: &[&str]) -> bool {
    let mut any = both(words, at, licences);
    while words.get(*at).is_some_and(|word| word == "OR") {
        *at += 1;
        any |= both(words, at, licences);
    }
    any
}

fn both(words: &[String], at: &mut usize, licences: &[&str]) -> bool {
    let mut all = one(words, at, licences);
    while words.get(*at).is_some_and(|word| word == "AND") {
        *at += 1;
        all &= one(words, at, licences);
    }
    all
}

fn one(words: &[String], at: &mut usize, licences: &[&str]) -> bool {
    let word = words.get(*at).map(String::as_str);
    *at += 1;
    if word == Some("(") {
        let inner = either(words, at, licences);
        *at += 1;
        return inner;
    }
    word.is_some_and(|word| licences.contains(&word))
}

#[test]
fn an_expression_of_licences_is_read_as_it_is_meant() {
    let licences = ["MIT", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"];
    for fine in ["MIT", "GPL-3.0 OR MIT", "GPL-3.0/MIT", "(MIT OR Apache-2.0) AND Unicode-3.0"] {
        assert!(allowed(fine, &licences), "{fine}");
    }
    assert!(allowed("Apache-2.0 WITH LLVM-exception OR GPL-3.0", &licences));
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(GPL-3.0 OR MIT) AND GPL-3.0", "Apache-2.0", "MIT MIT"] {
        assert!(!allowed(bad, &licences), "{bad}");
    }
}

#[test]
fn every_licence_source_and_crate_is_one_that_is_allowed() {
    let (packages, rules) = (packages(), rules());
    let (licences, banned) = (names(&rules, "licenses", "allow"), names(&rules, "bans", "deny"));
    assert!(packages.len() > 100, "{} crates are all that is seen", packages.len());
    for package in packages {
        assert!(allowed(&package.licence, &licences), "{package:?}");
        assert!(!banned.contains(&package.name.as_str()), "{package:?} is banned");
        assert_eq!(package.elsewhere, None, "{package:?} comes from no registry");
    }
}

#[test]
fn no_crate_is_there_in_two_versions_but_those_that_are_known() {
    let (packages, rules) = (packages(), rules());
    let known = names(&rules, "bans", "skip");
    let mut versions = BTreeMap::<&str, BTreeSet<&str>>::new();
    for package in &packages {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let new: Vec<_> = versions.iter().filter(|(name, _)| !known.contains(name)).collect();
    assert!(new.is_empty(), "in several versions: {new:?}");
    assert!(versions.keys().any(|name| known.contains(name)), "nothing of the list is there twice any more");
}
