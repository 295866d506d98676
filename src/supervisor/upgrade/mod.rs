//! Upgrade: `machine` decides (pure), `driver` carries out.

pub(crate) mod binary_check;

pub(crate) mod driver;
pub(crate) mod machine;
pub(crate) mod new_engine;
pub(crate) mod outcome;
pub(crate) mod requester;
