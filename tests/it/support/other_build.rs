//! A second real binary of `lb`, with other versions of the hand-off features (`tests/other-build`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::run;

/// Copies it to `to`, so that it belongs to the user that runs the tests.
#[track_caller]
pub(crate) fn copy_of_other_build(to: &Path) {
    // `tests/run` has built it as the owner of the checkout.
    let built = std::env::var_os("LB_TEST_OTHER_BUILD").map_or_else(build, PathBuf::from);
    fs::copy(built, to).unwrap();
}

#[track_caller]
fn build() -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/other-build");
    let output = run(&Command::new(script), Duration::from_secs(600));
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().into()
}
