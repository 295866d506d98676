//! The shape of the house in figures, and the bounds that it keeps.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::support::figure::figure;
use crate::support::source::{SourceFile, files};

#[test]
fn the_front_page_is_short() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let lines = readme.lines().count();
    figure("lines of README", lines);
    assert!(lines <= 140);
}

#[test]
fn files_and_functions_are_small() {
    let files = files();
    let lengths = files.iter().map(|file| (file.text.lines().count(), file.path.display().to_string()));
    figure("lines of a file of src, median and largest", median_and_largest(lengths.collect(), 50));
    let items = Items::of(&files);
    figure("lines of a function of src, 90 % and largest", median_and_largest(items.functions, 90));
    let rooms = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap().flatten();
    let mut rooms: Vec<_> = rooms.map(|entry| entry.file_name().into_string().unwrap()).collect();
    rooms.sort();
    figure("ls src", rooms.join(" "));
}

#[test]
fn a_type_name_says_one_thing() {
    let mut defined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, file) in Items::of(&files()).types {
        defined.entry(name).or_default().push(file);
    }
    let all: usize = defined.values().map(Vec::len).sum();
    let shared: Vec<_> = defined.iter().filter(|(_, files)| files.len() > 1).collect();
    let count: usize = shared.iter().map(|(_, files)| files.len()).sum();
    let share = count as f64 * 100.0 / all as f64;
    figure("types whose name another type has", format!("{share:.1} % ({count} of {all}): {}", names(&shared)));
    assert!(share < 17.0);
}

#[test]
fn no_struct_is_a_god() {
    let large: Vec<_> = Items::of(&files()).structs.into_iter().filter(|(fields, _)| *fields > MOST_FIELDS).collect();
    figure("structs of more than 15 fields", format!("{} {large:?}", large.len()));
    assert!(large.is_empty());
}

#[test]
fn unsafe_is_rare() {
    let mut found = Vec::new();
    for file in files() {
        let count = count_unsafe(file.text.parse().unwrap());
        if count > 0 {
            found.push(format!("{} {count}", file.path.display()));
        }
    }
    let count: usize = found.iter().map(|text| text.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum();
    figure("unsafe blocks and impls", format!("{count}: {}", found.join(", ")));
    assert!(count <= 12);
}

#[test]
fn comments_are_about_things() {
    let (mut words, mut found) = (0, Vec::new());
    for file in files() {
        for (number, line) in (1..).zip(file.text.lines()) {
            let Some(comment) = comment(line) else { continue };
            words += comment.split_whitespace().count();
            let persons = persons(comment);
            found.extend(persons.into_iter().map(|word| format!("src/{}:{number}: {word}", file.path.display())));
        }
    }
    let share = found.len() as f64 * 1000.0 / words as f64;
    figure("person words of 1,000 words of comment", format!("{share:.2} ({} of {words})", found.len()));
    assert!(share < 1.0, "{}", found.join("\n"));
}

/// What the syntax trees say, each with where it is.
#[derive(Default)]
struct Items {
    file: String,
    /// Lines from the signature to the closing brace.
    functions: Vec<(usize, String)>,
    types: Vec<(String, String)>,
    /// The number of fields.
    structs: Vec<(usize, String)>,
}

impl Items {
    fn of(files: &[SourceFile]) -> Self {
        let mut items = Self::default();
        for file in files {
            items.file = file.path.display().to_string();
            items.visit_file(&file.syntax);
        }
        items
    }

    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let lines = block.span().end().line - signature.span().start().line + 1;
        self.functions.push((lines, format!("{}::{}", self.file, signature.ident)));
    }

    fn type_name(&mut self, name: &syn::Ident) {
        self.types.push((name.to_string(), self.file.clone()));
    }
}

impl<'ast> Visit<'ast> for Items {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.type_name(&item.ident);
        self.structs.push((item.fields.len(), format!("{} in {}", item.ident, self.file)));
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.type_name(&item.ident);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.type_name(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.type_name(&item.ident);
        visit::visit_item_type(self, item);
    }
}

/// The number that `percent` of 100 do not exceed, and the largest with its name.
fn median_and_largest(mut numbers: Vec<(usize, String)>, percent: usize) -> String {
    numbers.sort();
    let (largest, name) = &numbers[numbers.len() - 1];
    format!("{} and {largest} ({name})", numbers[(numbers.len() - 1) * percent / 100].0)
}

fn names(shared: &[(&String, &Vec<String>)]) -> String {
    shared.iter().map(|(name, files)| format!("{name} {}", files.len())).collect::<Vec<_>>().join(", ")
}

/// Blocks and impls; an `unsafe fn` or an attribute promises, it does not do.
fn count_unsafe(tokens: TokenStream) -> usize {
    let mut count = 0;
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => count += count_unsafe(group.stream()),
            TokenTree::Ident(ident) if ident == "unsafe" => match tokens.peek() {
                Some(TokenTree::Group(block)) if block.delimiter() == Delimiter::Brace => count += 1,
                Some(TokenTree::Ident(next)) if next == "impl" => count += 1,
                _ => {}
            },
            _ => {}
        }
    }
    count
}

/// What a line has behind `//` outside of a text.
fn comment(line: &str) -> Option<&str> {
    let (at, _) = line.match_indices("//").find(|(at, _)| {
        let code = &line[..*at];
        code.replace("\\\"", "").matches('"').count().is_multiple_of(2)
    })?;
    Some(line[at..].trim_start_matches(['/', '!']))
}

/// The words that make a person of a process, a socket or a caller.
fn persons(comment: &str) -> Vec<&'static str> {
    let words: Vec<_> =
        comment.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
    let at = |start: usize, phrase: &str| {
        phrase.split(' ').enumerate().all(|(n, word)| words.get(start + n).is_some_and(|found| found == word))
    };
    let starts = 0..words.len();
    starts
        .flat_map(|start| PERSONS.iter().copied().filter(move |phrase| at(start, phrase)).collect::<Vec<_>>())
        .collect()
}

#[test]
fn unsafe_and_persons_are_seen() {
    let code = "#[unsafe(no_mangle)] unsafe fn f() { unsafe { g!(unsafe { 1 }) } } unsafe impl Send for X {}";
    assert_eq!(count_unsafe(code.parse().unwrap()), 3);
    assert_eq!(comment(r#"let url = "http://x"; // whoever"#), Some(" whoever"));
    assert_eq!(comment(r#"let url = "http://x";"#), None);
    assert_eq!(
        persons("Whoever goes on, is told: who? A whole whose, somebody's"),
        ["whoever", "goes on", "is told", "who", "somebody"]
    );
}

const MOST_FIELDS: usize = 15;

const PERSONS: &[&str] = &[
    "whoever",
    "whom",
    "who",
    "nobody",
    "somebody",
    "anybody",
    "everybody",
    "someone",
    "anyone",
    "everyone",
    "is told",
    "are told",
    "is heard",
    "goes on",
    "go on",
];
