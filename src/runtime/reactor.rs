//! Readiness of descriptors, by one `epoll(7)` a thread.
//!
//! Edge-triggered: what became ready stays noted until a call has met EAGAIN, or has brought less than it asked for.
//! Nothing here is shared with another thread, so that noting and polling are plain loads and stores. Writing is watched
//! from the first EAGAIN on, or from the start while a connect is under way: most sockets always take what they are
//! given. A descriptor without duplicates is deregistered by its close; one with duplicates must be
//! [`Registration::deregister`]ed, or its events continue to arrive.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;

use super::ready_set::ReadySet;

/// A descriptor that this thread watches for readiness. The task that waits for it first is woken by every event
/// of it from then on; no other may wait for it.
#[derive(Debug)]
pub(crate) struct Registration {
    fd: OwnedFd,
    entry: Entry,
}

/// What the reactor has noted of a descriptor.
#[derive(Debug)]
struct Readiness {
    token: Token,
    ready: Cell<ReadySet>,
    /// The kernel reports writing, too.
    watches_write: Cell<bool>,
    waker: OnceCell<Waker>,
}

/// Where the reactor finds a descriptor's readiness: its place, and which of those that had the place it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Token {
    place: u32,
    generation: u32,
}

/// A descriptor's place with the reactor, given up when dropped.
#[derive(Debug)]
struct Entry(Rc<Readiness>);

impl Registration {
    /// Watches `fd`, which must be non-blocking, for reading. A write counts as possible until it has met EAGAIN. Fails
    /// on a thread without a reactor, and with ENOSPC or ENOMEM when the kernel watches no more
    /// (`fs.epoll.max_user_watches`).
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        Self::register(fd, false)
    }

    /// Watches `fd` for reading and writing, which is not possible before the kernel reports it: a connect is under way.
    pub(crate) fn connecting(fd: OwnedFd) -> io::Result<Self> {
        Self::register(fd, true)
    }

    fn register(fd: OwnedFd, watches_write: bool) -> io::Result<Self> {
        let readiness = with_reactor(|reactor| {
            let readiness = reactor.enter(watches_write);
            let token = readiness.token;
            match epoll::add(&reactor.epoll, &fd, token.into(), flags(watches_write)) {
                Ok(()) => Ok(readiness),
                Err(errno) => {
                    reactor.leave(token);
                    Err(errno.into())
                }
            }
        })?;
        let entry = Entry(readiness);
        Ok(Self { fd, entry })
    }

    /// Whether it is ready for something of `what`; if not, the task is woken when anything happens to it.
    #[inline]
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>, what: ReadySet) -> Poll<()> {
        let readiness = &*self.entry.0;
        if readiness.ready.get().meets(what) {
            return Poll::Ready(());
        }
        let waker = readiness.waker.get_or_init(|| cx.waker().clone());
        debug_assert!(waker.will_wake(cx.waker()), "another task waits for it");
        Poll::Pending
    }

    /// Whether it is known to be ready for something of `what`.
    #[inline]
    pub(crate) fn is_ready(&self, what: ReadySet) -> bool {
        self.entry.0.ready.get().meets(what)
    }

    /// A read has emptied the descriptor: ready again at the next edge.
    pub(crate) fn has_read_all(&self) {
        self.clear(ReadySet::READ);
    }

    /// A write met EAGAIN: ready again at the next edge, which the kernel is asked to report. Fails when it is out
    /// of memory.
    pub(crate) fn is_full(&self) -> io::Result<()> {
        self.clear(ReadySet::WRITE);
        let readiness = &*self.entry.0;
        if !readiness.watches_write.get() {
            // This reports again what is ready by now.
            with_reactor(|reactor| {
                let events = flags(true);
                Ok(epoll::modify(&reactor.epoll, &self.fd, readiness.token.into(), events)?)
            })?;
            readiness.watches_write.set(true);
        }
        Ok(())
    }

    fn clear(&self, what: ReadySet) {
        let ready = &self.entry.0.ready;
        ready.set(ready.get().without(what));
    }

    /// Takes the descriptor, which may have duplicates, out of the epoll set.
    pub(crate) fn deregister(&self) {
        match with_reactor(|reactor| Ok(epoll::delete(&reactor.epoll, &self.fd)?)) {
            // Not registered, or the thread has no reactor any more: nothing is left to do.
            Ok(()) | Err(_) => {}
        }
    }

    /// Deregisters and gives the descriptor back.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.deregister();
        self.fd
    }
}

impl AsFd for Registration {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        REACTOR.with_borrow_mut(|reactor| {
            if let Some(reactor) = reactor {
                reactor.leave(self.0.token);
            }
        });
    }
}

fn flags(watches_write: bool) -> epoll::EventFlags {
    use epoll::EventFlags as E;
    let mut flags = E::IN | E::RDHUP | E::PRI | E::ET;
    flags.set(E::OUT, watches_write);
    flags
}

impl From<Token> for epoll::EventData {
    fn from(token: Token) -> Self {
        Self::new_u64(u64::from(token.generation) << 32 | u64::from(token.place))
    }
}

struct Reactor {
    epoll: OwnedFd,
    places: Vec<Place>,
    free: Vec<u32>,
    events: Box<[epoll::Event]>,
}

#[derive(Default)]
struct Place {
    generation: u32,
    readiness: Option<Rc<Readiness>>,
}

/// Events taken from the kernel in one call.
const EVENTS: usize = 512;

thread_local! {
    static REACTOR: RefCell<Option<Reactor>> = const { RefCell::new(None) };
}

/// The reactor of this thread, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Installed(());

/// By this other threads end a wait: an `eventfd(2)`.
#[derive(Debug)]
pub(crate) struct Doorbell(OwnedFd);

impl Doorbell {
    /// Ends the wait that is under way, or the next one. For any thread.
    pub(crate) fn ring(&self) {
        match rustix::io::write(&self.0, &1u64.to_ne_bytes()) {
            // The counter is full after 2⁶⁴ rings.
            Ok(_) | Err(_) => {}
        }
    }
}

/// Gives this thread a reactor. Fails without a free descriptor or memory.
pub(crate) fn install() -> io::Result<(Installed, Doorbell)> {
    let doorbell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let nothing = epoll::Event { flags: epoll::EventFlags::empty(), data: DOORBELL.into() };
    // Each ring is an edge of its own, whether or not the counter was read.
    let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&epoll, &doorbell, DOORBELL.into(), edge)?;
    REACTOR.set(Some(Reactor { epoll, places: Vec::new(), free: Vec::new(), events: vec![nothing; EVENTS].into() }));
    Ok((Installed(()), Doorbell(doorbell)))
}

impl Drop for Installed {
    fn drop(&mut self) {
        REACTOR.set(None);
    }
}

const DOORBELL: Token = Token { place: u32::MAX, generation: u32::MAX };

/// Waits for events, at most for `limit` (to the millisecond, rounded up; `None`: for ever), and wakes the tasks that
/// they concern. Returns whether the doorbell was rung. Fails on a thread without a reactor.
pub(crate) fn wait(limit: Option<Duration>) -> io::Result<bool> {
    with_reactor(|reactor| reactor.wait(limit))
}

fn with_reactor<T>(work: impl FnOnce(&mut Reactor) -> io::Result<T>) -> io::Result<T> {
    REACTOR.with_borrow_mut(|reactor| match reactor {
        Some(reactor) => work(reactor),
        None => Err(io::Error::other("this thread watches no descriptors")),
    })
}

impl Reactor {
    fn enter(&mut self, watches_write: bool) -> Rc<Readiness> {
        let ready = if watches_write { ReadySet::NOTHING } else { ReadySet::WRITE };
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            // Fewer than 2³¹ descriptors can be open.
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        });
        let at = &mut self.places[place as usize];
        let readiness = Rc::new(Readiness {
            token: Token { place, generation: at.generation },
            ready: Cell::new(ready),
            watches_write: Cell::new(watches_write),
            waker: OnceCell::new(),
        });
        at.readiness = Some(Rc::clone(&readiness));
        readiness
    }

    fn leave(&mut self, token: Token) {
        if let Some(place) = self.places.get_mut(token.place as usize)
            && place.generation == token.generation
            && place.readiness.take().is_some()
        {
            // Events of the old descriptor that are under way do not concern the next one.
            place.generation = place.generation.wrapping_add(1);
            self.free.push(token.place);
        }
    }

    fn wait(&mut self, limit: Option<Duration>) -> io::Result<bool> {
        let millis = limit.map(|limit| limit.as_nanos().div_ceil(1_000_000));
        // A longer wait returns in between, which is harmless.
        let millis = millis.map(|millis| i64::try_from(millis).unwrap_or(HOUR).min(HOUR));
        let limit = millis.map(|millis| Timespec { tv_sec: millis / 1000, tv_nsec: (millis % 1000 * 1_000_000) as _ });
        let count = match epoll::wait(&self.epoll, &mut *self.events, limit.as_ref()) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        let mut rung = false;
        for event in &self.events[..count] {
            let data = event.data.u64();
            let (place, generation) = (data as u32, (data >> 32) as u32);
            if (Token { place, generation }) == DOORBELL {
                rung = true;
            } else if let Some(at) = self.places.get(place as usize)
                && at.generation == generation
                && let Some(readiness) = &at.readiness
            {
                readiness.note(ReadySet::of(event.flags));
            }
        }
        Ok(rung)
    }
}

const HOUR: i64 = 3_600_000;

impl Readiness {
    fn note(&self, ready: ReadySet) {
        self.ready.set(self.ready.get() | ready);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests;
