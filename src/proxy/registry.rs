//! How a worker reaches its sessions: to cut them, or to freeze them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::sync::mpsc::UnboundedSender;

use crate::backend::Server;
use crate::log::By;
use crate::proxy::frozen::Frozen;

/// What a session is ordered to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// End, and log this as the cause.
    Cut(By),
    /// Stop between two system calls and hand everything over.
    Freeze,
}

/// The worker's end of a session.
#[derive(Debug)]
pub(super) struct Handle {
    /// `None`: continue.
    order: Cell<Option<Order>>,
    waker: RefCell<Option<Waker>>,
    server: RefCell<Option<Arc<Server>>>,
    /// Where the session goes when it is frozen. Dropped with the handle at the latest, which closes the sink.
    sink: RefCell<Option<UnboundedSender<Frozen>>>,
    /// It did not freeze when it was ordered to: it ends within moments.
    declined: Cell<bool>,
}

/// All sessions of a worker.
#[derive(Debug, Default)]
pub(super) struct Register {
    next: Cell<u64>,
    handles: RefCell<HashMap<u64, Rc<Handle>>>,
}

/// A session's place in the register; dropping it takes the session out.
#[derive(Debug)]
pub(super) struct Registered {
    register: Rc<Register>,
    key: u64,
    handle: Rc<Handle>,
}

impl Register {
    pub(super) fn enter(self: &Rc<Self>) -> Registered {
        let key = self.next.replace(self.next.get() + 1);
        let handle = Rc::new(Handle {
            order: Cell::default(),
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

    /// Orders the oldest `max` sessions that can freeze to do so, into `sink`. Those that declined once come last: they
    /// must not keep the others waiting.
    pub(super) fn freeze(&self, max: usize, sink: &UnboundedSender<Frozen>) {
        let mut handles = self.all();
        handles.retain(|handle| handle.order.get().is_none());
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
        if !matches!(self.order.get(), Some(Order::Cut(_))) {
            self.order.set(Some(order));
            if let Some(waker) = self.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    pub(super) fn is_on(&self, server: &Arc<Server>) -> bool {
        self.server.borrow().as_ref().is_some_and(|own| Arc::ptr_eq(own, server))
    }
}

impl Registered {
    /// Ready once there is an order.
    pub(super) fn poll_order(&self, cx: &mut Context<'_>) -> Poll<Order> {
        if let Some(order) = self.handle.order.get() {
            return Poll::Ready(order);
        }
        let mut waker = self.handle.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
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
        if self.handle.order.get() == Some(Order::Freeze) {
            self.handle.order.set(None);
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

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[test]
    fn sessions_that_cannot_freeze_keep_no_other_waiting() {
        let register = Rc::<Register>::default();
        let [declines, cut, frozen, continues] = [(); 4].map(|()| register.enter());
        let ordered = |registered: &Registered| registered.handle.order.get() == Some(Order::Freeze);
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
}
