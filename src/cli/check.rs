//! `lb check`: reports every error of a configuration at once.

use super::arguments::CheckArgs;
use super::{ExitStatus, output};
use crate::config::{self, Config, counted};

pub(super) fn run(args: &CheckArgs) -> ExitStatus {
    match config::load(&args.file) {
        Ok(config) => output::print(&format!("{}: {}\n", args.file.display(), summary(&config))),
        Err(problems) => {
            // Editors look for the place at the beginning of a line.
            let errors = counted(problems.iter().count(), "error");
            output::complain(&format!("{}: {errors}\n{problems}", args.file.display()));
            ExitStatus::BadInput
        }
    }
}

fn summary(config: &Config) -> String {
    let servers = config.backends.iter().map(|backend| backend.servers.len()).sum();
    let parts = [
        counted(config.frontends.len(), "frontend"),
        counted(config.backends.len(), "backend"),
        counted(servers, "server"),
    ];
    format!("fine: {}", parts.join(", "))
}
