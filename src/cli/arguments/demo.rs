//! `lb demo`, and the hidden commands that its processes run.

use std::ffi::OsString;
use std::net::SocketAddr;

/// See it work: three built-in servers under load, one killed, one drained, and an upgrade in the middle
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Needs nothing but this binary, and leaves nothing behind.
Exit code 1 if any request failed.

Examples:
  lb demo
  lb demo --bind 127.0.0.1:8080 --seconds 60
  and meanwhile: ab -n 10000 -c 16 http://127.0.0.1:8080/")]
pub(crate) struct DemoArgs {
    /// Where the balancer listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) bind: SocketAddr,
    /// How many seconds the load lasts, 2 to 3600
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=3600))]
    pub(crate) seconds: u32,
    /// Print the summary as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `lb demo-server`: one built-in server.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoServerArgs {
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    #[arg(long)]
    pub(crate) name: String,
}

/// `lb demo-child`: sets its parent-death signal, then becomes `lb ARGUMENTS`.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoChildArgs {
    #[arg(long)]
    pub(crate) parent: u32,
    #[arg(long)]
    pub(crate) signal: i32,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<OsString>,
}
