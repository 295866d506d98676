//! ApacheBench and its report. It runs without `-r`, so that it stops at the first connection error.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::process::Process;

/// A run in the background.
#[derive(Debug)]
pub(crate) struct Ab {
    process: Process,
    requests: u64,
    _dir: TempDir,
}

#[derive(Debug, Clone)]
pub(crate) struct AbReport {
    pub(crate) exit: Option<i32>,
    requests: u64,
    pub(crate) complete: u64,
    pub(crate) failed: u64,
    pub(crate) non_2xx: u64,
    pub(crate) rate: f64,
    /// Milliseconds within which 50, 99 and 100 % were served.
    pub(crate) percentiles: (u64, u64, u64),
    text: String,
}

impl Ab {
    #[track_caller]
    pub(crate) fn start(addr: SocketAddr, requests: u64, concurrency: u32, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("ab");
        command.args(["-q", "-n", &requests.to_string(), "-c", &concurrency.to_string()]).args(options);
        command.arg(format!("http://{addr}/"));
        Self { process: Process::start("ab", dir.path(), &command), requests, _dir: dir }
    }

    /// Runs ab to its end.
    #[track_caller]
    pub(crate) fn run(addr: SocketAddr, requests: u64, concurrency: u32, options: &[&str]) -> AbReport {
        Self::start(addr, requests, concurrency, options).finish()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.ended().is_none()
    }

    #[track_caller]
    pub(crate) fn finish(mut self) -> AbReport {
        let exit = self.process.wait(Duration::from_secs(180)).code();
        let text = self.process.stdout() + &self.process.stderr();
        AbReport::parse(exit, self.requests, text)
    }
}

impl AbReport {
    fn parse(exit: Option<i32>, requests: u64, text: String) -> Self {
        let word = |label: &str| {
            let line = text.lines().map(str::trim_start).find(|line| line.starts_with(label))?;
            line[label.len()..].split_whitespace().next()
        };
        let number = |label: &str| word(label).and_then(|word| word.parse().ok()).unwrap_or(0);
        let rate = word("Requests per second:").and_then(|word| word.parse().ok()).unwrap_or(0.0);
        Self {
            exit,
            requests,
            complete: number("Complete requests:"),
            failed: number("Failed requests:"),
            non_2xx: number("Non-2xx responses:"),
            rate,
            percentiles: (number("50%"), number("99%"), number("100%")),
            text,
        }
    }

    /// # Panics
    /// When a request failed, was answered otherwise than 2xx, or ab gave up.
    #[track_caller]
    pub(crate) fn assert_flawless(&self) {
        let flawless = self.exit == Some(0) && self.failed == 0 && self.non_2xx == 0 && self.complete == self.requests;
        assert!(flawless, "{self}\n{}", self.text);
    }
}

impl std::fmt::Display for AbReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (p50, p99, max) = self.percentiles;
        write!(
            f,
            "{} of {} complete, {} failed, {} not 2xx, exit {:?}, {:.0}/s, p50 {p50} ms, p99 {p99} ms, max {max} ms",
            self.complete, self.requests, self.failed, self.non_2xx, self.exit, self.rate
        )
    }
}
