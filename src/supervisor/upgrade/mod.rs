//! An upgrade: `machine` decides (pure), `driver` carries out.

pub(crate) mod binary_check;
pub(crate) mod machine;
pub(crate) mod outcome;

pub(crate) mod driver;
