//! Faults of the balancer under test, named by a point in its code, through the file in `LB_FAULT`.

use std::fs;
use std::path::Path;

/// Arms the fault `way` (`kill`, `hang`, ...) at `point`. The process that reaches the point first removes the file.
pub(crate) fn arm(file: &Path, point: &str, way: &str) {
    let fresh = file.with_extension("new");
    fs::write(&fresh, format!("{point} {way}")).unwrap();
    fs::rename(fresh, file).unwrap();
}
