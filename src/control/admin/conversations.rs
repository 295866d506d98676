//! The connections to the admin socket that are being answered: a bounded number, of which one user has a share.
//!
//! One that has not asked yet is idle, and makes room for a newcomer when there is none left; one that has asked is
//! answered to its end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

/// All conversations. They continue when `serve` is dropped; an orderly end waits for them.
#[derive(Debug, Clone)]
pub struct Conversations(Rc<Table>);

#[derive(Debug)]
struct Table {
    /// Oldest first.
    open: RefCell<Vec<Rc<Conversation>>>,
    /// The users of the connections that wait for a place.
    waiting: RefCell<Vec<u32>>,
    max: usize,
    /// One has ended, or waits no more.
    ended: Notify,
}

#[derive(Debug)]
struct Conversation {
    uid: u32,
    since: Instant,
    /// No request has come yet.
    idle: Cell<bool>,
    evicted: Notify,
}

/// A connection that waits for a place.
#[derive(Debug)]
pub(super) struct Newcomer {
    table: Rc<Table>,
    uid: u32,
}

/// A place among them; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    table: Rc<Table>,
    own: Rc<Conversation>,
}

impl Default for Conversations {
    fn default() -> Self {
        Self::new(CONNECTIONS)
    }
}

impl Conversations {
    /// At most `max` at once, and three quarters of them of one user; more wait.
    pub fn new(max: usize) -> Self {
        Self(Rc::new(Table { open: RefCell::default(), waiting: RefCell::default(), max, ended: Notify::new() }))
    }

    /// Ready when every connection has its last answer. To be asked after `serve` was dropped.
    pub async fn over(&self) {
        while self.len() > 0 || !self.0.waiting.borrow().is_empty() {
            self.0.ended.notified().await;
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.open.borrow().len()
    }

    /// Takes a connection of this user in, which then waits for a place without holding up others. Waits itself only while
    /// as many of one user wait as can be answered.
    pub(super) async fn receive(&self, uid: u32) -> Newcomer {
        while self.0.waiting.borrow().iter().filter(|other| **other == uid).count() >= self.0.max {
            // Each of them waits for a while only.
            timeout(LOOK, self.0.ended.notified()).await.ok();
        }
        self.0.waiting.borrow_mut().push(uid);
        Newcomer { table: Rc::clone(&self.0), uid }
    }
}

impl Newcomer {
    /// Waits a little for a place. `None`: all are taken by conversations that do something.
    pub(super) async fn admit(self) -> Option<Place> {
        let Self { table, uid } = &self;
        let by = Instant::now() + PATIENCE;
        while !table.has_room(*uid) {
            table.evict(*uid);
            let turn = timeout(LOOK, table.ended.notified());
            if timeout_at(by, turn).await.is_err() {
                return None;
            }
        }
        let (idle, evicted) = (Cell::new(true), Notify::new());
        let own = Rc::new(Conversation { uid: *uid, since: Instant::now(), idle, evicted });
        table.open.borrow_mut().push(Rc::clone(&own));
        Some(Place { table: Rc::clone(table), own })
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        let mut waiting = self.table.waiting.borrow_mut();
        if let Some(place) = waiting.iter().position(|uid| *uid == self.uid) {
            waiting.remove(place);
        }
        drop(waiting);
        self.table.ended.notify_waiters();
    }
}

impl Table {
    fn has_room(&self, uid: u32) -> bool {
        self.open.borrow().len() < self.max && self.count(uid) < self.share()
    }

    /// Lets the oldest idle one go: of the newcomer's user if that has its share, else of the one that has most.
    fn evict(&self, newcomer: u32) {
        let open = self.open.borrow();
        let old = |other: &&Rc<Conversation>| other.idle.get() && other.since.elapsed() >= GRACE;
        let user = match self.count(newcomer) >= self.share() {
            true => Some(newcomer),
            false => open.iter().filter(old).map(|other| other.uid).max_by_key(|uid| self.count(*uid)),
        };
        if let Some(oldest) = open.iter().filter(old).find(|other| Some(other.uid) == user) {
            oldest.idle.set(false);
            oldest.evicted.notify_one();
        }
    }

    fn count(&self, uid: u32) -> usize {
        self.open.borrow().iter().filter(|other| other.uid == uid).count()
    }

    fn share(&self) -> usize {
        self.max - self.max / 4
    }
}

impl Place {
    /// Ready when the connection is to make room. Cancel safe.
    pub(super) async fn evicted(&self) {
        self.own.evicted.notified().await;
    }

    /// A request has come: this one is answered to its end.
    pub(super) fn is_active(&self) {
        self.own.idle.set(false);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.open.borrow_mut().retain(|other| !Rc::ptr_eq(other, &self.own));
        self.table.ended.notify_waiters();
        self.table.ended.notify_one();
    }
}

const CONNECTIONS: usize = 64;
/// A client that has just connected is about to ask.
const GRACE: Duration = Duration::from_millis(200);
/// How often a newcomer looks whether one is idle for long enough.
const LOOK: Duration = Duration::from_millis(20);
/// How long a newcomer waits while all are active.
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "local")]
    async fn a_user_at_its_share_holds_up_no_other() {
        let all = Conversations::new(4);
        let mut places = Vec::new();
        for _ in 0..3 {
            let place = all.receive(7).await.admit().await.unwrap();
            place.is_active();
            places.push(place);
        }
        let waits = tokio::task::spawn_local(all.receive(7).await.admit());
        let before = Instant::now();
        assert!(all.receive(0).await.admit().await.is_some(), "another user");
        assert!(before.elapsed() < PATIENCE / 2, "{before:?}");
        assert!(waits.await.unwrap().is_none());
        assert!(before.elapsed() >= PATIENCE, "{before:?}");
    }

    #[tokio::test(flavor = "local")]
    async fn those_that_wait_are_bounded_and_belong_to_the_end() {
        let all = Conversations::new(2);
        let newcomers = [all.receive(7).await, all.receive(7).await];
        assert!(timeout(LOOK * 2, all.receive(7)).await.is_err(), "a third one");
        assert!(timeout(LOOK * 2, all.over()).await.is_err());
        drop(newcomers);
        all.over().await;
    }
}
