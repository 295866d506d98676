//! What `show stat` shows of servers.

use super::standing::ServerStanding;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RowFlags {
    /// Their addresses, which are not for everyone.
    pub(super) addresses: bool,
    /// `up`: not those that are DOWN.
    pub(super) hide_down: bool,
    pub(super) hide_maint: bool,
}

impl RowFlags {
    pub(super) fn show(self, standing: ServerStanding<'_>) -> bool {
        !(self.hide_maint && standing.is_maint() || self.hide_down && standing.is_fully_down())
    }

    /// A backend says how many of its servers are up.
    pub(super) fn counts_servers(self) -> bool {
        self.hide_down || self.hide_maint
    }
}
