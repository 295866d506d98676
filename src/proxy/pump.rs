//! What a flow borrows for one poll, and what the two flows of a relay see of each other.

use super::replay::Replay;
use crate::runtime::stream::ReadEnd;
use crate::sys::pipe::Pipes;

/// What a flow needs for one poll, and what it reports back.
pub(super) struct Pump<'a> {
    pub(super) buf: &'a mut [u8],
    pub(super) pipes: &'a mut Pipes,
    /// The client's bytes, kept until the server's first byte: the flow to the server adds, the other one drops them.
    pub(super) replay: &'a mut Option<Box<Replay>>,
    pub(super) direction: FlowDirection,
    /// The sink of the other direction. Gone: the session will end by a reset, so that no FIN may be forwarded. FIN
    /// sent: closing the sockets does all that another FIN would.
    pub(super) other_sink: SinkState,
    pub(super) read: bool,
    pub(super) wrote: bool,
}

/// Which of the two flows of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FlowDirection {
    ToServer,
    ToClient,
}

/// What the sink has got, or still takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum SinkState {
    #[default]
    Open,
    /// FIN was forwarded.
    FinSent,
    /// A write failed; what the source still sends is not read.
    Gone,
}

impl Pump<'_> {
    /// A server's FIN before its first byte does not end a session that can be replayed.
    pub(super) fn may_forward_fin(&self) -> bool {
        self.other_sink != SinkState::Gone && (self.direction == FlowDirection::ToServer || self.replay.is_none())
    }

    /// Whether a FIN will follow bytes that are written now. It then travels with the last of them: one segment less.
    pub(super) fn fin_follows(&self, source: ReadEnd) -> bool {
        source == ReadEnd::Fin && self.may_forward_fin() && self.other_sink != SinkState::FinSent
    }

    /// Keeps bytes for a replay, or gives the replay up: it is full, or the server has answered.
    pub(super) fn note_replay(&mut self, len: usize) {
        if let Some(replay) = self.replay {
            let keeps = self.direction == FlowDirection::ToServer && replay.keep(&self.buf[..len]);
            if !keeps {
                *self.replay = None;
            }
        }
    }
}
