//! HAProxy's runtime API: what its stats socket understands and answers, word for word.
//!
//! A second spelling of the admin socket's requests and of `Status`, and nothing else: nothing here counts or changes
//! anything by itself. Renderings (`stat`, `info`, `state`, `session`) are pure functions of what a request answers.

mod column;
mod row;
