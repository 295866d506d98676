//! How a worker reaches its sessions: to cut them, to freeze them, or to have them report.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use tokio::sync::mpsc::UnboundedSender;

use crate::backend::Server;
use crate::log::By;
use crate::proxy::frozen::Frozen;
use crate::proxy::sighting::Sighting;

/// What a session is ordered to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// End, and log this as the cause.
    Cut(By),
    /// Stop between two system calls and hand everything over.
    Freeze,
}

/// What a session finds at its next poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    Order(Order),
    /// Say how it stands, and continue.
    Report,
}

/// The worker's end of a session.
#[derive(Debug)]
pub(super) struct Handle {
    /// `None`: continue.
    demand: Cell<Option<Demand>>,
    waker: RefCell<Option<Waker>>,
    server: RefCell<Option<Arc<Server>>>,
    /// Where the session goes when it is frozen. Dropped with the handle at the latest, which closes the sink.
    sink: RefCell<Option<UnboundedSender<Frozen>>>,
    /// It did not freeze when it was ordered to: it ends within moments.
    declined: Cell<bool>,
}

/// All sessions of a worker, by their ids.
#[derive(Debug)]
pub(super) struct Register {
    next: Cell<u64>,
    handles: RefCell<HashMap<u64, Rc<Handle>>>,
    /// What was reported so far, while reports are collected.
    sightings: RefCell<Option<Vec<Sighting>>>,
    /// Held while reports are collected.
    pub(super) collecting: tokio::sync::Mutex<()>,
}

/// A session's place in the register; dropping it takes the session out.
#[derive(Debug)]
pub(super) struct Registered {
    register: Rc<Register>,
    key: u64,
    handle: Rc<Handle>,
}

impl Register {
    /// Of the worker with this number.
    ///
    /// No other session gets the id of one of these: ids begin at the time in microseconds, and a worker has no million
    /// sessions a second, so that those of the engines that follow are larger. What is meant for a session that has
    /// ended hits no other.
    pub(super) fn new(worker: usize) -> Self {
        let micros = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_micros());
        let first = (u64::try_from(micros).unwrap_or(0) * WORKERS) | (worker as u64 % WORKERS);
        Self {
            next: Cell::new(first),
            handles: RefCell::default(),
            sightings: RefCell::default(),
            collecting: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn enter(self: &Rc<Self>) -> Registered {
        let key = self.next.replace(self.next.get() + WORKERS);
        let handle = Rc::new(Handle {
            demand: Cell::default(),
            waker: RefCell::default(),
            server: RefCell::default(),
            sink: RefCell::default(),
            declined: Cell::default(),
        });
        self.handles.borrow_mut().insert(key, Rc::clone(&handle));
        Registered { register: Rc::clone(self), key, handle }
    }

    pub(super) fn len(&self) -> usize {
        self.handles.borrow().len()
    }

    /// All present sessions, oldest first.
    pub(super) fn all(&self) -> Vec<Rc<Handle>> {
        let handles = self.handles.borrow();
        let mut keyed: Vec<_> = handles.iter().collect();
        keyed.sort_unstable_by_key(|(key, _)| **key);
        keyed.into_iter().map(|(_, handle)| Rc::clone(handle)).collect()
    }

    /// Those sessions that are to be ended and have no such order yet, with their ids.
    pub(super) fn find(&self, ids: &[u64]) -> Vec<(u64, Rc<Handle>)> {
        let handles = self.handles.borrow();
        let found = ids.iter().filter_map(|id| Some((*id, Rc::clone(handles.get(id)?))));
        found.filter(|(_, handle)| !handle.is_cut()).collect()
    }

    /// Takes what sessions report from now on.
    pub(super) fn begin_collecting(&self) {
        *self.sightings.borrow_mut() = Some(Vec::with_capacity(self.len()));
    }

    /// What was reported, one sighting a session, the oldest session first.
    pub(super) fn end_collecting(&self) -> Vec<Sighting> {
        let mut sightings = self.sightings.take().unwrap_or_default();
        // One that was asked by a collection that was given up may report twice.
        sightings.sort_unstable_by_key(|sighting| sighting.id);
        sightings.dedup_by_key(|sighting| sighting.id);
        sightings
    }

    /// Orders the oldest `max` sessions that can freeze to do so, into `sink`. Those that declined once come last: they
    /// must not keep the others waiting.
    pub(super) fn freeze(&self, max: usize, sink: &UnboundedSender<Frozen>) {
        let mut handles = self.all();
        handles.retain(|handle| !matches!(handle.demand.get(), Some(Demand::Order(_))));
        handles.sort_by_key(|handle| handle.declined.get());
        for handle in handles.into_iter().take(max) {
            *handle.sink.borrow_mut() = Some(sink.clone());
            handle.give(Order::Freeze);
        }
    }
}

impl Handle {
    /// Gives an order and wakes the session. A cut is final.
    pub(super) fn give(&self, order: Order) {
        if !self.is_cut() {
            self.demand(Demand::Order(order));
        }
    }

    /// Has the session report. One that is ordered to end or to move does not.
    pub(super) fn ask(&self) {
        if self.demand.get().is_none() {
            self.demand(Demand::Report);
        }
    }

    fn demand(&self, demand: Demand) {
        self.demand.set(Some(demand));
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn is_cut(&self) -> bool {
        matches!(self.demand.get(), Some(Demand::Order(Order::Cut(_))))
    }

    pub(super) fn is_on(&self, server: &Arc<Server>) -> bool {
        self.server.borrow().as_ref().is_some_and(|own| Arc::ptr_eq(own, server))
    }
}

impl Registered {
    pub(super) fn id(&self) -> u64 {
        self.key
    }

    /// Ready once there is an order, or a report is wanted.
    #[inline]
    pub(super) fn poll_demand(&self, cx: &mut Context<'_>) -> Poll<Demand> {
        if let Some(demand) = self.handle.demand.get() {
            return Poll::Ready(demand);
        }
        let mut waker = self.handle.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Reports. Nothing is kept of it when reports are not collected any more.
    pub(super) fn report(&self, sighting: Sighting) {
        if self.handle.demand.get() == Some(Demand::Report) {
            self.handle.demand.set(None);
        }
        if let Some(sightings) = &mut *self.register.sightings.borrow_mut() {
            sightings.push(sighting);
        }
    }

    /// Hands the frozen session over. `Err` gives it back: its receiver is gone.
    pub(super) fn hand_over(&self, frozen: Frozen) -> Result<(), Box<Frozen>> {
        match self.handle.sink.borrow_mut().take() {
            Some(sink) => sink.send(frozen).map_err(|unsent| Box::new(unsent.0)),
            None => Err(Box::new(frozen)),
        }
    }

    /// Continues instead of freezing; the dropped sink lets the batch end without this session.
    pub(super) fn decline(&self) {
        self.handle.sink.borrow_mut().take();
        self.handle.declined.set(true);
        if self.handle.demand.get() == Some(Demand::Order(Order::Freeze)) {
            self.handle.demand.set(None);
        }
    }

    /// Records on which server the session is, so that it can be cut with it.
    pub(super) fn set_server(&self, server: Option<Arc<Server>>) {
        *self.handle.server.borrow_mut() = server;
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.register.handles.borrow_mut().remove(&self.key);
    }
}

/// More than there can be: the ids of each are a series of their own.
const WORKERS: u64 = 1024;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::log::{ClientName, During};
    use crate::proxy::sighting::Wait;

    #[test]
    fn sessions_that_cannot_freeze_keep_no_other_waiting() {
        let register = Rc::new(Register::new(0));
        let [declines, cut, frozen, continues] = [(); 4].map(|()| register.enter());
        let ordered = |registered: &Registered| registered.handle.demand.get() == Some(Demand::Order(Order::Freeze));
        let (sink, _wanted) = unbounded_channel();
        cut.handle.give(Order::Cut(By::Killed));
        register.freeze(1, &sink);
        assert!(ordered(&declines));
        declines.decline();
        register.freeze(1, &sink);
        assert!(ordered(&frozen) && !ordered(&declines) && !ordered(&continues));
        register.freeze(2, &sink);
        assert!(ordered(&continues) && ordered(&declines) && !ordered(&cut));
    }

    #[test]
    fn an_id_belongs_to_one_session() {
        let registers = [0, 1, 0].map(|worker| {
            // The next engine starts later.
            std::thread::sleep(Duration::from_micros(50));
            Rc::new(Register::new(worker))
        });
        let entered: Vec<_> = (0..30).map(|number| registers[number % 3].enter()).collect();
        let mut ids: Vec<_> = entered.iter().map(Registered::id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 30);
        assert!(registers[1].find(&ids).len() == 10 && registers[1].find(&[7]).is_empty());
    }

    #[test]
    fn reports_are_collected_once_each_and_orders_come_first() {
        let register = Rc::new(Register::new(0));
        let [reports, twice, moves, late] = [(); 4].map(|()| register.enter());
        let demand = |registered: &Registered| registered.handle.demand.get();
        let report = |registered: &Registered| {
            registered.report(Sighting {
                id: registered.id(),
                frontend: "web".into(),
                backend: "app".into(),
                client: ClientName::Unknown,
                age: Duration::ZERO,
                activity: Wait::new(Instant::now(), During::Queue).activity(),
            });
        };
        // Not collected: it was asked by a collection that was given up.
        late.handle.ask();
        report(&late);
        moves.handle.give(Order::Freeze);
        register.begin_collecting();
        for registered in [&reports, &twice, &moves] {
            registered.handle.ask();
        }
        assert_eq!(demand(&moves), Some(Demand::Order(Order::Freeze)), "a report is not worth a move");
        for registered in [&twice, &reports, &twice] {
            report(registered);
        }
        assert!([&reports, &twice, &late].map(demand).iter().all(Option::is_none), "they continue");
        let ids: Vec<_> = register.end_collecting().iter().map(|sighting| sighting.id).collect();
        assert_eq!(ids, [reports.id(), twice.id()]);
        twice.handle.ask();
        twice.handle.give(Order::Cut(By::Killed));
        assert_eq!(demand(&twice), Some(Demand::Order(Order::Cut(By::Killed))));
    }
}
