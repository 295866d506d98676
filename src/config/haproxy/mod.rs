//! haproxy.cfg: text → lines of words, with what became of each line.

// Until the sections are read.
#![allow(dead_code, unused_imports)]

mod conditions;
mod environment;
mod expression;
mod fate;
mod lexer;
mod lines;
mod recognise;
mod sources;
mod spot;
#[cfg(test)]
mod tests;

pub(crate) use environment::Environment;
pub(crate) use fate::{Fate, Fates, Verdict};
pub(crate) use lines::{Line, Word, lines};
pub(in crate::config) use recognise::is_haproxy;
pub(crate) use sources::{Source, sources};
pub(crate) use spot::Spot;
