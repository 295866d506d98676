//! Who may serve.
pub mod health;
