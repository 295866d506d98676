//! `lb check`: reports every error of a configuration at once.

use super::arguments::CheckArgs;
use super::{ExitStatus, output};
use crate::config::{self, Config};

pub(super) fn run(args: &CheckArgs) -> ExitStatus {
    match config::load(&args.file) {
        Ok(config) => output::print(&format!("{}: {}\n", args.file.display(), summary(&config))),
        Err(problems) => {
            // Editors look for the place at the beginning of a line.
            let errors = count(problems.iter().count(), "error");
            output::complain(&format!("{}: {errors}\n{problems}", args.file.display()));
            ExitStatus::BadInput
        }
    }
}

fn summary(config: &Config) -> String {
    let servers = config.backends.iter().map(|backend| backend.servers.len()).sum();
    let parts =
        [count(config.frontends.len(), "frontend"), count(config.backends.len(), "backend"), count(servers, "server")];
    format!("fine: {}", parts.join(", "))
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
