//! Upgrade: `machine` decides (pure), `driver` carries out.

pub(crate) mod binary_check;
pub(crate) mod candidate;
pub(crate) mod driver;
pub(crate) mod machine;
pub(crate) mod outcome;
pub(crate) mod requester;
