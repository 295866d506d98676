//! What `deny.toml` allows, checked without cargo-deny: the licences of all packages, their registry, and those that are
//! banned.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::process::run;

#[test]
fn every_package_has_an_allowed_licence_and_comes_from_the_registry() {
    let rules = rules();
    let allowed = texts(&rules["licenses"]["allow"]);
    let banned: BTreeSet<_> =
        rules["bans"]["deny"].as_array().unwrap().iter().map(|ban| ban["crate"].as_str().unwrap().to_owned()).collect();
    let mut wrong = Vec::new();
    for target in texts(&rules["graph"]["targets"]) {
        let packages = packages(&target);
        assert!(packages.len() > 100, "{target}: {} packages", packages.len());
        for package in packages.iter().filter(|package| package["name"] != "lb") {
            let name = package["name"].as_str().unwrap();
            let licence = package["license"].as_str().unwrap_or_default();
            if !is_allowed(licence, &allowed) {
                wrong.push(format!("{name} for {target}: licence {licence:?}"));
            }
            if package["source"] != "registry+https://github.com/rust-lang/crates.io-index" {
                wrong.push(format!("{name} for {target}: from {}", package["source"]));
            }
            if banned.contains(name) {
                wrong.push(format!("{name} for {target}: banned"));
            }
        }
    }
    assert!(wrong.is_empty(), "deny.toml:\n{}", wrong.join("\n"));
}

fn rules() -> toml::Table {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml")).unwrap().parse().unwrap()
}

fn texts(list: &toml::Value) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Those that a build or a test for this target takes.
pub(crate) fn packages(target: &str) -> Vec<Value> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["metadata", "--locked", "--format-version", "1", "--filter-platform", target]);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = run(&command, Duration::from_secs(120));
    assert!(output.status.success(), "{output:?}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let used: BTreeSet<_> =
        metadata["resolve"]["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect();
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().filter(|package| used.contains(package["id"].as_str().unwrap())).cloned().collect()
}

/// Whether the SPDX expression can be satisfied: `OR` (an old form is `/`) binds less than `AND`.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = text.split_whitespace().peekable();
    any(&mut words, allowed) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut found = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        found |= all(words, allowed);
    }
    found
}

fn all(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    let mut found = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        found &= one(words, allowed);
    }
    found
}

fn one(words: &mut Words<'_>, allowed: &BTreeSet<String>) -> bool {
    match words.next() {
        Some("(") => {
            let found = any(words, allowed);
            words.next_if_eq(&")").is_some() && found
        }
        Some(licence) => {
            // An exception permits more than the licence alone.
            if words.next_if_eq(&"WITH").is_some() {
                words.next();
            }
            allowed.contains(licence)
        }
        None => false,
    }
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = ["MIT", "Apache-2.0", "Unicode-3.0"].map(str::to_owned).into();
    for fine in ["MIT", "GPL-3.0 OR MIT", "GPL-3.0/MIT", "(MIT OR GPL-3.0) AND Unicode-3.0", "Apache-2.0 WITH x OR X"] {
        assert!(is_allowed(fine, &allowed), "{fine}");
    }
    for wrong in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR GPL-3.0) AND X", "MIT)", "(MIT", "MIT MIT"] {
        assert!(!is_allowed(wrong, &allowed), "{wrong}");
    }
}
