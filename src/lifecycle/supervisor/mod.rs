//! Supervisor.
pub mod outcome;
pub mod restart;
pub mod upgrade;
