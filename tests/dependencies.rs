//! The dependencies of all programs follow `deny.toml`: licenses, banned crates, sources, and crates allowed in two
//! versions. `cargo deny` reads the same file and checks more, but takes a quarter of an hour to install.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// A dependency of the programs.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    license: String,
    /// The source in parentheses, if it is not a registry.
    other_source: Option<String>,
}

/// The packages whose programs are released: the root package and the Lambda functions.
const PROGRAMS: [&str; 5] =
    ["trailhose", "trailhose-ingest", "trailhose-backfill", "trailhose-detect", "trailhose-wire"];

/// Returns every crate that the programs need to build or run on this machine with all features, without the crates of
/// this workspace and without those that only tests need.
fn packages() -> BTreeSet<Package> {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--locked", "--offline", "--all-features", "--edges=normal,build", "--no-dedupe"])
        .args(["--prefix=none", "--format={p}|{l}"])
        .args(PROGRAMS.map(|name| format!("--package={name}")))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let package = |line: &str| {
        let (package, license) = line.split_once('|').unwrap();
        let mut words = package.split(' ');
        let (name, version) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let other_source = words.find(|word| *word != "(proc-macro)").map(str::to_owned);
        Package { name, version, license: license.to_owned(), other_source }
    };
    // A blank line separates the trees of two packages.
    let all: BTreeSet<_> = tree.lines().filter(|line| !line.is_empty()).map(package).collect();
    let (workspace, dependencies): (BTreeSet<_>, BTreeSet<_>) = all.into_iter().partition(in_workspace);
    for program in PROGRAMS {
        assert!(workspace.iter().any(|package| package.name == program), "cargo tree does not list {program}");
    }
    dependencies
}

/// Whether a package is a path dependency inside this workspace.
fn in_workspace(package: &Package) -> bool {
    let source = package.other_source.as_deref().and_then(|source| source.strip_prefix('(')?.strip_suffix(')'));
    source.is_some_and(|path| Path::new(path).starts_with(env!("CARGO_MANIFEST_DIR")))
}

fn rules() -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml");
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

fn names<'t>(rules: &'t toml::Table, table: &str, list: &str) -> Vec<&'t str> {
    let name = |entry: &'t toml::Value| entry.get("crate").unwrap_or(entry).as_str().unwrap();
    rules[table][list].as_array().unwrap().iter().map(name).collect()
}

/// Whether these licenses satisfy an SPDX expression. The old spelling of OR is a slash.
fn allowed(expression: &str, licenses: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "+WITH+");
    let words: Vec<String> = spaced.split_whitespace().map(|word| word.replace("+WITH+", " WITH ")).collect();
    let mut at = 0;
    either(&words, &mut at, licenses) && at == words.len()
}

fn either(words: &[String], at: &mut usize, licenses: &[&str]) -> bool {
    let mut any = both(words, at, licenses);
    while words.get(*at).is_some_and(|word| word == "OR") {
        *at += 1;
        any |= both(words, at, licenses);
    }
    any
}

fn both(words: &[String], at: &mut usize, licenses: &[&str]) -> bool {
    let mut all = one(words, at, licenses);
    while words.get(*at).is_some_and(|word| word == "AND") {
        *at += 1;
        all &= one(words, at, licenses);
    }
    all
}

fn one(words: &[String], at: &mut usize, licenses: &[&str]) -> bool {
    let word = words.get(*at).map(String::as_str);
    *at += 1;
    if word == Some("(") {
        let inner = either(words, at, licenses);
        *at += 1;
        return inner;
    }
    word.is_some_and(|word| licenses.contains(&word))
}

#[test]
fn license_expressions_are_evaluated() {
    let licenses = ["MIT", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"];
    for fine in ["MIT", "GPL-3.0 OR MIT", "GPL-3.0/MIT", "(MIT OR Apache-2.0) AND Unicode-3.0"] {
        assert!(allowed(fine, &licenses), "{fine}");
    }
    assert!(allowed("Apache-2.0 WITH LLVM-exception OR GPL-3.0", &licenses));
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(GPL-3.0 OR MIT) AND GPL-3.0", "Apache-2.0", "MIT MIT"] {
        assert!(!allowed(bad, &licenses), "{bad}");
    }
}

#[test]
fn licenses_sources_and_crates_are_allowed() {
    let (packages, rules) = (packages(), rules());
    let (licenses, banned) = (names(&rules, "licenses", "allow"), names(&rules, "bans", "deny"));
    assert!(packages.len() > 100, "cargo tree lists only {} crates", packages.len());
    for package in packages {
        assert!(allowed(&package.license, &licenses), "{package:?}");
        assert!(!banned.contains(&package.name.as_str()), "{package:?} is banned");
        assert_eq!(package.other_source, None, "{package:?} does not come from a registry");
    }
}

#[test]
fn only_listed_crates_have_two_versions() {
    let (packages, rules) = (packages(), rules());
    let known = names(&rules, "bans", "skip");
    let mut versions = BTreeMap::<&str, BTreeSet<&str>>::new();
    for package in &packages {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let new: Vec<_> = versions.iter().filter(|(name, _)| !known.contains(name)).collect();
    assert!(new.is_empty(), "in several versions: {new:?}");
    assert!(versions.keys().any(|name| known.contains(name)), "no crate of the skip list has two versions any more");
}
