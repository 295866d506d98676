//! Files → the typed configuration, whichever of the two spellings they have.

use std::env;
use std::path::{Path, PathBuf};

use super::foreign::Form;
use super::haproxy::{Environment, Fate, HaproxyReading, Source, holds, sources};
use super::problem::Problems;
use super::{Config, parse_bytes, read};

/// A configuration, and what an haproxy.cfg asks for that is done otherwise here.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) notices: Vec<Fate>,
}

/// Reads a file, which may have either spelling.
///
/// # Errors
/// Every problem of the file at once; a single one without a line when it cannot be read.
pub fn load(path: &Path) -> Result<Config, Problems> {
    load_files(&[path.to_owned()], false).map(|loaded| loaded.config)
}

/// Reads a file, or several or directories of an haproxy.cfg. `skip_refused`: without the sections that cannot run
/// here.
///
/// # Errors
/// As `load`.
pub(crate) fn load_files(paths: &[PathBuf], skip_refused: bool) -> Result<Loaded, Problems> {
    match paths {
        [file] if !file.is_dir() => load_bytes(&file.display().to_string(), &read(file)?, skip_refused),
        _ => haproxy(&together(paths)?, skip_refused),
    }
}

/// As `load_files`, of the bytes of one file.
pub(crate) fn load_bytes(name: &str, bytes: &[u8], skip_refused: bool) -> Result<Loaded, Problems> {
    match source(name, bytes) {
        Some(source) => haproxy(&[source], skip_refused),
        None => parse_bytes(name, bytes).map(|config| Loaded { config, notices: Vec::new() }),
    }
}

/// What files hold that were read once, as a pipe can be.
#[derive(Debug)]
pub(crate) enum Spelling {
    Haproxy(Box<HaproxyReading>),
    /// It is one file, and no haproxy.cfg.
    Toml(Box<Config>),
}

/// Reads files of which each line's fate is to be told.
///
/// # Errors
/// As `load`.
pub(crate) fn read_files(paths: &[PathBuf]) -> Result<Spelling, Problems> {
    match paths {
        [file] if !file.is_dir() => read_bytes(&file.display().to_string(), &read(file)?),
        _ => Ok(Spelling::Haproxy(Box::new(reading(&together(paths)?)))),
    }
}

/// As `read_files`, of the bytes of one file.
pub(crate) fn read_bytes(name: &str, bytes: &[u8]) -> Result<Spelling, Problems> {
    match source(name, bytes) {
        Some(source) => Ok(Spelling::Haproxy(Box::new(reading(&[source])))),
        None => parse_bytes(name, bytes).map(|config| Spelling::Toml(Box::new(config))),
    }
}

/// Whether the condition of an `.if` holds outside of a file.
///
/// # Errors
/// HAProxy's sentence.
pub(crate) fn condition_holds(text: &str) -> Result<bool, String> {
    holds(text, &Environment::of_process(&[])).map_err(|error| error.to_string())
}

/// Files in a message.
pub(crate) fn shown_paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn haproxy(sources: &[Source], skip_refused: bool) -> Result<Loaded, Problems> {
    reading(sources).result(skip_refused).map(|(config, notices)| Loaded { config, notices })
}

fn reading(sources: &[Source]) -> HaproxyReading {
    let names: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
    HaproxyReading::of(sources, Environment::of_process(&names))
}

/// `None`: it is no haproxy.cfg.
fn source(name: &str, bytes: &[u8]) -> Option<Source> {
    let source = Source::new(name, bytes);
    // Under this name it stands where HAProxy stood.
    let expected = env::args_os().next().is_some_and(|program| Path::new(&program).ends_with("haproxy"));
    let form = if expected { Form::of_expected(&source.text) } else { Form::of(&source.text) };
    (form == Form::Haproxy).then_some(source)
}

/// Several files are one configuration only as haproxy.cfg.
fn together(paths: &[PathBuf]) -> Result<Vec<Source>, Problems> {
    let sources = sources(paths)?;
    let other = |source: &&Source| {
        let has_words = source.text.lines().any(|line| !line.trim().is_empty() && !line.trim().starts_with('#'));
        has_words && Form::of_expected(&source.text) != Form::Haproxy
    };
    match sources.iter().find(other) {
        Some(source) => {
            let what = "this is no haproxy.cfg, and only those are read together; name one file of TOML, or begin the file \
                        with a section of haproxy.cfg";
            Err(Problems::one(&source.name, 1, 1, what.to_owned()))
        }
        None => Ok(sources),
    }
}
