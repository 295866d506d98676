//! `lb register`: puts a server into etcd while it is well, and takes it out before it stops: a container's entry point.
//!
//! The order is the point. Started: COMMAND first, then its check, then the key under a lease. Told to stop: the key is
//! deleted *first*, then time passes in which balancers stop sending (`--drain`), and only then COMMAND is told. The key
//! goes by a delete and not by ending the lease: balancers keep a server whose lease merely ended.
//!
//! etcd that is away delays the registration and nothing else; COMMAND never waits for it.

mod command;
mod lease;

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::select;
use tokio::time::sleep;

use crate::config::{self, Address, Check, CheckKind};
use command::{Running, Signals};
use lease::Registration;

/// Register a server in etcd for as long as it runs
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With COMMAND it is an entry point: COMMAND is started, registered once its
check passes, and told to stop only after its key is gone and the drain is
over. Its exit code is passed on; 128 + N when signal N killed it. Without
COMMAND it registers until it is told to stop.

TERM, INT and QUIT begin the stop, a second one cuts the drain short; HUP,
USR1 and USR2 go to COMMAND.

Examples:
  lb register --etcd http://etcd:2379 --key /app/servers/app1 \\
    --addr 172.17.0.5:8000
  lb register --etcd http://etcd:2379 --key /app/servers/app1 \\
    --addr 172.17.0.5:8000 --check http:/ping -- ./app --port 8000")]
pub(super) struct Args {
    /// An etcd endpoint; may be repeated
    #[arg(long, value_name = "URL", required = true, value_delimiter = ',')]
    etcd: Vec<String>,
    /// The key, for example /app/servers/app1
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    key: String,
    /// Where balancers reach the server
    #[arg(long, value_name = "HOST:PORT", value_parser = tcp_address)]
    addr: Address,
    /// Seconds after which the key vanishes when this process dies
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(i64).range(2..=86_400))]
    ttl: i64,
    /// What must pass before the key is put: `tcp`, or `http:PATH` (200 to 399 is well)
    #[arg(long, value_name = "CHECK", default_value = "tcp", value_parser = check)]
    check: Check,
    /// How long to wait between removing the key and stopping COMMAND
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    drain: Duration,
    /// How long COMMAND may take to stop before it is killed
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    kill_after: Duration,
    /// An etcd user
    #[arg(long, value_name = "NAME", requires = "password_file")]
    username: Option<String>,
    /// A file that only its owner can read
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<PathBuf>,
    /// The authority that signed etcd's certificate
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A client certificate
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert: Option<PathBuf>,
    /// Its key: a file that only its owner can read
    #[arg(long, value_name = "FILE", requires = "cert")]
    key_file: Option<PathBuf>,
    /// What to run
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs the command; returns COMMAND's exit code.
pub(super) fn run(args: Args) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(serve(args)).into(),
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            FAILED.into()
        }
    }
}

async fn serve(args: Args) -> u8 {
    // Before COMMAND exists, so that no signal is lost in between.
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            complain(&format!("cannot handle signals: {error}"));
            return FAILED;
        }
    };
    let mut running = match Running::start(&args.command) {
        Ok(running) => running,
        Err(error) => {
            complain(&error.to_string());
            return error.exit_code();
        }
    };
    signals.spare(&running);
    let mut registration = Registration::new(etcd_of(&args), args.key, args.addr, args.ttl, args.check);
    let stop = until_stop(&mut registration, &mut running, &mut signals).await;
    registration.remove().await;
    let code = match stop {
        Stop::Ended(code) => code,
        Stop::Told(signal) => {
            drain(args.drain, &mut running, &mut signals).await;
            running.stop(signal, args.kill_after).await
        }
    };
    registration.end().await;
    code
}

enum Stop {
    /// COMMAND ended by itself, with this code.
    Ended(u8),
    Told(Signal),
}

/// Registers and passes signals on, until there is reason to stop.
async fn until_stop(registration: &mut Registration, running: &mut Running, signals: &mut Signals) -> Stop {
    let mut keep = pin!(registration.keep());
    loop {
        select! {
            never = &mut keep => match never {},
            code = running.ended() => return Stop::Ended(code),
            signal = signals.next() => match signal {
                Signal::SIGHUP | Signal::SIGUSR1 | Signal::SIGUSR2 if running.is_command() => running.signal(signal),
                signal => return Stop::Told(signal),
            },
        }
    }
}

/// Waits, unless COMMAND ends or a second signal shows impatience.
async fn drain(time: Duration, running: &mut Running, signals: &mut Signals) {
    select! {
        () = sleep(time) => {}
        _ = running.ended() => {}
        _ = signals.next() => {}
    }
}

fn etcd_of(args: &Args) -> config::Etcd {
    config::Etcd {
        endpoints: args.etcd.clone(),
        username: args.username.clone(),
        password_file: args.password_file.clone(),
        ca: args.ca.clone(),
        cert: args.cert.clone(),
        key: args.key_file.clone(),
        guard_delay: Duration::ZERO,
    }
}

fn tcp_address(text: &str) -> Result<Address, String> {
    match text.parse() {
        Ok(Address::Unix(_)) => Err("balancers elsewhere cannot reach a unix socket".to_owned()),
        Ok(addr) => Ok(addr),
        Err(error) => Err(error.to_string()),
    }
}

fn check(text: &str) -> Result<Check, String> {
    let kind = match text.split_once(':') {
        None if text == "tcp" => CheckKind::Tcp,
        Some(("http", path)) if path.starts_with('/') => {
            CheckKind::Http { method: "GET".to_owned(), path: path.to_owned(), host: None, status: vec![(200, 399)] }
        }
        _ => return Err("write `tcp`, or `http:/path`".to_owned()),
    };
    Ok(Check { kind, ..Check::default() })
}

/// A line for people.
fn complain(message: &str) {
    eprintln!("lb: register: {message}");
}

/// It failed before COMMAND was started.
const FAILED: u8 = 1;

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches};

    use super::*;

    fn parse(words: &str) -> Result<Args, String> {
        let command = Args::augment_args(clap::Command::new("register"));
        let matches = command.try_get_matches_from(words.split(' ')).map_err(|error| error.to_string())?;
        Args::from_arg_matches(&matches).map_err(|error| error.to_string())
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
        assert!(matches!(args.check.kind, CheckKind::Http { path, .. } if path == "/ping"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let with = |rest: &str| parse(&format!("register --etcd http://a:1 --key /app/a {rest}")).unwrap_err();
        assert!(with("--addr unix@/a").contains("cannot reach a unix socket"));
        assert!(with("--addr a").contains("has no port"));
        assert!(with("--addr a:1 --check ping").contains("write `tcp`, or `http:/path`"));
        assert!(with("--addr a:1 --username root").contains("--password-file"));
        assert!(with("--addr a:1 --ttl 1").contains("2..=86400"));
    }
}
