//! `lb upgrade`.

use std::path::PathBuf;
use std::time::Duration;

use super::probation::probation;

/// Replace the running binary; no connection is refused and none is cut
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Progress goes to stderr, the outcome to stdout. Interrupting this command does
not stop the upgrade.

Exit codes:
  0  done
  1  no daemon answers
  2  wrong usage
  3  failed before the new engine was ready; the old one continues
  4  incompatible binary; the old engine continues
  5  another upgrade is in progress
  6  rolled back in probation; the old engine continues
  7  done; some sessions are left to drain in the old engine

Examples:
  lb upgrade
  lb upgrade --binary ./target/release/lb --probation 10s")]
pub(crate) struct UpgradeArgs {
    /// The new binary [default: the path that the daemon was started from]
    #[arg(long, value_name = "PATH")]
    pub(crate) binary: Option<PathBuf>,
    /// How long the new engine must serve before open sessions move to it: 0s to 60s [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = probation)]
    pub(crate) probation: Option<Duration>,
    /// Print the outcome as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
