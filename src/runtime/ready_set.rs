//! Kinds of readiness of a descriptor, as a set.

use std::ops::{BitOr, BitOrAssign};

use rustix::event::epoll;

/// What a descriptor is ready for, or is waited for; a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadySet(u8);

impl ReadySet {
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

    pub(super) fn of(events: epoll::EventFlags) -> Self {
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

    pub(super) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for ReadySet {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for ReadySet {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}
