//! The tasks of a worker thread, and the one place where it waits.
//!
//! A worker has thousands of small tasks of one kind that all live and die on its thread. What a general runtime does
//! for others (tasks that move or are joined from elsewhere, readiness shared with other threads) costs a small request
//! 4 % of its CPU. Here waking a task is to put its number into a queue, and a turn is: poll the tasks in the queue, wait
//! for the kernel once, fire the timers that are due. Wakers may be used on any thread; from others they ring a
//! doorbell. A waker belongs to a slot, not to a task: a task may be polled for nothing.

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
struct TaskSlot {
    /// Absent while it is polled, and when there is none.
    job: Option<Job>,
    /// The waker of the previous task.
    spare: Option<Waker>,
    /// How many tasks had this slot before.
    generation: u32,
    queued: bool,
}

struct Tasks {
    /// The first is the root's, which has no job.
    slots: Vec<TaskSlot>,
    free: Vec<u32>,
    /// Slots to be polled in this turn.
    queue: VecDeque<u32>,
    /// Tasks that woke themselves while they were polled: they have had their share of this turn.
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
    /// The executor of this thread: its wakers may use `TASKS`.
    static HOME: Cell<*const Remote> = const { Cell::new(std::ptr::null()) };
}

const ROOT: u32 = 0;

/// Polls in one turn at most: tasks that wake each other must not keep the worker from its kernel events.
const POLLS: usize = 1024;

/// The clock is read after so many polls: one of a session in bulk may take half a millisecond. What is due is noticed
/// late by the length of a turn at most.
const CLOCK_POLLS: usize = 16;

impl Executor {
    /// Makes this thread one that runs tasks.
    pub(crate) fn new() -> io::Result<Self> {
        let (reactor, doorbell) = reactor::install()?;
        let remote = Arc::new(Remote { woken: Mutex::default(), doorbell });
        HOME.set(Arc::as_ptr(&remote));
        TASKS.with_borrow_mut(|tasks| {
            tasks.slots.push(TaskSlot::default());
            tasks.wake(ROOT);
        });
        Ok(Self { root: waker(ROOT, &remote), remote, _reactor: reactor })
    }

    /// Runs `root` to its end, and all tasks meanwhile; those that are left then are dropped.
    pub(crate) fn run<T>(self, root: impl Future<Output = T>) -> io::Result<T> {
        let mut root = pin!(root);
        timer::refresh_clock();
        loop {
            for polls in 0..POLLS {
                if polls % CLOCK_POLLS == CLOCK_POLLS - 1 {
                    timer::refresh_clock();
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
            timer::refresh_clock();
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
        // A bug in one session must not end the others; the panic hook has reported it.
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
        timer::forget_clock();
    }
}

/// Starts a task on this thread, which must run an [`Executor`].
pub(crate) fn spawn(future: impl Future<Output = ()> + 'static) -> TaskId {
    debug_assert!(!HOME.get().is_null(), "no executor on this thread");
    let future = Box::pin(future);
    TASKS.with_borrow_mut(|tasks| {
        let slot = tasks.free.pop().unwrap_or_else(|| {
            tasks.slots.push(TaskSlot::default());
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
    /// Drops the task where it stands, if it has not ended. Must not be called by the task itself.
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

    /// The next slot, with what is needed to poll its task unless that has ended.
    fn next(&mut self) -> Option<(u32, Option<Job>)> {
        let slot = self.queue.pop_front()?;
        self.polled = Some(slot);
        let at = &mut self.slots[slot as usize];
        at.queued = false;
        Some((slot, at.job.take()))
    }

    /// Whether a task is to be polled without a wait.
    fn end_turn(&mut self) -> bool {
        self.polled = None;
        !self.queue.is_empty() || !self.later.is_empty()
    }

    /// Tasks that had their share come after those that kernel events have woken.
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
mod tests;
