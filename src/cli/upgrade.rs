//! `lb upgrade`: replace the running binary. Waits for the outcome, which is its exit code.

use std::path::PathBuf;
use std::time::Duration;

use super::ask::AdminSocket;
use super::{ExitStatus, output};
use crate::control::admin::Request;

/// Replace the running binary; no connection is refused and none is cut
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Progress goes to stderr, the outcome to stdout. If this command is
interrupted the upgrade goes on.

Exit codes:
  0  done
  1  no daemon answers
  2  wrong usage
  3  failed before the new engine was ready; the old one goes on
  4  incompatible binary; the old engine goes on
  5  another upgrade is in progress
  6  rolled back in probation; the old engine goes on
  7  done; some sessions are left to drain in the old engine

Examples:
  lb upgrade
  lb upgrade --binary ./target/release/lb --probation 10s")]
pub(super) struct Args {
    /// The new binary [default: the path that the daemon was started from]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// How long the new engine must serve before open sessions move to it: 0s to 60s [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = probation)]
    probation: Option<Duration>,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args, daemon: &AdminSocket) -> ExitStatus {
    // The daemon stands in another directory.
    let binary = match args.binary.map(std::path::absolute).transpose() {
        Ok(binary) => binary,
        Err(error) => {
            output::complain(&format!("--binary: {error}"));
            return ExitStatus::BadInput;
        }
    };
    let probation_ms = args.probation.and_then(|time| u64::try_from(time.as_millis()).ok());
    daemon.ask_and_show(&Request::Upgrade { binary, probation_ms }, args.json)
}

pub(super) fn probation(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}; write it as `5s` or `500ms`"))?;
    if time > LONGEST_PROBATION {
        return Err(format!("at most {}s", LONGEST_PROBATION.as_secs()));
    }
    Ok(time)
}

const LONGEST_PROBATION: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probation_is_a_time_up_to_a_minute() {
        assert_eq!(probation("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(probation("0s"), Ok(Duration::ZERO));
        assert_eq!(probation("1min"), Ok(Duration::from_secs(60)));
        assert!(probation("61s").unwrap_err().contains("60s"));
        assert!(probation("5").is_err());
    }
}
