//! What the sessions of a worker share: the buffer and the pipes, the register, and the ways to log and to control.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::Notice;
use super::registry::Register;
use crate::log::SessionLog;
use crate::pace::OncePerSecond;
use crate::sys::pipe::Pipes;

/// What a worker is started with.
#[derive(Debug, Clone)]
pub struct WorkerResources {
    pub log: SessionLog,
    /// Bounded: when control is behind, notices are dropped; the counters they refer to are not.
    pub notices: mpsc::Sender<Notice>,
    /// Pipes of this worker.
    pub pipes: usize,
}

/// What the sessions of a worker share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) scratch: RefCell<Scratch>,
    pub(super) register: Rc<Register>,
    pub(super) log: SessionLog,
    notices: mpsc::Sender<Notice>,
    /// When a shortage of this host was last logged.
    warned: Cell<OncePerSecond>,
}

/// What a session borrows for the length of one poll.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) buf: Box<[u8]>,
    pub(super) pipes: Pipes,
}

impl Context {
    /// Of the worker with this number.
    pub(super) fn new(worker: usize, resources: WorkerResources) -> Rc<Self> {
        let WorkerResources { log, notices, pipes } = resources;
        let scratch = Scratch { buf: vec![0; COPY_BYTES].into_boxed_slice(), pipes: Pipes::new(pipes) };
        let register = Rc::new(Register::new(worker));
        Rc::new(Self { scratch: scratch.into(), register, log, notices, warned: Cell::default() })
    }

    /// Calls `warn`, unless it did so within the last second: one cause may hit every session.
    pub(super) fn warn_of(&self, warn: impl FnOnce()) {
        let mut warned = self.warned.get();
        if warned.is_due(Instant::now()) {
            self.warned.set(warned);
            warn();
        }
    }

    /// Notifies control. When control is behind, the notice is dropped, and the server's next failure sends another one.
    pub(super) fn notify(&self, notice: Notice) {
        if let Err(dropped) = self.notices.try_send(notice) {
            dropped.into_inner().server.take_failures();
        }
    }
}

/// Size of the worker's buffer: a read that fills it marks a flow as bulk. Answers of up to this size are cheaper to
/// copy than to splice, since a pipe costs two more calls.
const COPY_BYTES: usize = 32 * 1024;
