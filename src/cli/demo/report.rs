//! The output: a live line once a second, a line for each event, and the summary.
//!
//! Events and the live line go to stderr, the summary is the answer and goes to stdout.

use std::time::Duration;

use serde_json::json;

use super::load::{Load, Tally};
use super::stage::{DemoAdmin, DemoStage, NAMES};
use crate::log::voice;

/// The live line.
#[derive(Debug)]
pub(super) struct Live {
    admin: DemoAdmin,
    /// A terminal: the line is rewritten in place.
    in_place: bool,
    /// What the last line counted, for the rates of this one.
    last: Option<Tally>,
}

/// The result.
#[derive(Debug)]
pub(super) struct Summary {
    tally: Tally,
    /// Requests on the connection that stayed open, or why it did not.
    witnessed: Result<u64, String>,
}

impl Live {
    pub(super) fn new(stage: &DemoStage) -> Self {
        Self { admin: stage.admin(), in_place: voice::is_terminal(), last: None }
    }

    /// An event: a line that stays.
    pub(super) fn event(&mut self, what: &str) {
        self.write(&format!("* {what}"), true);
    }

    /// Shows rates, failures and server states of this moment.
    pub(super) async fn show(&mut self, time: Duration, load: &Load) {
        let servers = self.servers().await;
        let tally = load.tally();
        let line = live_line(time, &tally, self.last.as_ref(), &servers);
        self.last = Some(tally);
        self.write(&line, !self.in_place);
    }

    /// Leaves the last live line standing.
    pub(super) fn end(&mut self) {
        if self.in_place {
            voice::write(b"\n");
        }
    }

    /// Each server's name and the balancer's word for it.
    async fn servers(&self) -> Vec<(&'static str, &'static str)> {
        // Without a status the line shows `?`; the demo continues.
        let status = self.admin.status().await.unwrap_or_default();
        let word = |name: &str| {
            let mut servers = status.backends.iter().flat_map(|backend| &backend.servers);
            servers.find(|server| server.name == name).map_or("?", |server| server.status.word())
        };
        NAMES.map(|name| (name, word(name))).to_vec()
    }

    fn write(&self, line: &str, stays: bool) {
        let begin = if self.in_place { "\r\x1b[K" } else { "" };
        let end = if stays { "\n" } else { "" };
        voice::write(format!("{begin}{line}{end}").as_bytes());
    }
}

impl Summary {
    pub(super) fn new(tally: Tally, witnessed: Result<u64, String>) -> Self {
        Self { tally, witnessed }
    }

    /// No request failed, and the open connection lived.
    pub(super) fn is_clean(&self) -> bool {
        self.tally.failed == 0 && self.witnessed.is_ok()
    }

    pub(super) fn text(&self) -> String {
        let tally = &self.tally;
        let mut text = format!(
            "\nrequests  {} in {:.1} s, {}/s, every answer checked\nfailed    {}\n",
            grouped(tally.requests),
            tally.elapsed.as_secs_f64(),
            grouped(self.rate()),
            grouped(tally.failed),
        );
        for failure in &tally.failures {
            text.push_str(&format!("          {failure}\n"));
        }
        if tally.repeated > 0 {
            let repeated = grouped(tally.repeated);
            text.push_str(&format!(
                "repeated  {repeated} on kept connections whose server was killed, as HTTP clients do\n"
            ));
        }
        let times = self.quantiles().map(|(name, ms)| format!("{name} {ms:.2} ms")).join("  ");
        let servers = NAMES.map(|name| format!("{name} {:.1} %", share(tally, None, name))).join("  ");
        text.push_str(&format!("time      {times}\nservers   {servers}\n"));
        text.push_str(&match &self.witnessed {
            Ok(answered) => format!(
                "open      one connection from before the kill to the end, {} requests on it\n",
                grouped(*answered)
            ),
            Err(why) => format!("open      the connection that was to stay open: {why}\n"),
        });
        text.push_str(if self.is_clean() { "no client noticed\n" } else { "clients noticed\n" });
        text
    }

    pub(super) fn json(&self) -> String {
        let tally = &self.tally;
        let summary = json!({
            "requests": tally.requests,
            "failed": tally.failed,
            "failures": tally.failures,
            "repeated": tally.repeated,
            "seconds": tally.elapsed.as_secs_f64(),
            "rate": self.rate(),
            "time_ms": self.quantiles().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            "servers": tally.servers,
            "open_connection": match &self.witnessed {
                Ok(answered) => json!({ "answered": answered }),
                Err(why) => json!({ "failed": why }),
            },
        });
        format!("{summary}\n")
    }

    fn rate(&self) -> u64 {
        per_second(self.tally.requests, self.tally.elapsed)
    }

    fn quantiles(&self) -> [(&'static str, f64); 4] {
        let times = &self.tally.times;
        let quantile = |quantile| times.value_at_quantile(quantile);
        [("p50", quantile(0.5)), ("p90", quantile(0.9)), ("p99", quantile(0.99)), ("max", times.max())]
            .map(|(name, micros)| (name, micros as f64 / 1_000.0))
    }
}

fn live_line(time: Duration, now: &Tally, last: Option<&Tally>, servers: &[(&str, &str)]) -> String {
    let (requests, elapsed) = match last {
        Some(last) => (now.requests - last.requests, now.elapsed.saturating_sub(last.elapsed)),
        None => (now.requests, now.elapsed),
    };
    let servers = servers.iter().map(|(name, word)| format!("  {name} {word} {:.0} %", share(now, last, name)));
    format!(
        "{:5.1} s  {}/s  {} requests  {} failed {}",
        time.as_secs_f64(),
        grouped(per_second(requests, elapsed)),
        grouped(now.requests),
        now.failed,
        servers.collect::<String>(),
    )
}

/// How much of all answers (since `last`) came from a server, in percent.
fn share(now: &Tally, last: Option<&Tally>, server: &str) -> f64 {
    let of = |tally: &Tally| tally.servers.get(server).copied().unwrap_or_default();
    let all = |tally: &Tally| tally.servers.values().sum::<u64>();
    let part = of(now) - last.map_or(0, of);
    let whole = all(now) - last.map_or(0, all);
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

fn per_second(count: u64, time: Duration) -> u64 {
    let seconds = time.as_secs_f64();
    if seconds == 0.0 { 0 } else { (count as f64 / seconds).round() as u64 }
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        let table = [(0, "0"), (999, "999"), (1_000, "1,000"), (123_456, "123,456"), (1_234_567, "1,234,567")];
        for (number, text) in table {
            assert_eq!(grouped(number), text);
        }
    }
}
