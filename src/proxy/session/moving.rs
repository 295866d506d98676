//! Freezing: what a session leaves behind when it is moved to another worker or process.

use std::sync::Arc;

use super::state::Session;
use crate::backend::Lease;
use crate::proxy::frozen::{Frozen, Stage};
use crate::proxy::preamble::Preamble;
use crate::proxy::relay::Relay;
use crate::runtime::stream::Socket;

impl Session {
    /// Freezes a session that has no server yet. The result is as in [`Session::hand_over`].
    pub(super) fn freeze_waiting(&self, client: Socket, preamble: Preamble) -> Option<Box<Frozen>> {
        self.hand_over(Stage::Waiting {
            client: client.into_fd(),
            first: preamble.bytes,
            ended: preamble.ended,
            introduced: preamble.introduced,
            waited: self.record.started.elapsed(),
            backend: Arc::clone(&self.backend.name),
        })
    }

    /// Freezes a session between two system calls of its relay. The result is as in [`Session::hand_over`].
    pub(super) fn freeze_relay(&self, relay: Relay, lease: Option<Lease>) -> Option<Box<Frozen>> {
        let server = self.record.server.as_ref().map_or_else(|| Arc::from(""), |server| Arc::clone(&server.name));
        let relay = Box::new(relay.freeze(&mut self.context.scratch.borrow_mut()));
        drop(lease);
        self.hand_over(Stage::Relaying {
            relay,
            backend: Arc::clone(&self.backend.name),
            server,
            queue: self.record.queue.unwrap_or_default(),
            connect: self.record.connect.unwrap_or_default(),
            retries: self.record.retries.into(),
            redispatched: self.record.redispatched,
        })
    }

    /// Sends the frozen session to the receiver that asked for it. `Some`: the receiver is gone, and the session is to
    /// continue here.
    fn hand_over(&self, stage: Stage) -> Option<Box<Frozen>> {
        let frozen = Frozen {
            frontend: Arc::clone(&self.permit.frontend().name),
            client: self.record.client,
            local: self.record.ends.as_ref().and_then(|ends| ends.local),
            accepted: self.record.accepted,
            age: self.record.started.elapsed(),
            stage,
        };
        self.registered.hand_over(frozen).err()
    }
}
