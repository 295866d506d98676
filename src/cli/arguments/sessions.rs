//! `lb sessions` and `lb session`.

use super::server::ServerPath;

/// List open sessions
#[derive(Debug, clap::Args)]
#[command(after_help = "\
BACKEND and SERVER may hold * for any letters and ? for one. The oldest come
first, unless sorted otherwise. While an upgrade is in progress, the list lacks
those that the previous engine still has.

Examples:
  lb sessions
  lb sessions app/app1 'other/*'
  lb sessions app --sort bytes --limit 10
  lb sessions --json | jq '.sessions[] | select(.idle_ms > 60000) | .id'")]
pub(crate) struct SessionsArgs {
    /// Those of these backends or servers [default: all]
    #[arg(value_name = "BACKEND[/SERVER]", value_parser = scope)]
    pub(crate) scopes: Vec<NameScope>,
    /// Which come first
    #[arg(long, value_enum, default_value_t = SortKey::Age, value_name = "KEY")]
    pub(crate) sort: SortKey,
    /// Print no more than this many
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SortKey {
    /// The oldest
    Age,
    /// The longest silent
    Idle,
    /// Those that moved the most bytes, both ways together
    Bytes,
    /// The most bytes from the client
    In,
    /// The most bytes to the client
    Out,
}

/// End sessions
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lb session kill 0x1a53e2a3e8b4c01
  lb sessions app/app1 --json | jq -r '.sessions[].id' | xargs lb session kill")]
pub(crate) struct SessionArgs {
    #[command(subcommand)]
    pub(crate) command: SessionCommand,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum SessionCommand {
    /// End sessions: both sides get a reset
    #[command(after_help = "Example:\n  lb session kill 0x1a53e2a3e8b4c01")]
    Kill {
        /// As `lb sessions` prints it
        #[arg(value_name = "ID", required = true, value_parser = id)]
        ids: Vec<u64>,
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
    },
}

/// A backend, or servers of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameScope {
    pub(crate) backend: String,
    pub(crate) server: Option<String>,
}

fn scope(text: &str) -> Result<NameScope, &'static str> {
    if text.contains('/') {
        let ServerPath { backend, server } = text.parse()?;
        return Ok(NameScope { backend, server: Some(server) });
    }
    if text.is_empty() {
        return Err("write it as BACKEND or BACKEND/SERVER");
    }
    Ok(NameScope { backend: text.to_owned(), server: None })
}

fn id(text: &str) -> Result<u64, &'static str> {
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16)
        .map_err(|_| "an id is a hexadecimal number; `lb sessions` shows them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_a_backend_or_a_server() {
        let parsed = |text: &str| scope(text).map(|scope| (scope.backend, scope.server));
        assert_eq!(parsed("app"), Ok(("app".into(), None)));
        assert_eq!(parsed("*/app1"), Ok(("*".into(), Some("app1".into()))));
        for wrong in ["", "/app1", "app/"] {
            assert!(parsed(wrong).unwrap_err().contains("BACKEND"), "{wrong}");
        }
    }

    #[test]
    fn an_id_is_hexadecimal() {
        assert_eq!((id("0x1f"), id("1f")), (Ok(31), Ok(31)));
        assert!(id("app1").is_err() && id("").is_err());
    }
}
