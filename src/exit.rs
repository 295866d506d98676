//! Exit codes: the one place where they are numbers.
//!
//! On the ground floor, since the admin socket carries them: the supervisor decides the outcome of an upgrade, which
//! becomes the exit code of `lb upgrade`. Codes are added, never renumbered: scripts and package post-install steps
//! test them.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExitStatus {
    /// The command succeeded.
    Done = 0,
    /// The command failed, or no balancer answers at the socket.
    Failed = 1,
    /// Invalid input: a flag, a name, the configuration.
    BadInput = 2,
    /// An upgrade failed before the new engine was ready; the old one continues untouched. Also what `lb wait` ends with
    /// when the time is up.
    UpgradeFailed = 3,
    /// An upgrade to a binary with another version of the core protocol.
    Incompatible = 4,
    /// Another upgrade is in progress.
    Busy = 5,
    /// The new engine failed in its probation; the old one serves again.
    RolledBack = 6,
    /// The upgrade is done, but some sessions stay in the old engine until they end. Also what `--wait` ends with when
    /// the time is up.
    SessionsLeft = 7,
}

impl ExitStatus {
    /// What was waited for has not come in time.
    pub const WAITED_IN_VAIN: Self = Self::UpgradeFailed;

    /// The number as the shell sees it.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The status of a number sent by another version of `lb`; an unknown one is a failure.
    pub fn from_code(code: u8) -> Self {
        let all = [
            Self::Done,
            Self::BadInput,
            Self::UpgradeFailed,
            Self::Incompatible,
            Self::Busy,
            Self::RolledBack,
            Self::SessionsLeft,
        ];
        all.into_iter().find(|status| status.code() == code).unwrap_or(Self::Failed)
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_back_as_itself_and_unknown_ones_as_failed() {
        for code in 0..=7 {
            assert_eq!(ExitStatus::from_code(code).code(), code);
        }
        assert_eq!(ExitStatus::from_code(8), ExitStatus::Failed);
        assert_eq!(ExitStatus::from_code(255), ExitStatus::Failed);
    }
}
