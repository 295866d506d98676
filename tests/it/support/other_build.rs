//! Other real binaries of `lb`: one with other versions of the hand-off features (`tests/other-build`), and one of an
//! older commit (`tests/old-build`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::run;

/// Copies it to `to`, so that it belongs to the user of the tests.
#[track_caller]
pub(crate) fn copy_of_other_build(to: &Path) {
    copy_of("LB_TEST_OTHER_BUILD", "other-build", to);
}

/// The same with the binary of the older commit.
#[track_caller]
pub(crate) fn copy_of_old_build(to: &Path) {
    copy_of("LB_TEST_OLD_BUILD", "old-build", to);
}

#[track_caller]
fn copy_of(variable: &str, script: &str, to: &Path) {
    // `tests/run` has built it as the owner of the checkout.
    let built = std::env::var_os(variable).map_or_else(|| build(script), PathBuf::from);
    fs::copy(built, to).unwrap();
}

#[track_caller]
fn build(script: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script);
    let output = run(&Command::new(script), Duration::from_secs(600));
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().into()
}
