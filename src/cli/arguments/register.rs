//! `lb register`.

use std::path::PathBuf;
use std::time::Duration;

use super::time::time;
use crate::config::Address;

/// Register a server in etcd for as long as it runs and is well
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With COMMAND it is an entry point: it starts COMMAND, registers it while its
check passes, and stops it only after the drain is over and the key is gone.
COMMAND's exit code is passed on; 128 + N if signal N killed it. Without
COMMAND it stays registered until a signal stops it.

TERM, INT and QUIT begin the stop, a second one cuts the drain short; HUP,
USR1 and USR2 are passed to COMMAND.

Examples:
  lb register --etcd http://etcd:2379 --key /app/servers/app1 \\
    --addr 172.17.0.5:8000
  lb register --etcd http://etcd:2379 --key /app/servers/app1 \\
    --addr 172.17.0.5:8000 --check http:/ping -- ./app --port 8000")]
pub(crate) struct RegisterArgs {
    /// An etcd endpoint; may be repeated
    #[arg(long, value_name = "URL", required = true, value_delimiter = ',')]
    pub(crate) etcd: Vec<String>,
    /// The key, for example /app/servers/app1
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) key: String,
    /// Where balancers reach the server
    #[arg(long, value_name = "HOST:PORT", value_parser = tcp_address)]
    pub(crate) addr: Address,
    /// Seconds after which the key vanishes if this process dies
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(i64).range(2..=86_400))]
    pub(crate) ttl: i64,
    #[command(flatten)]
    pub(crate) check: RegisterCheckArgs,
    /// How long the key says that the server drains, before it is removed and COMMAND stopped
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    pub(crate) drain: Duration,
    /// How long COMMAND may take to stop before it is killed
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    pub(crate) kill_after: Duration,
    /// An etcd user
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub(crate) username: Option<String>,
    /// The file with the password; only its owner and the own group may be able to read it
    #[arg(long, value_name = "FILE", requires = "username")]
    pub(crate) password_file: Option<PathBuf>,
    /// Certificate of the authority that signed etcd's certificate
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// A client certificate
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub(crate) cert: Option<PathBuf>,
    /// The certificate's key; only its owner and the own group may be able to read it
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key_file: Option<PathBuf>,
    /// What to run
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// How `lb register` finds out that the server is well.
#[derive(Debug, clap::Args)]
pub(crate) struct RegisterCheckArgs {
    /// What must pass for the key to be there: `tcp`, or `http:PATH` (expects a status from 200 to 399)
    #[arg(long, value_name = "CHECK", default_value = "tcp", value_parser = check)]
    pub(crate) check: RegisterCheck,
    /// Between two checks; also the longest that one may take
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    pub(crate) inter: Duration,
    /// Successes in a row that put the key again
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rise: u32,
    /// Failures in a row that remove the key
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) fall: u32,
}

/// What `--check` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RegisterCheck {
    Tcp,
    /// GET of this path.
    Http(String),
}

fn tcp_address(text: &str) -> Result<Address, String> {
    match text.parse() {
        Ok(Address::Unix(_)) => Err("balancers elsewhere cannot reach a unix socket".to_owned()),
        Ok(addr) => Ok(addr),
        Err(error) => Err(error.to_string()),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let inter = time(text)?;
    if inter < Duration::from_millis(100) { Err("write at least \"100ms\"".to_owned()) } else { Ok(inter) }
}

fn check(text: &str) -> Result<RegisterCheck, String> {
    match text.split_once(':') {
        None if text == "tcp" => Ok(RegisterCheck::Tcp),
        Some(("http", path)) if path.starts_with('/') => Ok(RegisterCheck::Http(path.to_owned())),
        _ => Err("write `tcp`, or `http:/path`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches};

    use super::*;

    fn parse(words: &str) -> Result<RegisterArgs, String> {
        let command = RegisterArgs::augment_args(clap::Command::new("register"));
        let matches = command.try_get_matches_from(words.split(' ')).map_err(|error| error.to_string())?;
        RegisterArgs::from_arg_matches(&matches).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_is_understood() {
        let args = parse(
            "register --etcd http://a:1,http://b:1 --key /app/a --addr 10.0.0.1:80 --check http:/ping -- ./app --port 80",
        )
        .unwrap();
        assert_eq!(args.etcd, ["http://a:1", "http://b:1"]);
        assert_eq!(args.command, ["./app", "--port", "80"]);
        assert_eq!((args.ttl, args.drain), (10, Duration::from_secs(5)));
        assert_eq!(args.check.check, RegisterCheck::Http("/ping".to_owned()));
    }

    #[test]
    fn errors_name_the_cause() {
        let with = |rest: &str| parse(&format!("register --etcd http://a:1 --key /app/a {rest}")).unwrap_err();
        assert!(with("--addr unix@/a").contains("cannot reach a unix socket"));
        assert!(with("--addr a").contains("has no port"));
        assert!(with("--addr a:1 --check ping").contains("write `tcp`, or `http:/path`"));
        assert!(with("--addr a:1 --username root").contains("--password-file"));
        assert!(with("--addr a:1 --ttl 1").contains("2..=86400"));
    }
}
