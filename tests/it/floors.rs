//! Which plane may use which: imports point down only, and the two planes that serve never know each other.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::figure::figure;
use crate::support::imports;
use crate::support::source::files;

/// From the ground up. A module may use those on lower floors, and itself; not its neighbours.
/// The typed configuration is plain data without behaviour, which even socket options are made from, so it lies
/// at the bottom.
const FLOORS: &[&[&str]] = &[
    &["config", "stats", "exit", "fault", "pace"],
    &["sys"],
    &["runtime", "handoff", "proxy_protocol"],
    &["log", "backend"],
    &["proxy", "control"],
    &["engine", "supervisor"],
    &["cli"],
    &["main"],
];

#[test]
fn imports_point_down() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    let mut wrong = Vec::new();
    for file in &files {
        let path = file.strip_prefix(&src).unwrap();
        let module = path.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let text = fs::read_to_string(file).unwrap();
        for used in uses(&text) {
            if !may_use(module, &used) {
                wrong.push(format!("{}: `{module}` may not use `{used}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "floors of tests/it/floors.rs broken:\n{}", wrong.join("\n"));
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let files = files();
    let uses = imports::uses(&files);
    let name = |file: &usize| files[*file].path.display();
    let mut text = String::new();
    for circle in imports::circles(&uses) {
        text += &format!("a circle of {} files:\n", circle.len());
        for file in &circle {
            for (used, path) in uses[file].iter().filter(|(used, _)| circle.contains(used)) {
                text += &format!("  src/{} uses src/{}: {path}\n", name(file), name(used));
            }
        }
    }
    figure("circles of files", imports::circles(&uses).len());
    assert!(text.is_empty(), "{text}");
}

fn may_use(module: &str, used: &str) -> bool {
    let floor = |name: &str| FLOORS.iter().position(|floor| floor.contains(&name));
    match (floor(module), floor(used)) {
        (Some(own), Some(other)) => module == used || other < own,
        // A module the table does not know has no place yet.
        _ => false,
    }
}

/// The modules that the code (not its comments) names by `crate::` or, from the binary, `lb::`.
fn uses(text: &str) -> BTreeSet<String> {
    let code: String = text.lines().map(|line| line.split("//").next().unwrap_or_default().to_owned() + "\n").collect();
    let mut found = BTreeSet::new();
    for root in ["crate::", "lb::"] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let rest = &code[at + root.len()..];
            let names = rest.strip_prefix('{').map_or_else(|| vec![rest], members);
            found.extend(names.into_iter().map(first_name).filter(|name| !name.is_empty()));
        }
    }
    found
}

/// The members of a group of imports, of which `text` is what follows the opening brace.
fn members(text: &str) -> Vec<&str> {
    let (mut found, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                found.push(&text[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

fn first_name(text: &str) -> String {
    let name: String = text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    // Items of the crate's root (`crate::Thing`, `crate::macro!`) are no planes.
    if name.chars().next().is_some_and(char::is_lowercase) { name } else { String::new() }
}

fn collect(dir: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn an_import_that_points_up_or_sideways_is_seen() {
    let text = "use crate::proxy::{Relay, sys}; // crate::cli\nuse crate::{\n stats::{a, log},\n control::Checker,\n};\nlb::app::run();";
    assert_eq!(uses(text).into_iter().collect::<Vec<_>>(), ["app", "control", "proxy", "stats"]);
    assert!(may_use("proxy", "backend") && may_use("main", "cli") && may_use("control", "control"));
    assert!(!may_use("proxy", "control") && !may_use("control", "proxy"));
    assert!(!may_use("engine", "supervisor") && !may_use("supervisor", "engine"));
    assert!(
        !may_use("backend", "proxy")
            && !may_use("config", "backend")
            && !may_use("sys", "log")
            && !may_use("log", "backend")
    );
    assert!(!may_use("proxy", "somewhere_new"));
}
