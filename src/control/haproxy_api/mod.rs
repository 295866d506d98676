//! HAProxy's runtime API: what its stats socket understands and answers, word for word.
//!
//! A second spelling of the admin socket's requests and of `Status`, and nothing else: nothing here counts or changes
//! anything by itself. Renderings (`stat`, `info`, `state`, `session`) are pure functions of what a request answers.

mod check_words;
mod column;
mod info;
mod json;
mod row;
mod row_flags;
mod session;
mod standing;
mod stat;
mod stat_rows;
mod state;
