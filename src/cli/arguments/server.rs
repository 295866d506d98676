//! `lb server` and its commands.

use std::str::FromStr;
use std::time::Duration;

use super::time::time;

/// List and administer servers
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Changes hold until they are changed again; they survive reloads and upgrades,
not a restart.

Examples:
  lb server list
  lb server drain app/app1        no new sessions; open ones finish
  lb server ready app/app1
  lb server weight app/app1 50")]
pub(crate) struct ServerArgs {
    #[command(subcommand)]
    pub(crate) command: ServerCommand,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum ServerCommand {
    /// List all servers
    List {
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Let servers take new sessions again, as their health allows
    #[command(after_help = "Example:\n  lb server ready app/app1 'other/*'")]
    Ready(ServerTarget),
    /// Give servers no new sessions; open ones finish
    #[command(after_help = "\
Examples:
  lb server drain app/app1
  lb server drain app/app1 app/app2 --wait 30s
  lb server drain 'app/*' --wait 10m || lb server kill 'app/*' --over 30s")]
    Drain {
        #[command(flatten)]
        target: ServerTarget,
        /// Wait until they have no session, or so long: then it ends with 7
        #[arg(long, value_name = "TIME", value_parser = time)]
        wait: Option<Duration>,
    },
    /// Give servers no new sessions and stop checking them
    #[command(after_help = "\
Examples:
  lb server maint app/app1
  lb server maint app/app1 --wait 30s")]
    Maint {
        #[command(flatten)]
        target: ServerTarget,
        /// Wait until they have no session, or so long: then it ends with 7
        #[arg(long, value_name = "TIME", value_parser = time)]
        wait: Option<Duration>,
    },
    /// Set the share of new sessions of servers
    #[command(after_help = "\
Examples:
  lb server weight app/app1 50
  lb server weight 'app/*' 1")]
    Weight {
        #[command(flatten)]
        target: ServerTarget,
        /// 0 to 256; 0: no new sessions
        #[arg(value_name = "N", value_parser = weight, allow_negative_numbers = true)]
        weight: u16,
    },
    /// End the sessions of servers: both sides get a reset
    #[command(after_help = "\
New sessions still come, unless the server drains.

Examples:
  lb server drain app/app1 && lb server kill app/app1 --over 30s
  lb server kill 'app/old-*' other/app1")]
    Kill {
        #[command(flatten)]
        target: ServerTarget,
        /// Evenly spread over this time, up to an hour
        #[arg(long, value_name = "TIME", default_value = "0", hide_default_value = true, value_parser = spread)]
        over: Duration,
    },
    /// Apply a discovery change that is held because it would remove most servers
    #[command(after_help = "Example:\n  lb server accept app")]
    Accept {
        /// As `lb status` prints it
        #[arg(value_name = "BACKEND")]
        backend: String,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct ServerTarget {
    /// As `lb server list` prints it; may hold * for any letters and ? for one
    #[arg(value_name = "BACKEND/SERVER", required = true, allow_negative_numbers = true)]
    pub(crate) servers: Vec<ServerPath>,
    /// Print the answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A server as the command line writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerPath {
    pub(crate) backend: String,
    pub(crate) server: String,
}

impl FromStr for ServerPath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Only the first slash counts: the name of a discovered server may hold more.
        match text.split_once('/') {
            Some((backend, server)) if !backend.is_empty() && !server.is_empty() => {
                Ok(Self { backend: backend.to_owned(), server: server.to_owned() })
            }
            _ => Err("write it as BACKEND/SERVER; `lb server list` shows them"),
        }
    }
}

fn weight(text: &str) -> Result<u16, String> {
    let weight = text.parse().ok().filter(|weight| i64::from(*weight) <= MAX_WEIGHT);
    weight.ok_or_else(|| {
        let what = if text.ends_with('%') { "a weight is no percentage; " } else { "" };
        format!("{what}write a whole number from 0 to {MAX_WEIGHT}")
    })
}

fn spread(text: &str) -> Result<Duration, String> {
    let over = time(text)?;
    if over > Duration::from_secs(3600) { Err("an hour at most".to_owned()) } else { Ok(over) }
}

/// As `config::MAX_WEIGHT`; a test keeps them equal.
const MAX_WEIGHT: i64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_written_with_its_backend() {
        let parsed = |text: &str| text.parse::<ServerPath>().map(|path| (path.backend, path.server));
        assert_eq!(parsed("app/app1"), Ok(("app".into(), "app1".into())));
        assert_eq!(parsed("app/rack/1"), Ok(("app".into(), "rack/1".into())));
        for wrong in ["app", "app/", "/app1", "/", ""] {
            assert!(parsed(wrong).unwrap_err().contains("BACKEND/SERVER"), "{wrong}");
        }
    }

    #[test]
    fn the_largest_weight_is_that_of_the_configuration() {
        assert_eq!(MAX_WEIGHT, i64::from(crate::config::Weight::MAX));
    }
}
