//! Role: what the supervisor is doing as a whole. Everything that exists in one role only lives in its variant.
//!
//! ```text
//!             no lb at the path                 an lb answers at the path
//!                    |                                      |
//!                    v       READY                   done   v
//!                Starting ------------> Serving <------- Succeeding
//!                    |                  ^  |  ^              |
//!                    |    failed, or    |  |  | exec failed  | given up
//!                    |    no exec to do |  |  +-----------+  |
//!                    |                  |  v begin        |  |
//!                    |               Upgrading -----> Replacing ----> (execve: Serving)
//!                    |                  |       done      |  |
//!                    |         HANDOVER |                 |  |
//!                    |                  v    failed       |  |
//!                    |              HandedOver --> Serving|  |
//!                    |               |  |                 |  |
//!                    |         TAKEN |  | TERM, INT       |  |
//!                    |               v  |                 |  |
//!                    |         Retired  |                 |  |
//!                    v TERM, INT  v     v                 v  v
//!                 +-------------------------------------------+
//!                 |  Stopping   Owner | HandedOver | Left     |----> exit
//!                 +-------------------------------------------+
//! ```
//! TERM and INT in `Upgrading` end the upgrade first (back to `Serving`, on to `Replacing`, or on to `HandedOver`). In
//! `HandedOver` the upgrade can only be ended by the other supervisor, so the stop waits for it. `Retired` is left by the
//! end of the last engine, or with `--linger` by TERM and INT.

use std::fmt;
use std::mem;

use crate::supervisor::takeover::successor::Successor;
use crate::supervisor::upgrade::driver::{Aftermath, RunningUpgrade};

/// The role of a supervisor.
#[derive(Debug)]
pub(crate) enum Role {
    /// The first engine starts. Its failure is the failure of `lb run`.
    Starting,
    /// The engine serves; if it dies, the next one is started.
    Serving,
    /// An upgrade of this supervisor's own, or a takeover by another one before HANDOVER.
    Upgrading(Box<RunningUpgrade>),
    /// The process becomes the program of its engine as soon as no message is queued.
    Replacing,
    /// Everything is being taken over from another supervisor.
    Succeeding(Box<Successor>),
    /// HANDOVER was sent, TAKEN has not come: the paths may belong to the other supervisor.
    HandedOver(Box<RunningUpgrade>),
    /// The other supervisor has everything; the engines here drain.
    Retired,
    /// TERM or INT has come; the engines end.
    Stopping(StoppingAs),
}

/// The ownership of the paths (admin socket, takeover socket) while the supervisor stops.
#[derive(Debug)]
pub(crate) enum StoppingAs {
    /// They are its own, and are removed at the end.
    Owner,
    /// HANDOVER was sent, TAKEN has not come. The end waits for the outcome.
    HandedOver(Box<RunningUpgrade>),
    /// They were handed over, or it is unknown whether they were: they stay. A path without a listener is replaced by the
    /// next process that binds it.
    Left,
}

/// What changes a role.
#[derive(Debug)]
pub(crate) enum RoleChange {
    /// An engine of this supervisor serves.
    Ready,
    UpgradeBegun(Box<RunningUpgrade>),
    /// HANDOVER was sent.
    HandoverSent,
    UpgradeEnded(Aftermath),
    /// `execve` has failed.
    ReplaceFailed,
    /// The other supervisor is gone or retired.
    SucceededAlone,
    /// TERM or INT, or a takeover that was given up.
    Stop,
}

impl Role {
    /// Performs every change of role. A change that is illegal in this role is a bug, and has no effect.
    pub(crate) fn change(&mut self, change: RoleChange) {
        let old = mem::replace(self, Self::Serving);
        *self = match (old, change) {
            (Self::Starting, RoleChange::Ready) => Self::Serving,
            // A restarted engine; one that gets ready while it is ordered to stop.
            (role, RoleChange::Ready) => role,
            (Self::Serving, RoleChange::UpgradeBegun(upgrade)) => Self::Upgrading(upgrade),
            (Self::Upgrading(upgrade), RoleChange::HandoverSent) => Self::HandedOver(upgrade),
            (Self::Upgrading(_), RoleChange::UpgradeEnded(Aftermath::Serve)) => Self::Serving,
            (Self::Upgrading(_), RoleChange::UpgradeEnded(Aftermath::Replace)) => Self::Replacing,
            (Self::HandedOver(_), RoleChange::UpgradeEnded(Aftermath::Serve)) => Self::Serving,
            (Self::HandedOver(_), RoleChange::UpgradeEnded(Aftermath::Retire)) => Self::Retired,
            (Self::Stopping(StoppingAs::HandedOver(_)), RoleChange::UpgradeEnded(_)) => {
                Self::Stopping(StoppingAs::Left)
            }
            (Self::Replacing, RoleChange::ReplaceFailed) => Self::Serving,
            (Self::Succeeding(_), RoleChange::SucceededAlone) => Self::Serving,
            (Self::HandedOver(upgrade), RoleChange::Stop) => Self::Stopping(StoppingAs::HandedOver(upgrade)),
            (Self::Retired, RoleChange::Stop) => Self::Stopping(StoppingAs::Left),
            (Self::Stopping(how), RoleChange::Stop) => Self::Stopping(how),
            (Self::Starting | Self::Serving | Self::Replacing | Self::Succeeding(_), RoleChange::Stop) => {
                Self::Stopping(StoppingAs::Owner)
            }
            (role, change) => {
                debug_assert!(false, "{change:?} in the role {role}");
                role
            }
        };
    }

    /// The upgrade that is running.
    pub(crate) fn upgrade(&self) -> Option<&RunningUpgrade> {
        match self {
            Self::Upgrading(upgrade) | Self::HandedOver(upgrade) => Some(upgrade),
            Self::Stopping(StoppingAs::HandedOver(upgrade)) => Some(upgrade),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub(crate) fn upgrade_mut(&mut self) -> Option<&mut RunningUpgrade> {
        match self {
            Self::Upgrading(upgrade) | Self::HandedOver(upgrade) => Some(upgrade),
            Self::Stopping(StoppingAs::HandedOver(upgrade)) => Some(upgrade),
            _ => None,
        }
    }

    /// The takeover in which this supervisor is the new one.
    pub(crate) fn successor(&self) -> Option<&Successor> {
        match self {
            Self::Succeeding(successor) => Some(successor),
            _ => None,
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        matches!(self, Self::Stopping(_))
    }

    /// Whether engines that end are not replaced, and the process ends with the last one.
    pub(crate) fn is_ending(&self) -> bool {
        matches!(self, Self::Retired | Self::Stopping(StoppingAs::Owner | StoppingAs::Left))
    }

    /// Whether the paths are this supervisor's to remove.
    pub(crate) fn owns_paths(&self) -> bool {
        !matches!(
            self,
            Self::HandedOver(_) | Self::Retired | Self::Stopping(StoppingAs::HandedOver(_) | StoppingAs::Left)
        )
    }
}

impl fmt::Display for Role {
    /// The name of the variant.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "Starting",
            Self::Serving => "Serving",
            Self::Upgrading(_) => "Upgrading",
            Self::Replacing => "Replacing",
            Self::Succeeding(_) => "Succeeding",
            Self::HandedOver(_) => "HandedOver",
            Self::Retired => "Retired",
            Self::Stopping(_) => "Stopping",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(mut role: Role, change: RoleChange) -> String {
        role.change(change);
        role.to_string()
    }

    #[test]
    fn ready_ends_the_start_and_changes_nothing_else() {
        assert_eq!(after(Role::Starting, RoleChange::Ready), "Serving");
        assert_eq!(after(Role::Serving, RoleChange::Ready), "Serving");
        assert_eq!(after(Role::Replacing, RoleChange::Ready), "Replacing");
        assert_eq!(after(Role::Stopping(StoppingAs::Owner), RoleChange::Ready), "Stopping");
    }

    #[test]
    fn a_stop_is_final_and_keeps_the_ownership_of_the_paths() {
        for (role, owns) in [
            (Role::Starting, true),
            (Role::Serving, true),
            (Role::Replacing, true),
            (Role::Retired, false),
            (Role::Stopping(StoppingAs::Left), false),
        ] {
            let mut role = role;
            role.change(RoleChange::Stop);
            role.change(RoleChange::Stop);
            assert!(role.is_stopping() && role.is_ending());
            assert_eq!(role.owns_paths(), owns);
        }
    }

    #[test]
    #[should_panic(expected = "UpgradeEnded(Serve) in the role Retired")]
    fn an_illegal_change_is_found_in_debug_builds() {
        Role::Retired.change(RoleChange::UpgradeEnded(Aftermath::Serve));
    }
}
