//! `lb convert`: an haproxy.cfg as the TOML that means the same.

use super::arguments::ConvertArgs;
use super::{ExitStatus, output};
use crate::config::{self, Spelling, shown_paths};

pub(super) fn run(args: &ConvertArgs) -> ExitStatus {
    let paths = args.files.paths();
    let reading = match config::read_files(&paths) {
        Ok(Spelling::Haproxy(reading)) => reading,
        Ok(Spelling::Toml(_)) => {
            output::complain(&format!("{}: this is no haproxy.cfg: nothing to convert", shown_paths(&paths)));
            return ExitStatus::BadInput;
        }
        Err(problems) => {
            output::complain(&problems.to_string());
            return ExitStatus::BadInput;
        }
    };
    let usable = reading.is_usable(args.files.skip_refused);
    let remarks = reading.fates.to_string();
    if !remarks.is_empty() {
        output::complain(&format!("{}: {}\n{remarks}", shown_paths(&paths), reading.summary()));
    }
    if usable { output::print(&reading.toml) } else { ExitStatus::BadInput }
}
