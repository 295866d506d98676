//! All sinks that some log names: each line is written to those of its own.

use std::sync::Arc;

use super::change_line::ChangeLine;
use super::header::{LineHeader, write_header};
use super::line::SessionLine;
use super::sink::{Losses, Sink};
use crate::config::{LogPlace, LogTarget};
use crate::stats::Counter;

/// Belongs to the writer.
#[derive(Debug)]
pub(super) struct Sinks {
    sinks: Vec<Sink>,
    lost: Arc<Counter>,
    losses: Losses,
    /// The line without its header, and with that of a target; kept for their memory.
    body: String,
    text: String,
}

impl Sinks {
    /// `lost`: counts the lines that are not written, here or before they come here.
    pub(super) fn open(places: Vec<LogPlace>, lost: Arc<Counter>) -> Self {
        let losses = Losses::new(Arc::clone(&lost));
        let mut sinks = Self { sinks: Vec::new(), lost, losses, body: String::new(), text: String::new() };
        sinks.change(&places);
        sinks
    }

    /// Opens what is new and closes what is not named any more.
    pub(super) fn change(&mut self, places: &[LogPlace]) {
        self.flush();
        self.sinks.retain(|sink| places.iter().any(|place| sink.is_at(place)));
        for place in places {
            self.sink(place);
        }
    }

    /// Writes the line to each of its targets, or counts it there.
    pub(super) fn write(&mut self, line: &SessionLine) {
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        line.write_to(&mut body);
        let level = if line.settings.separate_errors && line.is_error() { ERR } else { INFO };
        let header = LineHeader { level, tag: &line.settings.tag, at: line.ended() };
        self.spread(header, &body, &line.settings.targets);
        self.body = body;
    }

    /// The same for a line about a server.
    pub(super) fn write_change(&mut self, line: &ChangeLine) {
        let header = LineHeader { level: line.level, tag: &line.log.tag, at: line.at };
        self.spread(header, &line.text, &line.log.targets);
    }

    fn spread(&mut self, header: LineHeader<'_>, body: &str, targets: &[LogTarget]) {
        let mut text = std::mem::take(&mut self.text);
        for target in targets {
            text.clear();
            if !write_header(&mut text, header, target) {
                continue;
            }
            text.push_str(body);
            if let Some(length) = target.length {
                text.truncate(text.floor_char_boundary(length));
            }
            // A line from before a reload may name a place that is closed since.
            self.sink(&target.to).write(&text);
        }
        self.text = text;
    }

    pub(super) fn flush(&mut self) {
        self.sinks.iter_mut().for_each(Sink::flush);
    }

    /// Reports what was lost.
    pub(super) fn report(&mut self) {
        self.losses.report();
    }

    fn sink(&mut self, place: &LogPlace) -> &mut Sink {
        let at = self.sinks.iter().position(|sink| sink.is_at(place)).unwrap_or_else(|| {
            self.sinks.push(Sink::open(place.clone(), Arc::clone(&self.lost)));
            self.sinks.len() - 1
        });
        &mut self.sinks[at]
    }
}

/// The level of a session that did not end by itself, where that is told apart, and of all others.
const ERR: u8 = 3;
const INFO: u8 = 6;
