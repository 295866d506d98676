//! `lb check`: is this configuration right? Says everything that is wrong at once.

use std::path::PathBuf;

use super::run::DEFAULT_FILE;
use super::{ExitStatus, output};
use crate::config::{self, Config};

/// Check a configuration file
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints every error with file:line:column.
Exit code 0: it can be used; 2: it cannot.

Example:
  lb check -f lb.toml && sudo systemctl reload lb")]
pub(super) struct Args {
    /// Configuration file
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_FILE)]
    file: PathBuf,
}

pub(super) fn run(args: &Args) -> ExitStatus {
    match config::load(&args.file) {
        Ok(config) => output::print(&format!("{}: {}\n", args.file.display(), summary(&config))),
        Err(problems) => {
            // The places stand at the beginning of their lines, where editors look for them.
            let errors = count(problems.iter().count(), "error");
            output::complain(&format!("{}: {errors}\n{problems}", args.file.display()));
            ExitStatus::BadInput
        }
    }
}

fn summary(config: &Config) -> String {
    let servers = config.backends.iter().map(|backend| backend.servers.len()).sum();
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let parts =
        [count(config.frontends.len(), "frontend"), count(config.backends.len(), "backend"), count(servers, "server")];
    format!("fine: {}", parts.join(", "))
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
