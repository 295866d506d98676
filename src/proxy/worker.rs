//! A worker: one thread, its own listeners and its own sessions.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::flow::COPY_BYTES;
use super::frontend::{Frontend, Permit};
use super::frozen::Frozen;
use super::{Notice, listener, session};
use crate::backend::{Backend, Server};
use crate::log::{By, SessionLog};
use crate::pace::OncePerSecond;
use crate::proxy::registry::{Order, Register};
use crate::runtime::executor::{Executor, TaskId, spawn, yield_now};
use crate::runtime::timer::Timer;
use crate::sys::pipe::Pipes;

/// Control's end of a worker.
#[derive(Debug)]
pub struct Worker {
    commands: mpsc::UnboundedSender<Command>,
    thread: thread::JoinHandle<()>,
}

/// What every worker is given.
#[derive(Debug, Clone)]
pub struct WorkerResources {
    pub log: SessionLog,
    /// Bounded: when control is behind, notices are dropped; the counters they speak of are not.
    pub notices: mpsc::Sender<Notice>,
    /// Pipes of this worker.
    pub pipes: usize,
}

/// Names a listening socket within the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u64);

#[derive(Debug)]
enum Command {
    Listen { id: ListenerId, frontend: Arc<Frontend>, socket: OwnedFd },
    Park { id: ListenerId, done: oneshot::Sender<()> },
    Retire { id: ListenerId, frontend: Arc<Frontend>, socket: OwnedFd, done: oneshot::Sender<()> },
    Cut { whose: SessionFilter, by: By, over: Duration },
    Freeze { max: usize, sink: mpsc::UnboundedSender<Frozen> },
    Thaw { frozen: Box<Frozen>, permit: Permit, backend: Arc<Backend> },
    WorkerStats { reply: oneshot::Sender<WorkerStats> },
}

/// Which sessions.
#[derive(Debug, Clone)]
pub enum SessionFilter {
    All,
    Server(Arc<Server>),
}

/// What a worker holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerStats {
    pub sessions: usize,
    pub pipes: usize,
}

/// What the sessions of a worker share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) desk: RefCell<Scratch>,
    pub(super) register: Rc<Register>,
    pub(super) log: SessionLog,
    notices: mpsc::Sender<Notice>,
    /// When this host's own trouble was last complained of.
    warned: Cell<OncePerSecond>,
}

/// What a session borrows for the length of one poll.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) buf: Box<[u8]>,
    pub(super) pipes: Pipes,
}

impl Worker {
    /// Starts the thread. It ends when this is dropped.
    pub fn start(index: usize, supplies: WorkerResources) -> io::Result<Self> {
        let (commands, receiver) = mpsc::unbounded_channel();
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            match Executor::new() {
                Ok(executor) => {
                    if ready.send(Ok(())).is_ok()
                        && let Err(error) = executor.run(obey(receiver, supplies))
                    {
                        tracing::error!("worker {index} cannot wait for the kernel: {error}");
                    }
                }
                // The starter hears of it or is gone.
                Err(error) => drop(ready.send(Err(error))),
            }
        })?;
        started.recv().map_err(|_| io::Error::other("the worker thread ended at once"))??;
        Ok(Self { commands, thread })
    }

    /// Accepts connections from `socket` from now on.
    pub fn listen(&self, id: ListenerId, frontend: Arc<Frontend>, socket: OwnedFd) {
        self.command(Command::Listen { id, frontend, socket });
    }

    /// Stops accepting from a listener and closes this worker's descriptor of it; connections in its queue stay there as
    /// long as a duplicate is open elsewhere. Returns once it is done.
    pub async fn park(&self, id: ListenerId) {
        let (done, parked) = oneshot::channel();
        self.command(Command::Park { id, done });
        match parked.await {
            // An error: the worker is gone, and its listeners with it.
            Ok(()) | Err(_) => {}
        }
    }

    /// Parks a listener, serves what waits in its queue, and closes `socket`, which must be the last descriptor of it.
    pub async fn retire(&self, id: ListenerId, frontend: Arc<Frontend>, socket: OwnedFd) {
        let (done, retired) = oneshot::channel();
        self.command(Command::Retire { id, frontend, socket, done });
        match retired.await {
            Ok(()) | Err(_) => {}
        }
    }

    /// Ends sessions, evenly spread over a time.
    pub fn cut(&self, whose: SessionFilter, by: By, over: Duration) {
        self.command(Command::Cut { whose, by, over });
    }

    /// Freezes the oldest `max` sessions that can be. What arrives at the sink is the caller's; the sink closes when
    /// all of them are frozen or have said that they cannot be. Those for whom the caller's end is closed go on.
    pub fn freeze(&self, max: usize, sink: mpsc::UnboundedSender<Frozen>) {
        self.command(Command::Freeze { max, sink });
    }

    /// Goes on with a frozen session, which counts as the frontend's from now on.
    pub fn thaw(&self, frozen: Frozen, frontend: &Arc<Frontend>, backend: Arc<Backend>) {
        self.command(Command::Thaw { frozen: Box::new(frozen), permit: Permit::force(frontend), backend });
    }

    pub async fn census(&self) -> WorkerStats {
        let (reply, answer) = oneshot::channel();
        self.command(Command::WorkerStats { reply });
        answer.await.unwrap_or_default()
    }

    /// Whether the thread is still there; only a bug ends it early.
    pub fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }

    fn command(&self, command: Command) {
        if self.commands.send(command).is_err() {
            tracing::error!("worker {:?} is gone", self.thread.thread().name());
        }
    }
}

async fn obey(mut commands: mpsc::UnboundedReceiver<Command>, supplies: WorkerResources) {
    let desk = Scratch { buf: vec![0; COPY_BYTES].into_boxed_slice(), pipes: Pipes::new(supplies.pipes) };
    let context = Rc::new(Context {
        desk: RefCell::new(desk),
        register: Rc::default(),
        log: supplies.log,
        notices: supplies.notices,
        warned: Cell::default(),
    });
    let mut listeners: HashMap<ListenerId, TaskId> = HashMap::new();
    spawn(trim(Rc::clone(&context)));
    for number in 1_u64.. {
        let Some(command) = commands.recv().await else {
            return;
        };
        // A batch of sessions to thaw must not keep the others waiting.
        if number % 64 == 0 {
            yield_now().await;
        }
        match command {
            Command::Listen { id, frontend, socket } => {
                let task = spawn(listener::accept(Rc::clone(&context), frontend, socket));
                listeners.insert(id, task);
            }
            Command::Park { id, done } => {
                park(&mut listeners, id);
                reply(done, ());
            }
            Command::Retire { id, frontend, socket, done } => {
                park(&mut listeners, id);
                listener::drain_queue(&context, &frontend, &socket);
                drop(socket);
                reply(done, ());
            }
            Command::Cut { whose, by, over } => cut(&context, &whose, by, over),
            Command::Freeze { max, sink } => context.register.freeze(max, &sink),
            Command::Thaw { frozen, permit, backend } => {
                spawn(session::thaw(Rc::clone(&context), permit, backend, *frozen));
            }
            Command::WorkerStats { reply: to } => {
                let census =
                    WorkerStats { sessions: context.register.len(), pipes: context.desk.borrow().pipes.made() };
                reply(to, census);
            }
        }
    }
}

/// Closes pipes that have not been used for a while.
async fn trim(context: Rc<Context>) {
    loop {
        Timer::after(Duration::from_secs(10)).await;
        context.desk.borrow_mut().pipes.trim();
    }
}

fn park(listeners: &mut HashMap<ListenerId, TaskId>, id: ListenerId) {
    if let Some(task) = listeners.remove(&id) {
        task.abort();
    }
}

/// Answers a command; whoever asked may be gone.
fn reply<T>(to: oneshot::Sender<T>, answer: T) {
    match to.send(answer) {
        Ok(()) | Err(_) => {}
    }
}

fn cut(context: &Rc<Context>, whose: &SessionFilter, by: By, over: Duration) {
    let mut handles = context.register.all();
    if let SessionFilter::Server(server) = whose {
        handles.retain(|handle| handle.is_on(server));
    }
    let Ok(count) = u32::try_from(handles.len()) else {
        return;
    };
    if over.is_zero() || count < 2 {
        handles.iter().for_each(|handle| handle.give(Order::Cut(by)));
        return;
    }
    spawn(async move {
        let begun = Instant::now();
        for (index, handle) in (0..count).zip(handles) {
            // By the clock: a sleep a session would round each up to the timer's millisecond and end far too late.
            Timer::at(begun + over * index / count).await;
            handle.give(Order::Cut(by));
        }
    });
}

impl Context {
    /// Complains, unless it did so within the last second: one cause may hit every session.
    pub(super) fn warn_of(&self, complain: impl FnOnce()) {
        let mut warned = self.warned.get();
        if warned.is_due(Instant::now()) {
            self.warned.set(warned);
            complain();
        }
    }

    /// Tells control, unless it is too busy to hear: then the server's next failure does.
    pub(super) fn notify(&self, notice: Notice) {
        if let Err(unheard) = self.notices.try_send(notice) {
            unheard.into_inner().server.take_failures();
        }
    }
}

#[cfg(test)]
mod tests;
