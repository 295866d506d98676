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
    max: usize,
    /// One has ended.
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
        Self(Rc::new(Table { open: RefCell::default(), max, ended: Notify::new() }))
    }

    /// Ready when every connection has its last answer. To be asked after `serve` was dropped.
    pub async fn over(&self) {
        while self.len() > 0 {
            self.0.ended.notified().await;
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.open.borrow().len()
    }

    /// Waits a little for a place for a connection of this user. `None`: all are taken by conversations that do something.
    pub(super) async fn admit(&self, uid: u32) -> Option<Place> {
        let by = Instant::now() + PATIENCE;
        while !self.0.has_room(uid) {
            self.0.evict(uid);
            let turn = timeout(LOOK, self.0.ended.notified());
            if timeout_at(by, turn).await.is_err() {
                return None;
            }
        }
        let (idle, evicted) = (Cell::new(true), Notify::new());
        let own = Rc::new(Conversation { uid, since: Instant::now(), idle, evicted });
        self.0.open.borrow_mut().push(Rc::clone(&own));
        Some(Place { table: Rc::clone(&self.0), own })
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
