//! The sources of the crate, parsed.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of `src`.
pub(crate) struct SourceFile {
    /// Below `src`.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    pub(crate) syntax: syn::File,
}

impl SourceFile {
    /// The path of its module from the crate's root; `main.rs` is a crate of its own.
    pub(crate) fn module(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.path.with_extension("").iter().map(|name| name.to_str().unwrap().to_owned()).collect();
        if names.last().is_some_and(|name| name == "mod" || name == "lib") {
            names.pop();
        }
        names
    }

    /// Whether it is compiled for unit tests alone: `tests.rs` and what is below `tests/`.
    pub(crate) fn is_test(&self) -> bool {
        self.module().iter().any(|name| name == "tests")
    }
}

/// Every file of `src`, by path.
pub(crate) fn files() -> Vec<SourceFile> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&src, &mut paths);
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        SourceFile { path: path.strip_prefix(&src).unwrap().to_owned(), text, syntax }
    };
    paths.into_iter().map(read).collect()
}

/// Whether an item with these attributes exists in unit tests alone.
pub(crate) fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}

fn collect(dir: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}
