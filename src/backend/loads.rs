//! How many sessions each server of a backend has, in one dense table.
//!
//! `leastconn` looks at every server for every session; beside each other in memory a thousand counters are
//! 63 cache lines instead of a thousand. The table lives as long as its backend, so that leases taken under an
//! old snapshot count in the new one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::config::MAX_SERVERS;

/// Set while a server failed its last connect: it then looks immensely busy to every scheduler, so that others
/// are chosen while there are any.
pub(super) const SUSPECT: u32 = 1 << 31;

/// A server's place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(pub(super) u32);

impl Slot {
    pub(crate) fn number(self) -> u32 {
        self.0
    }
}

#[derive(Debug)]
pub(crate) struct Loads {
    slots: Box<[AtomicU32]>,
    free: Mutex<Vec<Slot>>,
}

impl Default for Loads {
    fn default() -> Self {
        let count = u32::try_from(MAX_SERVERS * 2).unwrap_or(u32::MAX);
        // Twice the servers a backend may have: those that were removed keep their slot until their last session ends.
        Self {
            slots: (0..count).map(|_| AtomicU32::new(0)).collect(),
            free: Mutex::new((0..count).rev().map(Slot).collect()),
        }
    }
}

impl Loads {
    /// A slot for a new server; `None` when all are taken.
    pub(crate) fn allot(&self) -> Option<Slot> {
        self.free.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop()
    }

    /// Gives a slot back. Low numbers are used first again, which keeps the table dense.
    pub(crate) fn free(&self, slot: Slot) {
        self.slot(slot).store(0, Relaxed);
        let mut free = self.free.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let place = free.partition_point(|other| *other > slot);
        free.insert(place, slot);
    }

    /// Sessions now.
    pub(crate) fn sessions(&self, slot: Slot) -> u32 {
        self.slot(slot).load(Relaxed) & !SUSPECT
    }

    /// Sessions, or far more than any real number for a suspect server.
    pub(crate) fn apparent(&self, slot: Slot) -> u32 {
        self.slot(slot).load(Relaxed)
    }

    pub(crate) fn is_suspect(&self, slot: Slot) -> bool {
        self.slot(slot).load(Relaxed) & SUSPECT != 0
    }

    /// Returns whether this changed anything.
    pub(crate) fn set_suspect(&self, slot: Slot, suspect: bool) -> bool {
        let before = if suspect {
            self.slot(slot).fetch_or(SUSPECT, Relaxed)
        } else if self.is_suspect(slot) {
            self.slot(slot).fetch_and(!SUSPECT, Relaxed)
        } else {
            return false;
        };
        (before & SUSPECT != 0) != suspect
    }

    /// Counts one more session unless the server has `max` already.
    pub(crate) fn take(&self, slot: Slot, max: u32) -> bool {
        let load = self.slot(slot);
        if max == u32::MAX {
            load.fetch_add(1, Relaxed);
            return true;
        }
        load.fetch_update(Relaxed, Relaxed, |now| (now & !SUSPECT < max).then_some(now + 1)).is_ok()
    }

    /// Counts one session less.
    pub(crate) fn give_back(&self, slot: Slot) {
        self.slot(slot).fetch_sub(1, Relaxed);
    }

    fn slot(&self, slot: Slot) -> &AtomicU32 {
        &self.slots[slot.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_never_exceeded_and_suspicion_is_no_session() {
        let loads = Loads::default();
        let slot = loads.allot().unwrap();
        assert!(loads.take(slot, 2) && loads.take(slot, 2) && !loads.take(slot, 2));
        assert!(loads.set_suspect(slot, true) && !loads.set_suspect(slot, true));
        assert_eq!(loads.sessions(slot), 2);
        assert!(loads.apparent(slot) > 1 << 30);
        loads.give_back(slot);
        assert!(loads.take(slot, 2) && !loads.take(slot, 2));
        assert!(loads.set_suspect(slot, false));
        assert_eq!(loads.apparent(slot), 2);
    }

    #[test]
    fn the_lowest_free_slot_is_used_next() {
        let loads = Loads::default();
        let slots: Vec<Slot> = (0..4).map(|_| loads.allot().unwrap()).collect();
        assert_eq!(slots, [0, 1, 2, 3].map(Slot));
        loads.free(Slot(1));
        loads.free(Slot(0));
        assert_eq!([loads.allot(), loads.allot(), loads.allot()], [0, 1, 4].map(|slot| Some(Slot(slot))));
    }
}
