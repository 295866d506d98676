//! The task that looks names up, a few at a time, for as long as they are followed.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::sleep_until;

use super::found::FoundAddresses;
use super::lookup::look_up;
use super::schedule::{Answer, LookupSchedule};
use super::sockets::BoundedSockets;
use super::system::SystemNames;
use crate::config::Resolvers;

/// Names to follow from now on.
#[derive(Debug)]
pub(super) struct FollowOrder {
    pub(super) names: BTreeSet<String>,
    pub(super) resolvers: Vec<Resolvers>,
    /// Completes once each of these was looked up; its answer is sent before.
    pub(super) new: Vec<String>,
    pub(super) looked_up: oneshot::Sender<()>,
}

/// Looks names up and sends the answers, several at once where they come together. Returns when the other end is gone.
pub(super) async fn follow(
    mut orders: mpsc::UnboundedReceiver<FollowOrder>,
    answers: mpsc::UnboundedSender<Vec<Answer>>,
) {
    let mut lookups = Lookups::default();
    loop {
        lookups.start_due();
        let wake = lookups.wake_at().into();
        tokio::select! {
            order = orders.recv() => match order {
                Some(order) => lookups.follow(order),
                None => return,
            },
            Some(ended) = lookups.running.join_next_with_id() => lookups.end(ended),
            () = sleep_until(wake) => lookups.look_at_files(),
        }
        lookups.send(&answers);
    }
}

#[derive(Default)]
struct Lookups {
    schedule: LookupSchedule,
    /// `None`: not read yet.
    system: Option<Rc<SystemNames>>,
    sockets: Option<BoundedSockets>,
    resolvers: Vec<Resolvers>,
    /// By the name of a section, as far as it was used.
    sections: HashMap<String, Rc<SystemNames>>,
    running: JoinSet<Result<FoundAddresses, String>>,
    names: HashMap<Id, String>,
    /// Answers that were not sent yet, and since when there are some.
    answers: Vec<Answer>,
    since: Option<Instant>,
    waiting: Vec<(Vec<String>, oneshot::Sender<()>)>,
    /// When the files are looked at again.
    look: Option<Instant>,
}

impl Lookups {
    fn follow(&mut self, order: FollowOrder) {
        let now = Instant::now();
        self.schedule.follow(&order.names, now);
        if self.resolvers != order.resolvers {
            self.resolvers = order.resolvers;
            self.sections.clear();
            self.schedule.all_due(now);
        }
        self.waiting.push((order.new, order.looked_up));
    }

    fn start_due(&mut self) {
        let free = AT_ONCE.saturating_sub(self.running.len());
        for name in self.schedule.take_due(free, Instant::now()) {
            let (host, section) = name.split_once('@').map_or((&*name, None), |(host, of)| (host, Some(of)));
            let system = match section {
                Some(section) => self.section(section),
                None => self.system(),
            };
            let host = host.to_owned();
            let task = self.running.spawn_local(async move { look_up(&*system?, &host).await });
            self.names.insert(task.id(), name);
        }
    }

    /// What the files say, read where they were not yet.
    fn system(&mut self) -> Result<Rc<SystemNames>, String> {
        if let Some(system) = &self.system {
            return Ok(Rc::clone(system));
        }
        let sockets = self.sockets.get_or_insert_with(|| BoundedSockets::new(SOCKETS)).clone();
        let system = Rc::new(SystemNames::read(sockets).map_err(|error| error.to_string())?);
        self.look = Some(Instant::now() + LOOK);
        Ok(Rc::clone(self.system.insert(system)))
    }

    /// The name servers of a section.
    fn section(&mut self, name: &str) -> Result<Rc<SystemNames>, String> {
        if let Some(section) = self.sections.get(name) {
            return Ok(Rc::clone(section));
        }
        let settings = self.resolvers.iter().find(|resolvers| resolvers.name == name);
        let settings = settings.ok_or_else(|| format!("[resolvers.{name}] is gone"))?;
        let sockets = self.sockets.get_or_insert_with(|| BoundedSockets::new(SOCKETS)).clone();
        let section = Rc::new(SystemNames::of_section(settings, sockets).map_err(|error| error.to_string())?);
        self.sections.insert(name.to_owned(), Rc::clone(&section));
        self.look.get_or_insert_with(|| Instant::now() + LOOK);
        Ok(section)
    }

    fn look_at_files(&mut self) {
        let now = Instant::now();
        if self.look.is_some_and(|look| now < look) {
            return;
        }
        self.look = Some(now + LOOK);
        if self.system.iter().chain(self.sections.values()).any(|system| system.is_outdated()) {
            self.system = None;
            self.sections.clear();
            self.schedule.all_due(now);
        }
    }

    fn end(&mut self, ended: Result<(Id, Result<FoundAddresses, String>), JoinError>) {
        let (id, outcome) = match ended {
            Ok(ended) => ended,
            // A bug here or in the library costs this one answer.
            Err(error) => (error.id(), Err(format!("a bug of lb: {error}"))),
        };
        if let Some(name) = self.names.remove(&id) {
            let answer = Answer { name, outcome };
            self.schedule.looked_up(&answer, Instant::now());
            self.answers.push(answer);
            self.since.get_or_insert_with(Instant::now);
        }
    }

    /// Sends the answers once no other can be expected in the same moment.
    fn send(&mut self, answers: &mpsc::UnboundedSender<Vec<Answer>>) {
        let soon = self.since.is_some_and(|since| since.elapsed() < TOGETHER);
        if soon && !self.running.is_empty() {
            return;
        }
        if self.since.take().is_some() {
            // The other end is gone: so is this, with the next order.
            answers.send(std::mem::take(&mut self.answers)).ok();
        }
        for (names, looked_up) in std::mem::take(&mut self.waiting) {
            if self.schedule.has_tried(&names) {
                // The order may have been given up.
                looked_up.send(()).ok();
            } else {
                self.waiting.push((names, looked_up));
            }
        }
    }

    fn wake_at(&self) -> Instant {
        let due = self.schedule.next_due().filter(|_| self.running.len() < AT_ONCE);
        let look = self.look.filter(|_| !self.schedule.is_empty());
        let send = self.since.map(|since| since + TOGETHER);
        [due, look, send].into_iter().flatten().min().unwrap_or_else(|| Instant::now() + REST)
    }
}

/// Look-ups under way.
const AT_ONCE: usize = 16;

/// Datagram sockets at once, two of which a look-up needs.
pub(crate) const SOCKETS: usize = 2 * AT_ONCE;

/// For so long an answer waits for others.
const TOGETHER: Duration = Duration::from_millis(20);
const LOOK: Duration = Duration::from_secs(1);
const REST: Duration = Duration::from_secs(3600);
