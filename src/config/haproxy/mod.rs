//! haproxy.cfg: text → lines of words → sections → TOML, with what became of each line.
//!
//! The files named after groups of words are tables: each word, and what becomes of it. docs/haproxy.md has the same
//! rows.

mod absence;
mod argument;
mod backend_table;
mod bind_address;
mod bind_words;
mod check_plan;
mod check_table;
mod check_words;
mod conditions;
mod document;
mod doubts;
mod environment;
mod excerpt;
mod expect_rule;
mod expression;
mod fate;
mod frontend_table;
mod global_plan;
mod global_table;
mod global_words;
mod http_check;
mod http_words;
mod judgement;
mod known;
mod lexer;
mod lines;
mod log_plan;
mod log_target;
mod log_words;
mod measure;
mod phrase;
mod predicate;
mod proxy;
mod proxy_words;
mod reading;
mod recognise;
mod resolver;
mod routing_words;
mod sections;
mod server_address;
mod server_arguments;
mod server_words;
mod setting;
mod shared;
mod source_address;
mod sources;
mod spot;
mod state_file;
mod stats_socket;
mod stats_words;
mod tcp_check;
#[cfg(test)]
mod tests;
mod timeout_words;
mod translation;

pub(crate) use environment::{Environment, HAPROXY_VERSION};
pub(in crate::config) use expression::holds;
pub(crate) use fate::{Fate, Verdict};
pub(crate) use global_plan::ProcessWords;
pub(crate) use reading::HaproxyReading;
pub(in crate::config) use recognise::is_haproxy;
pub(crate) use sources::{Source, sources};
