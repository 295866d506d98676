//! Which file of `src` uses which other: every path of the code (imports, expressions, types, the arguments of macros)
//! is followed through imports and re-exports to the file that defines its item.
//!
//! Code of unit tests does not count. Neither does what needs no path: `mod child;`, a re-export that the file does not
//! use itself, and a method call.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Item, UseTree, Visibility};

use super::source::{SourceFile, is_for_tests};

type ModulePath = Vec<String>;

/// The files by number, each with the files that it uses and an example of why.
pub(crate) type Uses = BTreeMap<usize, BTreeMap<usize, String>>;

/// What the names of one module mean.
#[derive(Default)]
struct Scope {
    file: usize,
    defined: HashSet<String>,
    /// By the name that they have here, as they are written.
    imported: HashMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
}

/// A path as it is written, and where.
struct Mention {
    module: ModulePath,
    path: Vec<String>,
}

#[derive(Default)]
struct Reader {
    scopes: HashMap<ModulePath, Scope>,
    mentions: Vec<Mention>,
    file: usize,
    module: ModulePath,
}

/// # Panics
/// When a file does not parse.
pub(crate) fn uses(files: &[SourceFile]) -> Uses {
    let mut reader = Reader::default();
    for (number, file) in files.iter().enumerate().filter(|(_, file)| !file.is_test()) {
        reader.file = number;
        reader.module = file.module();
        reader.scope();
        reader.visit_file(&file.syntax);
    }
    let mut uses = Uses::new();
    for mention in &reader.mentions {
        let from = reader.scopes[&mention.module].file;
        if let Some(to) = reader.file_of(&mention.module, &mention.path, 0)
            && to != from
        {
            uses.entry(from).or_default().entry(to).or_insert_with(|| mention.path.join("::"));
        }
    }
    uses
}

/// The sets of files that reach each other.
pub(crate) fn circles(uses: &Uses) -> Vec<BTreeSet<usize>> {
    let reached: BTreeMap<usize, BTreeSet<usize>> = uses.keys().map(|&file| (file, reach(uses, file))).collect();
    let reaches = |from: &usize, to: &usize| reached.get(from).is_some_and(|reached| reached.contains(to));
    let mut found = BTreeSet::new();
    for &file in uses.keys().filter(|file| reaches(file, file)) {
        found.insert(reached[&file].iter().copied().filter(|other| reaches(other, &file)).collect());
    }
    found.into_iter().collect()
}

fn reach(uses: &Uses, from: usize) -> BTreeSet<usize> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(file) = open.pop() {
        open.extend(uses.get(&file).into_iter().flat_map(BTreeMap::keys).filter(|next| reached.insert(**next)));
    }
    reached
}

impl Reader {
    fn scope(&mut self) -> &mut Scope {
        let file = self.file;
        self.scopes.entry(self.module.clone()).or_insert_with(|| Scope { file, ..Scope::default() })
    }

    fn mention(&mut self, path: Vec<String>) {
        self.mentions.push(Mention { module: self.module.clone(), path });
    }

    /// The path from the crate's root; `None` for what is not of this crate.
    fn absolute(&self, module: &[String], path: &[String], depth: usize) -> Option<ModulePath> {
        let (first, rest) = path.split_first()?;
        let from = |start: &[String]| Some([start, rest].concat());
        match first.as_str() {
            "crate" | "lb" => from(&[]),
            "self" => from(module),
            "super" => {
                let parent = &module[..module.len().checked_sub(1)?];
                match rest.first() {
                    Some(next) if next == "super" => self.absolute(parent, rest, depth),
                    _ => from(parent),
                }
            }
            name => {
                if let Some(imported) = self.scopes.get(module).and_then(|scope| scope.imported.get(name)) {
                    // `use name::…` beside a module of that name, or a circle of re-exports.
                    if imported.first() != Some(first) && depth < DEPTH {
                        return from(&self.absolute(module, imported, depth + 1)?);
                    }
                }
                let here = [module, std::slice::from_ref(first)].concat();
                let of_this_crate = self.scopes.contains_key(&here)
                    || self.scopes.get(module).is_some_and(|scope| scope.defined.contains(name));
                of_this_crate.then(|| [module, path].concat())
            }
        }
    }

    /// The file that defines it; `None` for what is not of this crate, and for a module by itself.
    fn file_of(&self, module: &[String], path: &[String], depth: usize) -> Option<usize> {
        let path = self.absolute(module, path, 0)?;
        let length = (0..=path.len()).rev().find(|&length| self.scopes.contains_key(&path[..length]))?;
        let (module, rest) = path.split_at(length);
        let (name, after) = rest.split_first()?;
        let scope = &self.scopes[module];
        if depth == DEPTH || scope.defined.contains(name) {
            return Some(scope.file);
        }
        if let Some(imported) = scope.imported.get(name) {
            return self.file_of(module, &[imported, after].concat(), depth + 1);
        }
        let through_glob = scope.globs.iter().find_map(|glob| {
            let target = self.absolute(module, glob, 0)?;
            let scope = self.scopes.get(&target)?;
            (scope.defined.contains(name) || scope.imported.contains_key(name)).then_some(target)
        });
        match through_glob {
            Some(target) => self.file_of(&target, &[&["self".to_owned()], rest].concat(), depth + 1),
            None => Some(scope.file),
        }
    }

    fn import(&mut self, tree: &UseTree, mut path: Vec<String>, exported: bool) {
        match tree {
            UseTree::Path(step) => {
                path.push(step.ident.to_string());
                self.import(&step.tree, path, exported);
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import(tree, path.clone(), exported));
            }
            UseTree::Glob(_) => self.scope().globs.push(path),
            UseTree::Name(name) if name.ident == "self" => {
                let name = path.last().unwrap().clone();
                self.scope().imported.insert(name, path);
            }
            UseTree::Name(name) => self.import_as(name.ident.to_string(), path, name.ident.to_string(), exported),
            UseTree::Rename(rename) => {
                self.import_as(rename.rename.to_string(), path, rename.ident.to_string(), exported);
            }
        }
    }

    fn import_as(&mut self, name: String, mut path: Vec<String>, item: String, exported: bool) {
        path.push(item);
        if !exported {
            self.mention(path.clone());
        }
        self.scope().imported.insert(name, path);
    }

    fn read_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut after_dot = false;
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end_of_path(&mut path);
                    }
                    if !after_dot {
                        path.push(ident.to_string());
                    }
                    (colons, after_dot) = (0, false);
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.end_of_path(&mut path);
                    colons = 0;
                    after_dot = matches!(&other, TokenTree::Punct(punct) if punct.as_char() == '.');
                    if let TokenTree::Group(group) = other {
                        self.read_tokens(group.stream());
                    }
                }
            }
        }
        self.end_of_path(&mut path);
    }

    fn end_of_path(&mut self, path: &mut Vec<String>) {
        if !path.is_empty() {
            self.mention(std::mem::take(path));
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if is_for_tests(attributes(item)) {
            return;
        }
        if let Some(name) = name(item) {
            self.scope().defined.insert(name);
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.content.is_some() {
            self.module.push(item.ident.to_string());
            self.scope();
            visit::visit_item_mod(self, item);
            self.module.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.import(&item.tree, Vec::new(), !matches!(item.vis, Visibility::Inherited));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.mention(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.visit_path(&called.path);
        self.read_tokens(called.tokens.clone());
    }

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

fn attributes(item: &Item) -> &[syn::Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// What it defines in its module, modules aside.
fn name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

/// How many re-exports one path may go through.
const DEPTH: usize = 16;
