//! Places: where a server may be whose name has several addresses. It is at one of them, and stays there while that
//! answers.

use std::cell::{Cell, RefCell};

use tokio::time::timeout;

use crate::backend::health::CheckResult;
use crate::config::Check;
use crate::control::probe::{Farewell, ProbedServer, probe};
use crate::sys::addr::Addr;

#[derive(Debug, Default)]
pub(super) struct ServerPlaces {
    /// Empty: it has one place alone.
    all: RefCell<Vec<Addr>>,
    /// Traffic found the server dead where it is.
    doubted: Cell<bool>,
    /// Where the next search begins.
    next: Cell<usize>,
}

impl ServerPlaces {
    pub(super) fn set(&self, all: Vec<Addr>) {
        *self.all.borrow_mut() = all;
    }

    pub(super) fn contains(&self, place: &Addr) -> bool {
        self.all.borrow().contains(place)
    }

    /// Traffic found the server dead. Returns whether there are other places.
    pub(super) fn doubt(&self) -> bool {
        let several = self.all.borrow().len() > 1;
        self.doubted.set(several);
        several
    }

    pub(super) fn take_doubt(&self) -> bool {
        self.doubted.take()
    }

    /// The first other place that passes the check. All of them together have the time of one check; the next search
    /// continues behind the place that this one has come to.
    pub(super) async fn find_another(
        &self,
        check: &Check,
        in_use: &Addr,
        server: &ProbedServer<'_>,
    ) -> Option<(Addr, (CheckResult, Farewell))> {
        let mut others = self.all.borrow().clone();
        others.retain(|place| place != in_use);
        let begin = self.next.get() % others.len().max(1);
        others.rotate_left(begin);
        let search = async {
            for place in others {
                self.next.set(self.next.get().wrapping_add(1));
                let found = ask(check, &place, server, true).await;
                if found.0.status.is_ok() {
                    return Some((place, found));
                }
            }
            None
        };
        timeout(check.timeout, search).await.ok().flatten()
    }
}

/// Checks a place. `in_person`: it has to take a connection too where the check asks at another one.
pub(super) async fn ask(
    check: &Check,
    place: &Addr,
    server: &ProbedServer<'_>,
    in_person: bool,
) -> (CheckResult, Farewell) {
    if in_person && (check.addr.is_some() || check.port.is_some()) {
        let connect = Check { timeout: check.timeout, ..Check::default() };
        let connected = probe(&connect, place, server).await;
        if !connected.0.status.is_ok() {
            return connected;
        }
    }
    probe(check, place, server).await
}
