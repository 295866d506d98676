//! The tasks of a worker thread, and the one place where it waits.
//!
//! A worker has thousands of small tasks of one kind that all live and die on its thread. What a general runtime does
//! for others (tasks that move or are joined from elsewhere, readiness shared with other threads) costs a small request
//! 4 % of its CPU. Here waking a task is to put its number into a queue, and a turn is: poll whoever is in the queue, wait
//! for the kernel once, fire the timers that are due. Wakers may be used on any thread; from others they ring a
//! doorbell. A waker is its slot's, not its task's: a task may be polled for nothing.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::runtime::reactor;
use crate::runtime::reactor::Doorbell;
use crate::runtime::timer;

/// The executor of this thread.
#[derive(Debug)]
pub(crate) struct Executor {
    remote: Arc<Remote>,
    root: Waker,
    _reactor: reactor::Installed,
}

/// Names a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskId {
    slot: u32,
    generation: u32,
}

struct Job {
    future: Pin<Box<dyn Future<Output = ()>>>,
    /// Made when it is polled first.
    waker: Option<Waker>,
}

#[derive(Default)]
struct Slot {
    /// Absent while it is polled, and when there is none.
    job: Option<Job>,
    /// What is left by the task before.
    spare: Option<Waker>,
    /// How many tasks had this slot before.
    generation: u32,
    queued: bool,
}

struct Tasks {
    /// The first is the root's, which has no job.
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Whoever is to be polled in this turn.
    queue: VecDeque<u32>,
    /// Whoever has woken itself while it was polled: it has had its share of this turn.
    later: Vec<u32>,
    polled: Option<u32>,
}

/// What wakers on other threads need.
#[derive(Debug)]
struct Remote {
    woken: Mutex<Vec<u32>>,
    doorbell: Doorbell,
}

struct SlotWaker {
    slot: u32,
    remote: Arc<Remote>,
}

thread_local! {
    static TASKS: RefCell<Tasks> = const { RefCell::new(Tasks::new()) };
    /// Whose wakers may use `TASKS`.
    static HOME: Cell<*const Remote> = const { Cell::new(std::ptr::null()) };
}

const ROOT: u32 = 0;

/// Polls in one turn at most: tasks that wake each other must not keep the worker from looking at the kernel.
const POLLS: usize = 1024;

/// The clock is read after so many polls: one of a session in bulk may take half a millisecond. What is due is noticed
/// late by the length of a turn at most.
const LOOK: usize = 16;

impl Executor {
    /// Makes this thread one that runs tasks.
    pub(crate) fn new() -> io::Result<Self> {
        let (reactor, doorbell) = reactor::install()?;
        let remote = Arc::new(Remote { woken: Mutex::default(), doorbell });
        HOME.set(Arc::as_ptr(&remote));
        TASKS.with_borrow_mut(|tasks| {
            tasks.slots.push(Slot::default());
            tasks.wake(ROOT);
        });
        Ok(Self { root: waker(ROOT, &remote), remote, _reactor: reactor })
    }

    /// Runs `root` to its end, and all tasks meanwhile; those that are left then are dropped.
    pub(crate) fn run<T>(self, root: impl Future<Output = T>) -> io::Result<T> {
        let mut root = pin!(root);
        timer::look();
        loop {
            for polls in 0..POLLS {
                if polls % LOOK == LOOK - 1 {
                    timer::look();
                }
                match TASKS.with_borrow_mut(Tasks::next) {
                    Some((ROOT, _)) => {
                        let mut cx = Context::from_waker(&self.root);
                        if let Poll::Ready(result) = root.as_mut().poll(&mut cx) {
                            return Ok(result);
                        }
                    }
                    Some((slot, Some(job))) => self.poll(slot, job),
                    // Woken after its end.
                    Some((_, None)) => {}
                    None => break,
                }
            }
            let limit = if TASKS.with_borrow_mut(Tasks::end_turn) { Some(Duration::ZERO) } else { timer::next_due() };
            let rung = reactor::wait(limit)?;
            timer::look();
            timer::fire();
            if rung {
                self.take_remote();
            }
            TASKS.with_borrow_mut(Tasks::begin_turn);
        }
    }

    fn poll(&self, slot: u32, mut job: Job) {
        let waker = job.waker.get_or_insert_with(|| waker(slot, &self.remote));
        let mut cx = Context::from_waker(waker);
        // A bug in one session must not end the others; it was reported by the panic hook.
        let polled = catch_unwind(AssertUnwindSafe(|| job.future.as_mut().poll(&mut cx)));
        if let Ok(Poll::Pending) = polled {
            TASKS.with_borrow_mut(|tasks| tasks.slots[slot as usize].job = Some(job));
        } else {
            let Job { future, waker } = job;
            // Here, since what it drops may wake others.
            drop(catch_unwind(AssertUnwindSafe(|| drop(future))));
            TASKS.with_borrow_mut(|tasks| tasks.leave(slot, waker));
        }
    }

    fn take_remote(&self) {
        let woken = std::mem::take(&mut *self.remote.lock());
        TASKS.with_borrow_mut(|tasks| woken.into_iter().for_each(|slot| tasks.wake(slot)));
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // A task that is dropped may start another one.
        loop {
            let tasks = TASKS.take();
            if tasks.slots.iter().all(|slot| slot.job.is_none()) {
                break;
            }
        }
        HOME.set(std::ptr::null());
        timer::stop_looking();
    }
}

/// Starts a task on this thread, which must run an [`Executor`].
pub(crate) fn spawn(future: impl Future<Output = ()> + 'static) -> TaskId {
    debug_assert!(!HOME.get().is_null(), "no executor on this thread");
    let future = Box::pin(future);
    TASKS.with_borrow_mut(|tasks| {
        let slot = tasks.free.pop().unwrap_or_else(|| {
            tasks.slots.push(Slot::default());
            // Tasks are a kilobyte each: there are fewer than 2³².
            u32::try_from(tasks.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let at = &mut tasks.slots[slot as usize];
        let waker = at.spare.take();
        at.job = Some(Job { future, waker });
        let generation = at.generation;
        tasks.wake(slot);
        TaskId { slot, generation }
    })
}

/// Gives the other tasks of this thread and the kernel's events their turn.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl TaskId {
    /// Drops the task where it stands, if it has not ended. Not for the task that is being polled.
    pub(crate) fn abort(self) {
        let future = TASKS.with_borrow_mut(|tasks| {
            let at = tasks.slots.get_mut(self.slot as usize)?;
            if at.generation != self.generation {
                return None;
            }
            let Job { future, waker } = at.job.take()?;
            tasks.leave(self.slot, waker);
            Some(future)
        });
        // Outside, since what it drops may wake others; and a bug there must not end the caller.
        drop(catch_unwind(AssertUnwindSafe(|| drop(future))));
    }
}

impl Tasks {
    const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), queue: VecDeque::new(), later: Vec::new(), polled: None }
    }

    /// Whoever is next, with what is needed to poll it unless it has ended.
    fn next(&mut self) -> Option<(u32, Option<Job>)> {
        let slot = self.queue.pop_front()?;
        self.polled = Some(slot);
        let at = &mut self.slots[slot as usize];
        at.queued = false;
        Some((slot, at.job.take()))
    }

    /// Whether somebody is to be polled without a wait.
    fn end_turn(&mut self) -> bool {
        self.polled = None;
        !self.queue.is_empty() || !self.later.is_empty()
    }

    /// Those who had their share come after those whom the kernel has called.
    fn begin_turn(&mut self) {
        self.queue.extend(self.later.drain(..));
    }

    fn wake(&mut self, slot: u32) {
        if let Some(at) = self.slots.get_mut(slot as usize)
            && !std::mem::replace(&mut at.queued, true)
        {
            if self.polled == Some(slot) {
                self.later.push(slot);
            } else {
                self.queue.push_back(slot);
            }
        }
    }

    fn leave(&mut self, slot: u32, spare: Option<Waker>) {
        let at = &mut self.slots[slot as usize];
        at.spare = spare;
        at.generation = at.generation.wrapping_add(1);
        self.free.push(slot);
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Remote {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u32>> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, slot: u32) {
        let mut woken = self.lock();
        woken.push(slot);
        if woken.len() == 1 {
            self.doorbell.ring();
        }
    }
}

fn waker(slot: u32, remote: &Arc<Remote>) -> Waker {
    let remote = Arc::clone(remote);
    Waker::from(Arc::new(SlotWaker { slot, remote }))
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if HOME.get() == Arc::as_ptr(&self.remote) {
            TASKS.with_borrow_mut(|tasks| tasks.wake(self.slot));
        } else {
            self.remote.wake(self.slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::rc::Rc;
    use std::thread;
    use std::time::Instant;

    use super::*;
    use crate::runtime::timer::Timer;

    fn run<T>(root: impl Future<Output = T>) -> T {
        Executor::new().unwrap().run(root).unwrap()
    }

    /// Counts how often it was dropped.
    struct Guard(Rc<Cell<u32>>);

    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }

    #[test]
    fn a_waker_wakes_from_another_thread() {
        for _ in 0..100 {
            let mut rung = false;
            run(poll_fn(|cx| {
                if rung {
                    return Poll::Ready(());
                }
                rung = true;
                let waker = cx.waker().clone();
                thread::spawn(move || waker.wake());
                Poll::Pending
            }));
        }
    }

    #[test]
    fn timers_fire_in_their_order_and_not_early() {
        let order = Rc::new(RefCell::new(Vec::new()));
        let begun = Instant::now();
        run(async {
            for millis in [30, 10, 20, 10] {
                let order = Rc::clone(&order);
                spawn(async move {
                    let due = begun + Duration::from_millis(millis);
                    Timer::at(due).await;
                    assert!(Instant::now() >= due);
                    order.borrow_mut().push(millis);
                });
            }
            // One that is dropped wakes nobody.
            drop(Timer::after(Duration::from_millis(5)));
            Timer::at(begun + Duration::from_millis(40)).await;
        });
        assert_eq!(*order.borrow(), [10, 10, 20, 30]);
    }

    #[test]
    fn a_task_that_wakes_itself_starves_nobody() {
        run(async {
            spawn(async {
                loop {
                    yield_now().await;
                }
            });
            Timer::after(Duration::from_millis(5)).await;
            let (tell, heard) = tokio::sync::oneshot::channel();
            spawn(async move { tell.send(()).unwrap() });
            heard.await.unwrap();
        });
    }

    #[test]
    fn tasks_that_wake_each_other_without_end_starve_nobody() {
        run(async {
            let wakers = Rc::new(RefCell::new([const { None::<Waker> }; 2]));
            for own in 0..2 {
                let wakers = Rc::clone(&wakers);
                spawn(poll_fn(move |cx| {
                    let mut wakers = wakers.borrow_mut();
                    wakers[own] = Some(cx.waker().clone());
                    if let Some(other) = &wakers[1 - own] {
                        other.wake_by_ref();
                    }
                    Poll::Pending
                }));
            }
            Timer::after(Duration::from_millis(5)).await;
        });
    }

    #[test]
    fn a_task_that_panics_is_dropped_and_ends_no_other() {
        let dropped = Rc::new(Cell::new(0));
        run(async {
            let guard = Guard(Rc::clone(&dropped));
            spawn(async move {
                let _guard = guard;
                panic!("a bug in one session");
            });
            let (tell, heard) = tokio::sync::oneshot::channel();
            spawn(async move { tell.send(()).unwrap() });
            heard.await.unwrap();
            assert_eq!(dropped.get(), 1);
        });
    }

    #[test]
    fn an_aborted_task_is_dropped_at_once_and_its_name_is_nobody_elses() {
        let dropped = Rc::new(Cell::new(0));
        let forever = || {
            let guard = Guard(Rc::clone(&dropped));
            async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            }
        };
        run(async {
            let first = spawn(forever());
            yield_now().await;
            first.abort();
            assert_eq!(dropped.get(), 1);
            // It has the same place.
            let second = spawn(forever());
            assert_eq!(second.slot, first.slot);
            first.abort();
            yield_now().await;
            assert_eq!(dropped.get(), 1);
        });
        assert_eq!(dropped.get(), 2, "what is left is dropped with the executor");
    }

    #[test]
    fn what_a_dropped_task_wakes_or_starts_does_no_harm() {
        struct Stirs(Waker);
        impl Drop for Stirs {
            fn drop(&mut self) {
                self.0.wake_by_ref();
                spawn(async {});
            }
        }
        let waker = run(poll_fn(|cx| {
            let stirs = Stirs(cx.waker().clone());
            spawn(async move {
                let _stirs = stirs;
                std::future::pending::<()>().await;
            });
            Poll::Ready(cx.waker().clone())
        }));
        // Nobody is there any more.
        waker.wake();
        run(yield_now());
    }
}
