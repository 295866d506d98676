//! Reloads that were asked for: one at a time, in order, so that of two the one asked for last wins.

use std::collections::VecDeque;

use crate::control::admin::ProgressSender;
use crate::engine::admin_socket::Reply;
use crate::engine::config_reader::ConfigReader;

/// Where a reload was asked for.
#[derive(Debug)]
pub(super) enum ReloadAsker {
    /// It reads warnings before the reply.
    Client {
        progress: ProgressSender,
        reply: Reply,
    },
    Signal,
}

/// Reloads under way and to come.
#[derive(Debug, Default)]
pub(super) struct ReloadQueue {
    /// Of the files that they read.
    pub(super) reader: ConfigReader,
    under_way: bool,
    waiting: VecDeque<ReloadAsker>,
}

impl ReloadQueue {
    /// Whether no reload is under way.
    pub(super) fn is_idle(&self) -> bool {
        !self.under_way
    }

    /// A signal is answered by a reload that begins after it: several need one.
    pub(super) fn push(&mut self, asker: ReloadAsker) {
        let is_signal = |asker: &ReloadAsker| matches!(asker, ReloadAsker::Signal);
        if !is_signal(&asker) || !self.waiting.iter().any(is_signal) {
            self.waiting.push_back(asker);
        }
    }

    /// The next reload, which is under way from now on. `None`: one is under way already, or none waits.
    pub(super) fn begin(&mut self) -> Option<ReloadAsker> {
        if self.under_way {
            return None;
        }
        let next = self.waiting.pop_front();
        self.under_way = next.is_some();
        next
    }

    /// The reload under way is over.
    pub(super) fn end(&mut self) {
        self.under_way = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_that_wait_are_one() {
        let mut queue = ReloadQueue::default();
        (0..1000).for_each(|_| queue.push(ReloadAsker::Signal));
        assert!(queue.begin().is_some());
        (0..1000).for_each(|_| queue.push(ReloadAsker::Signal));
        queue.end();
        assert!(queue.begin().is_some(), "the file may have changed since");
        queue.end();
        assert!(queue.begin().is_none());
    }

    #[test]
    fn one_reload_begins_when_the_one_before_it_is_over() {
        let mut queue = ReloadQueue::default();
        queue.push(ReloadAsker::Signal);
        assert!(queue.is_idle());
        assert!(queue.begin().is_some());
        queue.push(ReloadAsker::Signal);
        assert!(!queue.is_idle());
        assert!(queue.begin().is_none(), "one is under way");
        queue.end();
        assert!(queue.begin().is_some());
        queue.end();
        assert!(queue.begin().is_none());
        assert!(queue.is_idle());
    }
}
