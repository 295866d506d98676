//! `lb wait`.

use std::time::Duration;

use super::server::ServerPath;
use super::time::time;

/// Wait until servers are UP, DOWN or without sessions
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("state").required(true).args(["up", "down", "empty"])), after_help = "\
BACKEND and SERVER may hold * for any letters and ? for one: all of the servers
have to be so. Ends with 3 when the time is up before.

Examples:
  lb wait app/app1 --up --timeout 30s
  lb server drain app/app1 && lb wait app/app1 --empty && reboot-app1
  lb wait 'app/*' --up")]
pub(crate) struct WaitArgs {
    /// As `lb server list` prints it
    #[arg(value_name = "BACKEND/SERVER", required = true)]
    pub(crate) servers: Vec<ServerPath>,
    /// Until they are there and UP
    #[arg(long)]
    pub(crate) up: bool,
    /// Until they are DOWN, in maintenance or gone
    #[arg(long)]
    pub(crate) down: bool,
    /// Until they have no session
    #[arg(long)]
    pub(crate) empty: bool,
    /// How long at most
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub(crate) timeout: Duration,
    /// Print the outcome as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
