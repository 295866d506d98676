//! The documentation and the program say the same: keys, commands and flags in both directions, links, examples.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::support::lb::lb;

/// What is documented or accepted: a section or command, and its keys or flags.
type Entries = BTreeMap<String, BTreeSet<String>>;

#[test]
fn the_configuration_page_has_every_key_and_no_other() {
    let accepted = accepted_keys();
    assert!(accepted.len() >= 10, "{:?}", accepted.keys());
    let documented = documented(&read("docs/configuration.md"), |heading| match heading {
        "The file" => Some(String::new()),
        _ => Some(heading.strip_prefix("`[")?.strip_suffix("]`")?.to_owned()),
    });
    assert_equal(&documented, &accepted, "docs/configuration.md", "the keys that `lb check` accepts");
}

#[test]
fn the_commands_page_has_every_command_and_flag_and_no_other() {
    let page = read("docs/commands.md");
    let accepted = commands();
    let documented = documented(&page, |heading| {
        Some(heading.strip_prefix('`')?.strip_suffix('`')?.to_owned()).filter(|name| name.starts_with("lb "))
    });
    assert_equal(&documented, &accepted, "docs/commands.md", "the flags that `--help` shows");
    let table: BTreeSet<_> = rows(&page).filter_map(|row| row.strip_prefix("[`")?.split_once("`](#")).collect();
    let table: BTreeSet<_> = table.into_iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(table, accepted.into_keys().collect(), "the table of commands");
    for flag in ["`--socket PATH`", "`--help`", "`--version`"] {
        assert!(page.contains(flag), "docs/commands.md lacks {flag}");
    }
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    for page in pages() {
        for link in links(&read(&page)) {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { PathBuf::from(&page) } else { Path::new(&page).with_file_name(path) };
            let found = root().join(&target);
            let has_anchor = || anchor.is_empty() || headings(&found).contains(anchor);
            if !found.exists() || !has_anchor() {
                wrong.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(wrong.is_empty(), "links without a target:\n{}", wrong.join("\n"));
}

#[test]
fn whole_configurations_in_the_pages_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lb.toml");
    let mut checked = 0;
    for page in pages() {
        for block in read(&page).split("```toml\n").skip(1) {
            let text = block.split("```").next().unwrap();
            if text.contains("[frontend.") {
                fs::write(&file, text).unwrap();
                let output = lb(&["check", "-f", file.to_str().unwrap()]);
                assert!(output.status.success(), "{page}: {}", String::from_utf8_lossy(&output.stderr));
                checked += 1;
            }
        }
    }
    assert!(checked >= 3, "{checked} examples");
}

#[test]
fn the_front_page_is_short_and_names_every_other() {
    let readme = read("README.md");
    let lines = readme.lines().count();
    assert!(lines <= 140, "README.md has {lines} lines, at most 140 are meant for it");
    let linked = links(&readme);
    for page in pages().into_iter().filter(|page| page.starts_with("docs/")) {
        assert!(linked.contains(&page), "README.md does not link {page}");
    }
    for command in ["cargo run --release -- demo", "tests/run"] {
        assert!(readme.lines().any(|line| line.starts_with(command)), "README.md lacks `{command}`");
    }
}

/// The sections of a configuration and their keys, as the program itself lists them in its messages about unknown
/// keys. The file is the section "".
fn accepted_keys() -> Entries {
    let mut found = Entries::new();
    let mut open = vec![Place::file()];
    while let Some(place) = open.pop() {
        let text = place.with(&format!("{UNKNOWN} = 1"));
        let listed = unknown_keys(&text);
        let keys = listed.into_values().next().unwrap_or_else(|| panic!("no list of keys for {text}"));
        for key in &keys {
            if place.name == "backend.NAME.servers.NAME" && ["check", "agent"].contains(&key.as_str()) {
                // As in its backend, by the same reader.
                continue;
            }
            if place.name == "defaults" {
                // The keys of the sections that take them.
                continue;
            }
            open.extend(place.below(key).into_iter().find(|inner| {
                let text = inner.with(&format!("{UNKNOWN} = 1"));
                // The table around it may be the one that does not know the key.
                unknown_keys(&text).contains_key(&inner.header)
            }));
        }
        found.insert(place.name, keys);
    }
    found
}

/// A table in a configuration, and how to write one with given contents.
struct Place {
    /// As docs name it: `backend.NAME.check`.
    name: String,
    /// As messages name it.
    header: String,
    before: String,
    after: String,
}

impl Place {
    fn file() -> Self {
        Self { name: String::new(), header: String::new(), before: String::new(), after: String::new() }
    }

    fn with(&self, contents: &str) -> String {
        format!("{}{contents}{}", self.before, self.after)
    }

    /// The tables that `key` may hold: itself, one a name, one an element of a list.
    fn below(&self, key: &str) -> [Self; 3] {
        // The keys of a check belong to types; only a script reads its steps.
        let kind = if key == "steps" { "type = \"script\", " } else { "" };
        let join = |name: &str, more: &str| if name.is_empty() { more.to_owned() } else { format!("{name}.{more}") };
        [("", "{ ", " }"), (".NAME", "{ some = { ", " } }"), ("", "[{ ", " }]")].map(|(name, before, after)| Self {
            name: join(&self.name, &format!("{key}{name}")),
            header: join(&self.header, &format!("{key}{}", name.replace("NAME", "some"))),
            before: format!("{}{kind}{key} = {before}", self.before),
            after: format!("{after}{}", self.after),
        })
    }
}

/// For each table of the text with an unknown key, the keys that it knows.
fn unknown_keys(text: &str) -> Entries {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lb.toml");
    fs::write(&file, text).unwrap();
    let output = lb(&["check", "-f", file.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    let message = |line: &str| {
        let (_, rest) = line.split_once(&format!("unknown key `{UNKNOWN}`"))?;
        let (place, known) = rest.split_once("; known are ")?;
        let place = place.strip_prefix(" in [").and_then(|place| place.strip_suffix(']')).unwrap_or_default();
        Some((place.to_owned(), quoted(known).collect()))
    };
    said.lines().filter_map(message).collect()
}

/// No slip of the fingers makes it a key.
const UNKNOWN: &str = "qqqqqqqqqqqqqqqqqqqqqqqq";

/// The commands that do something, with their own flags, as `--help` lists them.
fn commands() -> Entries {
    let mut found = Entries::new();
    let mut open = vec![Vec::new()];
    while let Some(command) = open.pop() {
        let mut line = command.clone();
        line.push("--help".to_owned());
        let help = lb(&line.iter().map(String::as_str).collect::<Vec<_>>());
        let help = String::from_utf8(help.stdout).unwrap();
        let names: Vec<_> = first_words(&help, "Commands:").filter(|name| name != "help").collect();
        if names.is_empty() {
            found.insert(format!("lb {}", command.join(" ")), flags(&help));
        }
        open.extend(names.into_iter().map(|name| [&command[..], &[name]].concat()));
    }
    found
}

/// Without those that every command has.
fn flags(help: &str) -> BTreeSet<String> {
    let all = part(help, "Options:").filter(|line| line.trim_start().starts_with('-')).filter_map(long_flag);
    all.filter(|flag| !["--help", "--socket"].contains(&&**flag)).collect()
}

fn long_flag(text: &str) -> Option<String> {
    let at = text.find("--")?;
    let end = text[at..].find(|c: char| !(c.is_ascii_lowercase() || c == '-')).map_or(text.len(), |end| at + end);
    Some(text[at..end].to_owned())
}

fn first_words<'a>(help: &'a str, title: &'a str) -> impl Iterator<Item = String> + 'a {
    // What is deeper belongs to the line above.
    part(help, title).filter(|line| !line.starts_with("   ")).filter_map(|line| {
        let word = line.split_whitespace().next()?;
        Some(word.to_owned())
    })
}

/// The lines below a title, up to an empty one that another title follows.
fn part<'a>(help: &'a str, title: &'a str) -> impl Iterator<Item = &'a str> {
    let below = help.lines().skip_while(move |line| *line != title).skip(1);
    below.take_while(|line| line.is_empty() || line.starts_with(' '))
}

/// The first column of the tables below the headings that `named` accepts: keys, or long flags.
fn documented(page: &str, named: impl Fn(&str) -> Option<String>) -> Entries {
    let mut found = Entries::new();
    for chapter in page.split("\n## ").skip(1) {
        let (heading, body) = chapter.split_once('\n').unwrap();
        let Some(name) = named(heading) else {
            continue;
        };
        let entries = rows(body).flat_map(|row| {
            let words: Vec<_> = quoted(row).collect();
            let flags: Vec<_> = words.iter().filter_map(|word| long_flag(word)).collect();
            if flags.is_empty() { words } else { flags }
        });
        found.insert(name, entries.collect());
    }
    found
}

/// The first cells of the tables.
fn rows(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// Pages and their own links, without those that leave the repository.
fn links(page: &str) -> BTreeSet<String> {
    let targets = page.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    targets.filter(|target| !target.contains("://")).map(str::to_owned).collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn headings(page: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(page).unwrap_or_default();
    let titles = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |title: &str| {
        let kept = title.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect::<String>()
    };
    titles.map(anchor).collect()
}

fn pages() -> Vec<String> {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|entry| format!("docs/{}", entry.unwrap().file_name().to_str().unwrap()));
    docs.chain(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(str::to_owned)).collect()
}

#[track_caller]
fn assert_equal(documented: &Entries, accepted: &Entries, page: &str, program: &str) {
    let pairs = |entries: &Entries| -> BTreeSet<String> {
        let sections = entries.keys().map(|section| format!("[{section}]"));
        let keys = entries.iter().flat_map(|(section, keys)| keys.iter().map(move |key| format!("[{section}] {key}")));
        sections.chain(keys).collect()
    };
    let (documented, accepted) = (pairs(documented), pairs(accepted));
    let missing: Vec<_> = accepted.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&accepted).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "{page} lacks {missing:?} and has {invented:?} beside {program}"
    );
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
