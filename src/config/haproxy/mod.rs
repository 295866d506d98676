//! haproxy.cfg: text → lines of words, with what became of each line.

// Until the sections are read.
#![allow(dead_code)]

mod conditions;
mod environment;
mod fate;
mod lexer;
mod sources;
mod spot;

pub(crate) use environment::Environment;
pub(crate) use fate::{Fate, Fates, Verdict};
pub(crate) use lexer::{Line, Word, lines};
pub(crate) use sources::Source;
pub(crate) use spot::Spot;
