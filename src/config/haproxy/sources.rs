//! The files of a configuration, as `-f` names them.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::problem::Problems;
use super::super::read;

/// A file as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// As it was named.
    pub(crate) name: String,
    pub(crate) text: String,
    /// The first line, from 1, that was not UTF-8 and was read as ISO-8859-1.
    pub(super) latin_line: Option<usize>,
}

impl Source {
    /// Bytes that are not UTF-8 stand in comments of old files; HAProxy does not care.
    pub(crate) fn new(name: impl Into<String>, bytes: &[u8]) -> Self {
        let mut latin_line = None;
        let mut text = String::with_capacity(bytes.len());
        for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
            if let Ok(line) = str::from_utf8(line) {
                text.push_str(line);
            } else {
                latin_line = latin_line.or(Some(number));
                text.extend(line.iter().map(|byte| char::from(*byte)));
            }
        }
        Self { name: name.into(), text, latin_line }
    }
}

/// Reads all files, and of a directory those that HAProxy reads.
///
/// # Errors
/// The first one that cannot be read.
pub(crate) fn sources(paths: &[PathBuf]) -> Result<Vec<Source>, Problems> {
    let mut sources = Vec::new();
    for path in paths {
        for file in files(path)? {
            sources.push(Source::new(file.display().to_string(), &read(&file)?));
        }
    }
    Ok(sources)
}

/// A directory stands for its files `*.cfg` in the order of the C locale, without hidden ones.
fn files(path: &Path) -> Result<Vec<PathBuf>, Problems> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let problem = |what: String| Problems::one(&path.display().to_string(), 0, 0, what);
    let entries =
        fs::read_dir(path).map_err(|error| problem(format!("cannot be read: {error}; let this user read it")))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|file| is_read(file)).collect();
    files.sort_by(|one, other| one.as_os_str().cmp(other.as_os_str()));
    if files.is_empty() {
        return Err(problem("has no file whose name ends with `.cfg`; name a file with `-f FILE`".to_owned()));
    }
    Ok(files)
}

/// A link that leads nowhere is read too, so that it is reported.
fn is_read(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().as_encoded_bytes();
    name.ends_with(b".cfg") && !name.starts_with(b".") && !file.is_dir()
}
