//! A worker: one thread, its own listeners and its own sessions.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::context::{Context, WorkerResources};
use super::frontend::{Frontend, Permit};
use super::frozen::Frozen;
use super::gate::Gate;
use super::registry::{Handle, Order};
use super::sighting::Sighting;
use super::{listener, session};
use crate::backend::{Backend, Lease, Server};
use crate::fault;
use crate::log::By;
use crate::runtime::executor::{Executor, TaskId, spawn, yield_now};
use crate::runtime::timer::Timer;

/// Control's end of a worker.
#[derive(Debug)]
pub struct Worker {
    commands: mpsc::UnboundedSender<Command>,
    thread: thread::JoinHandle<()>,
}

/// Names a listening socket within the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u64);

#[derive(Debug)]
enum Command {
    Listen { id: ListenerId, frontend: Arc<Frontend>, gate: Arc<Gate>, socket: OwnedFd },
    Park { id: ListenerId, done: oneshot::Sender<()> },
    Retire { id: ListenerId, frontend: Arc<Frontend>, gate: Arc<Gate>, socket: OwnedFd, done: oneshot::Sender<()> },
    Cut { filter: SessionFilter, by: By, over: Duration },
    Freeze { max: usize, sink: mpsc::UnboundedSender<Frozen> },
    Look { sightings: oneshot::Sender<Vec<Sighting>> },
    Kill { ids: Arc<[u64]>, over: Duration, killed: oneshot::Sender<Vec<u64>> },
    Thaw { frozen: Box<Frozen>, permit: Permit, backend: Arc<Backend>, lease: Option<Lease> },
    Stats { reply: oneshot::Sender<WorkerStats> },
}

/// Selects sessions.
#[derive(Debug, Clone)]
pub enum SessionFilter {
    All,
    Server(Arc<Server>),
}

/// How much a worker holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerStats {
    pub sessions: usize,
    pub pipes: usize,
}

impl Worker {
    /// Starts the thread. It ends when this is dropped.
    pub fn start(index: usize, resources: WorkerResources) -> io::Result<Self> {
        let (commands, receiver) = mpsc::unbounded_channel();
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            match Executor::new() {
                Ok(executor) => {
                    if ready.send(Ok(())).is_ok()
                        && let Err(error) = executor.run(command_loop(receiver, index, resources))
                    {
                        tracing::error!("worker {index} cannot wait for the kernel: {error}");
                    }
                }
                // The thread that starts this one gets it, or is gone.
                Err(error) => drop(ready.send(Err(error))),
            }
        })?;
        started.recv().map_err(|_| io::Error::other("the worker thread ended at once"))??;
        Ok(Self { commands, thread })
    }

    /// Accepts connections from `socket` from now on.
    pub fn listen(&self, id: ListenerId, frontend: Arc<Frontend>, gate: Arc<Gate>, socket: OwnedFd) {
        self.command(Command::Listen { id, frontend, gate, socket });
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
    pub async fn retire(&self, id: ListenerId, frontend: Arc<Frontend>, gate: Arc<Gate>, socket: OwnedFd) {
        let (done, retired) = oneshot::channel();
        self.command(Command::Retire { id, frontend, gate, socket, done });
        match retired.await {
            Ok(()) | Err(_) => {}
        }
    }

    /// Ends sessions, evenly spread over a time.
    pub fn cut(&self, filter: SessionFilter, by: By, over: Duration) {
        self.command(Command::Cut { filter, by, over });
    }

    /// Ends the sessions with these ids as the operator's, evenly spread over a time. Brings the ids of those that are
    /// there. An error: the worker is gone.
    pub(crate) fn kill(&self, ids: Arc<[u64]>, over: Duration) -> oneshot::Receiver<Vec<u64>> {
        let (killed, answer) = oneshot::channel();
        self.command(Command::Kill { ids, over, killed });
        answer
    }

    /// All sessions as they stand, the oldest first. An error: the worker is gone.
    pub(crate) fn look(&self) -> oneshot::Receiver<Vec<Sighting>> {
        let (sightings, answer) = oneshot::channel();
        self.command(Command::Look { sightings });
        answer
    }

    /// Freezes the oldest `max` sessions that can be. What arrives at the sink is the caller's; the sink closes when
    /// all of them are frozen or have declined. Those that find the caller's end closed continue.
    pub fn freeze(&self, max: usize, sink: mpsc::UnboundedSender<Frozen>) {
        self.command(Command::Freeze { max, sink });
    }

    /// Continues a frozen session of this engine, which counts as the frontend's from now on.
    pub fn thaw(&self, frozen: Frozen, frontend: &Arc<Frontend>, backend: Arc<Backend>) {
        self.continue_with(frozen, Permit::force(frontend, None), backend);
    }

    /// Continues a session of another engine, in the place that was lent for it.
    pub(crate) fn take_over(&self, frozen: Frozen, frontend: &Arc<Frontend>, backend: Arc<Backend>) {
        self.continue_with(frozen, Permit::arrive(frontend), backend);
    }

    /// The session has its places from now on, on its server, too, whenever the worker comes to it: what the other engine
    /// has lent may be free at once.
    fn continue_with(&self, frozen: Frozen, permit: Permit, backend: Arc<Backend>) {
        let lease = session::adopt(&backend, &frozen.stage);
        self.command(Command::Thaw { frozen: Box::new(frozen), permit, backend, lease });
    }

    pub async fn stats(&self) -> WorkerStats {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Stats { reply });
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

/// A worker's listeners and the context of its sessions, on its thread.
struct CommandLoop {
    context: Rc<Context>,
    listeners: HashMap<ListenerId, TaskId>,
}

async fn command_loop(mut commands: mpsc::UnboundedReceiver<Command>, index: usize, resources: WorkerResources) {
    let context = Context::new(index, resources);
    spawn(trim(Rc::clone(&context)));
    let mut worker = CommandLoop { context, listeners: HashMap::new() };
    for number in 1_u64.. {
        let Some(command) = commands.recv().await else {
            return;
        };
        // A batch of sessions to thaw must not keep the others waiting.
        if number % 64 == 0 {
            yield_now().await;
        }
        worker.execute(command);
    }
}

impl CommandLoop {
    fn execute(&mut self, command: Command) {
        let context = &self.context;
        match command {
            Command::Listen { id, frontend, gate, socket } => {
                let task = spawn(listener::accept(Rc::clone(context), frontend, gate, socket));
                self.listeners.insert(id, task);
            }
            Command::Park { id, done } => {
                self.park(id);
                reply(done, ());
            }
            Command::Retire { id, frontend, gate, socket, done } => {
                self.park(id);
                listener::serve_queue(&self.context, &frontend, &gate, &socket);
                drop(socket);
                reply(done, ());
            }
            Command::Cut { filter, by, over } => {
                let mut handles = context.register.all();
                if let SessionFilter::Server(server) = filter {
                    handles.retain(|handle| handle.is_on(&server));
                }
                cut(handles, by, over);
            }
            Command::Look { sightings } => drop(spawn(look(Rc::clone(context), sightings))),
            Command::Kill { ids, over, killed } => {
                let (found, handles) = context.register.find(&ids).into_iter().unzip();
                reply(killed, found);
                cut(handles, By::Killed, over);
            }
            Command::Freeze { max, sink } => context.register.freeze(max, &sink),
            Command::Thaw { frozen, permit, backend, lease } => {
                spawn(session::thaw(Rc::clone(context), permit, backend, *frozen, lease));
            }
            Command::Stats { reply: to } => {
                fault::point("worker.stats");
                let pipes = context.scratch.borrow().pipes.made();
                reply(to, WorkerStats { sessions: context.register.len(), pipes });
            }
        }
    }

    fn park(&mut self, id: ListenerId) {
        if let Some(task) = self.listeners.remove(&id) {
            task.abort();
        }
    }
}

/// Closes pipes that have not been used for a while.
async fn trim(context: Rc<Context>) {
    loop {
        Timer::after(Duration::from_secs(10)).await;
        context.scratch.borrow_mut().pipes.trim();
    }
}

/// Answers a command; the receiver may be gone.
fn reply<T>(to: oneshot::Sender<T>, answer: T) {
    match to.send(answer) {
        Ok(()) | Err(_) => {}
    }
}

/// Has every session report, some in each turn: they must not keep the others waiting.
async fn look(context: Rc<Context>, to: oneshot::Sender<Vec<Sighting>>) {
    let register = &context.register;
    let _alone = register.collecting.lock().await;
    register.begin_collecting();
    for handles in register.all().chunks(REPORTS) {
        if to.is_closed() {
            break;
        }
        handles.iter().for_each(|handle| handle.ask());
        // They are polled before this task is.
        yield_now().await;
    }
    reply(to, register.end_collecting());
}

/// Ends sessions, evenly spread over a time.
fn cut(handles: Vec<Rc<Handle>>, by: By, over: Duration) {
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

/// Sessions that report in one turn.
const REPORTS: usize = 64;

#[cfg(test)]
mod tests;
