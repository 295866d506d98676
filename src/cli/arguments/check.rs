//! `lb check` and `lb convert`: both read a configuration and start nothing.

use std::path::PathBuf;

use super::run::DEFAULT_FILE;

/// Check a configuration file
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints every error as FILE:LINE:COLUMN: message. Of an haproxy.cfg it also
prints what is done otherwise (notice), has no effect (ignored), or keeps its
section from running (refused).
Exit code 0: the file can be used; 2: it has errors, or sections are refused
and there is no --skip-refused.

Examples:
  lb check lb.toml && sudo systemctl reload lb
  lb check --json /etc/haproxy/haproxy.cfg")]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) files: CfgArgs,
    /// Print the fate of each line as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print an haproxy.cfg as TOML
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Writes the same configuration to stdout, with the comments where they were and
a remark for what could not be carried over; those remarks also go to stderr.
Exit code 0: done; 2: the file has errors, or sections are refused and there is
no --skip-refused.

Example:
  lb convert /etc/haproxy/haproxy.cfg > lb.toml && lb check lb.toml")]
pub(crate) struct ConvertArgs {
    #[command(flatten)]
    pub(crate) files: CfgArgs,
}

/// The files that are read.
#[derive(Debug, clap::Args)]
pub(crate) struct CfgArgs {
    /// Configuration file, as with -f
    #[arg(value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// Configuration file; several and directories only of an haproxy.cfg [default: /etc/lb/lb.toml]
    #[arg(short, long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Leave out the sections of an haproxy.cfg that cannot run here
    #[arg(long)]
    pub(crate) skip_refused: bool,
}

impl CfgArgs {
    /// At least one.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let named: Vec<_> = self.file.iter().chain(&self.paths).cloned().collect();
        if named.is_empty() { vec![DEFAULT_FILE.into()] } else { named }
    }
}
