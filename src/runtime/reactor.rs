//! Readiness of descriptors, by one `epoll(7)` a thread.
//!
//! Edge-triggered: what became ready stays noted until a call has met EAGAIN, or has brought less than it asked for.
//! Nothing here is shared with another thread, so that noting and asking are plain loads and stores. Writing is watched
//! from the first EAGAIN on, or from the start while a connect is under way: most sockets always take what they are
//! given. A descriptor that nobody else has is deregistered by its close; one with duplicates must be
//! [`Registration::deregister`]ed, or its events go on coming.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::ops::{BitOr, BitOrAssign};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;

/// What a descriptor is ready for, or is waited for; a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ready(u8);

impl Ready {
    pub(crate) const NOTHING: Self = Self(0);
    /// A read brings bytes, the end or an error.
    pub(crate) const READ: Self = Self(1);
    /// A write may take bytes, or brings an error.
    pub(crate) const WRITE: Self = Self(2);
    /// The peer has closed its half, or everything.
    pub(crate) const READ_CLOSED: Self = Self(4);
    /// The connection has broken (reset, timed out), or both directions are closed.
    pub(crate) const HANGUP: Self = Self(8);
    /// The peer has sent urgent data.
    pub(crate) const URGENT: Self = Self(16);

    fn of(events: epoll::EventFlags) -> Self {
        use epoll::EventFlags as E;
        let mut ready = Self::NOTHING;
        for (flags, means) in [
            (E::IN | E::RDHUP | E::HUP | E::ERR, Self::READ),
            (E::OUT | E::HUP | E::ERR, Self::WRITE),
            (E::RDHUP | E::HUP, Self::READ_CLOSED),
            (E::HUP | E::ERR, Self::HANGUP),
            (E::PRI, Self::URGENT),
        ] {
            if events.intersects(flags) {
                ready |= means;
            }
        }
        ready
    }

    fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Ready {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Ready {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

/// A descriptor whose readiness is watched by this thread. The task that waits for it first is woken by whatever happens
/// to it from then on; no other may wait for it.
#[derive(Debug)]
pub(crate) struct Registration {
    fd: OwnedFd,
    entry: Entry,
}

/// What is known of a descriptor.
#[derive(Debug)]
struct Readiness {
    token: Token,
    ready: Cell<Ready>,
    /// The kernel tells of writing, too.
    tells_write: Cell<bool>,
    waker: OnceCell<Waker>,
}

/// Where the reactor finds a source: its place, and which of those that had the place it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Token {
    place: u32,
    generation: u32,
}

/// A source's place with the reactor, given up when dropped.
#[derive(Debug)]
struct Entry(Rc<Readiness>);

impl Registration {
    /// Watches `fd`, which must be non-blocking, for reading. A write counts as possible until it has met EAGAIN. Fails
    /// on a thread without a reactor, and with ENOSPC or ENOMEM when the kernel watches no more
    /// (`fs.epoll.max_user_watches`).
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        Self::register(fd, false)
    }

    /// Watches `fd` for reading and writing, which is not possible before the kernel says so: a connect is under way.
    pub(crate) fn connecting(fd: OwnedFd) -> io::Result<Self> {
        Self::register(fd, true)
    }

    fn register(fd: OwnedFd, tells_write: bool) -> io::Result<Self> {
        let source = with_reactor(|reactor| {
            let source = reactor.enter(tells_write);
            let token = source.token;
            match epoll::add(&reactor.epoll, &fd, token.into(), flags(tells_write)) {
                Ok(()) => Ok(source),
                Err(errno) => {
                    reactor.leave(token);
                    Err(errno.into())
                }
            }
        })?;
        let entry = Entry(source);
        Ok(Self { fd, entry })
    }

    /// Whether it is ready for something of `what`; if not, the task is woken when anything happens to it.
    #[inline]
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>, what: Ready) -> Poll<()> {
        let source = &*self.entry.0;
        if source.ready.get().meets(what) {
            return Poll::Ready(());
        }
        let waker = source.waker.get_or_init(|| cx.waker().clone());
        debug_assert!(waker.will_wake(cx.waker()), "another task waits for it");
        Poll::Pending
    }

    /// Whether it is known to be ready for something of `what`.
    #[inline]
    pub(crate) fn is_ready(&self, what: Ready) -> bool {
        self.entry.0.ready.get().meets(what)
    }

    /// A read has emptied the descriptor: ready again at the next edge.
    pub(crate) fn has_read_all(&self) {
        self.clear(Ready::READ);
    }

    /// A write met EAGAIN: ready again at the next edge, which the kernel is asked to tell. Fails when it is out of
    /// memory.
    pub(crate) fn is_full(&self) -> io::Result<()> {
        self.clear(Ready::WRITE);
        let source = &*self.entry.0;
        if !source.tells_write.get() {
            // Whatever is ready by now is told again by this.
            with_reactor(|reactor| {
                let events = flags(true);
                Ok(epoll::modify(&reactor.epoll, &self.fd, source.token.into(), events)?)
            })?;
            source.tells_write.set(true);
        }
        Ok(())
    }

    fn clear(&self, what: Ready) {
        let ready = &self.entry.0.ready;
        ready.set(ready.get().without(what));
    }

    /// The kernel forgets the descriptor, which may have duplicates.
    pub(crate) fn deregister(&self) {
        match with_reactor(|reactor| Ok(epoll::delete(&reactor.epoll, &self.fd)?)) {
            // Not known, or the thread has no reactor any more: there is nothing to forget.
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

fn flags(tells_write: bool) -> epoll::EventFlags {
    use epoll::EventFlags as E;
    let mut flags = E::IN | E::RDHUP | E::PRI | E::ET;
    flags.set(E::OUT, tells_write);
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
    source: Option<Rc<Readiness>>,
}

/// Events taken from the kernel in one call.
const EVENTS: usize = 512;

thread_local! {
    static REACTOR: RefCell<Option<Reactor>> = const { RefCell::new(None) };
}

/// The reactor of this thread, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Installed(());

/// What other threads end a wait with: an `eventfd(2)`.
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
    // Each ring is an edge of its own, whether or not somebody has read the counter.
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

/// Waits for events, at most for `limit` (to the millisecond, rounded up; `None`: for ever), and wakes whom they
/// concern. Whether the doorbell was rung. Fails on a thread without a reactor.
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
    fn enter(&mut self, tells_write: bool) -> Rc<Readiness> {
        let ready = if tells_write { Ready::NOTHING } else { Ready::WRITE };
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            // Fewer than 2³¹ descriptors can be open.
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        });
        let at = &mut self.places[place as usize];
        let source = Rc::new(Readiness {
            token: Token { place, generation: at.generation },
            ready: Cell::new(ready),
            tells_write: Cell::new(tells_write),
            waker: OnceCell::new(),
        });
        at.source = Some(Rc::clone(&source));
        source
    }

    fn leave(&mut self, token: Token) {
        if let Some(place) = self.places.get_mut(token.place as usize)
            && place.generation == token.generation
            && place.source.take().is_some()
        {
            // Events of the old one that are under way do not concern the next one.
            place.generation = place.generation.wrapping_add(1);
            self.free.push(token.place);
        }
    }

    fn wait(&mut self, limit: Option<Duration>) -> io::Result<bool> {
        let millis = limit.map(|limit| limit.as_nanos().div_ceil(1_000_000));
        // Whoever wants to sleep longer is woken in between, to no harm.
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
                && let Some(source) = &at.source
            {
                source.note(Ready::of(event.flags));
            }
        }
        Ok(rung)
    }
}

const HOUR: i64 = 3_600_000;

impl Readiness {
    fn note(&self, ready: Ready) {
        self.ready.set(self.ready.get() | ready);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    use std::task::Wake;

    use super::*;

    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    struct Desk {
        count: Arc<Count>,
        waker: Waker,
        doorbell: Doorbell,
        _installed: Installed,
    }

    impl Desk {
        fn new() -> Self {
            let (installed, doorbell) = install().unwrap();
            let count = Arc::new(Count(0.into()));
            Self { waker: Waker::from(Arc::clone(&count)), _installed: installed, count, doorbell }
        }

        fn is_ready(&self, watched: &Registration, what: Ready) -> bool {
            let mut cx = Context::from_waker(&self.waker);
            watched.poll_ready(&mut cx, what).is_ready()
        }

        /// Takes events until there are none; how often the task was woken by them.
        fn woken(&self) -> u32 {
            assert!(!wait(Some(Duration::ZERO)).unwrap());
            self.count.0.swap(0, SeqCst)
        }
    }

    fn pair() -> (Registration, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (Registration::new(near.into()).unwrap(), far)
    }

    #[test]
    fn only_who_has_waited_is_woken() {
        let desk = Desk::new();
        let (near, mut far) = pair();
        far.write_all(b"x").unwrap();
        assert_eq!(desk.woken(), 0, "nobody asked");
        assert!(desk.is_ready(&near, Ready::READ), "it was noted");
        near.has_read_all();
        assert!(!desk.is_ready(&near, Ready::READ));
        far.write_all(b"x").unwrap();
        assert_eq!(desk.woken(), 1);
        drop(far);
        assert_eq!(desk.woken(), 1);
        assert!(desk.is_ready(&near, Ready::HANGUP) && near.is_ready(Ready::READ_CLOSED));
    }

    #[test]
    fn writing_is_told_once_it_has_been_asked_for() {
        let desk = Desk::new();
        let (near, mut far) = pair();
        assert!(desk.is_ready(&near, Ready::WRITE), "until it is tried");
        let block = [7; 4096];
        let mut sent = 0;
        while let Ok(len) = rustix::io::write(&near, &block) {
            sent += len;
        }
        near.is_full().unwrap();
        assert!(!desk.is_ready(&near, Ready::WRITE));
        assert_eq!(desk.woken(), 0);
        for _ in 0..2 {
            let mut taken = vec![0; sent];
            far.read_exact(&mut taken).unwrap();
            assert_eq!(desk.woken(), 1);
            assert!(desk.is_ready(&near, Ready::WRITE));
            sent = 0;
            while let Ok(len) = rustix::io::write(&near, &block) {
                sent += len;
            }
            near.is_full().unwrap();
            assert!(!desk.is_ready(&near, Ready::WRITE));
        }
    }

    #[test]
    fn events_of_one_that_is_gone_concern_nobody_else() {
        let desk = Desk::new();
        let (near, mut far) = pair();
        let duplicate = near.as_fd().try_clone_to_owned().unwrap();
        let place = near.entry.0.token.place;
        drop(near);
        let (next, _far) = pair();
        assert_eq!(next.entry.0.token.place, place);
        assert!(!desk.is_ready(&next, Ready::READ));
        // The old registration lives on with the duplicate.
        far.write_all(b"x").unwrap();
        assert_eq!(desk.woken(), 0);
        assert!(!desk.is_ready(&next, Ready::READ));
        drop(duplicate);
    }

    #[test]
    fn one_that_was_given_back_can_be_watched_again() {
        let desk = Desk::new();
        let (near, mut far) = pair();
        let near = Registration::new(near.into_fd()).unwrap();
        far.write_all(b"x").unwrap();
        assert!(!desk.is_ready(&near, Ready::READ));
        assert_eq!(desk.woken(), 1);
        let duplicate = near.as_fd().try_clone_to_owned().unwrap();
        near.deregister();
        assert!(Registration::new(duplicate).is_ok(), "twice in one reactor");
        assert!(Registration::new(near.into_fd()).is_ok());
    }

    #[test]
    fn each_ring_of_the_doorbell_ends_a_wait() {
        let desk = Desk::new();
        for _ in 0..3 {
            desk.doorbell.ring();
            assert!(wait(None).unwrap());
            assert!(!wait(Some(Duration::ZERO)).unwrap());
        }
    }

    #[test]
    fn a_thread_without_a_reactor_watches_nothing() {
        let (near, _far) = UnixStream::pair().unwrap();
        assert!(Registration::new(near.into()).is_err());
        assert!(wait(Some(Duration::ZERO)).is_err());
    }
}
