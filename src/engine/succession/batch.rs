//! A batch: as many frozen sessions as one message can hold.
//!
//! Its descriptors are borrowed from the sessions: an engine without a free one can give all of them away.

use std::os::fd::BorrowedFd;

use crate::engine::succession::session_codec::{describe, descriptors, residues};
use crate::handoff::frame::MAX_BODY;
use crate::handoff::peer::{Batch, ResidueRecord, SessionRecord};
use crate::handoff::wire::WireRecord;
use crate::proxy::frozen::Frozen;

/// Descriptors of one message at most (SCM_MAX_FD is 253).
const DESCRIPTORS: usize = 252;

/// ResidueRecord of one batch, unless a single session has more. The kernel's default socket buffer takes 212,992 bytes,
/// its own book-keeping included.
const BYTES: usize = 96 * 1024;

/// Tag and length of a session within the message.
const FIELD: usize = 6;

/// Sessions that go together; the originals stay here until they are committed.
#[derive(Debug)]
pub(super) struct BatchBuilder {
    pub(super) frozen: Vec<Frozen>,
    pub(super) message: Batch,
    /// These messages go first.
    pub(super) residues: Vec<ResidueRecord>,
    /// Descriptors of the sessions.
    count: usize,
    /// Bytes of the residues.
    bytes: usize,
    /// Bytes of the message.
    body: usize,
}

impl BatchBuilder {
    pub(super) fn new(number: u64) -> Self {
        let message = Batch { number, sessions: Vec::new() };
        Self { frozen: Vec::new(), body: message.to_bytes().len(), message, residues: Vec::new(), count: 0, bytes: 0 }
    }

    /// Adds a session, or returns it: the batch is full. The first one always has room.
    pub(super) fn add(&mut self, frozen: Frozen) -> Result<(), Box<Frozen>> {
        let key = self.frozen.len() as u64;
        let session = describe(key, &frozen);
        let body = self.body + FIELD + session.to_bytes().len();
        let bytes = self.bytes + frozen.residue();
        if key > 0 && !self.has_room(&session, body, bytes) {
            return Err(Box::new(frozen));
        }
        self.count += session.descriptors();
        self.residues.extend(residues(key, &frozen));
        self.message.sessions.push(session);
        self.frozen.push(frozen);
        (self.body, self.bytes) = (body, bytes);
        Ok(())
    }

    /// In the order of the message.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.frozen.iter().flat_map(descriptors).collect()
    }

    /// The message, which goes once.
    pub(super) fn take_message(&mut self) -> Batch {
        let number = self.message.number;
        std::mem::replace(&mut self.message, Batch { number, sessions: Vec::new() })
    }

    fn has_room(&self, session: &SessionRecord, body: usize, bytes: usize) -> bool {
        self.count + session.descriptors() <= DESCRIPTORS && body <= MAX_BODY && bytes <= BYTES
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;

    use super::*;
    use crate::log::ClientName;
    use crate::proxy::frozen::{FrozenFlow, FrozenRelay, Stage};
    use crate::sys::pipe::{PIPE_BYTES, Pipe};

    fn socket() -> OwnedFd {
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into()
    }

    /// As long as a record of it can be.
    fn session(name: usize, residue: usize, pipes: bool) -> Frozen {
        let name: Arc<str> = "n".repeat(name).into();
        let addr = "[1111:2222:3333:4444:5555:6666:7777:8888]:65535".parse().ok();
        let flow = |residue| FrozenFlow {
            residue: vec![7; residue],
            pipe: pipes.then(|| Pipe::new(PIPE_BYTES).unwrap()),
            received: u64::MAX,
            sent: u64::MAX,
            ..FrozenFlow::default()
        };
        Frozen {
            frontend: Arc::clone(&name),
            client: ClientName::or(addr, ClientName::Unknown),
            local: addr,
            accepted: SystemTime::now(),
            age: Duration::MAX,
            stage: Stage::Relaying {
                relay: Box::new(FrozenRelay {
                    client: socket(),
                    server: socket(),
                    up: flow(residue),
                    down: flow(0),
                    client_idle: Duration::MAX,
                    server_idle: Duration::MAX,
                    server_owes: true,
                }),
                backend: Arc::clone(&name),
                server: name,
                queue: Duration::MAX,
                connect: Duration::MAX,
                retries: u32::MAX,
                redispatched: true,
            },
        }
    }

    /// Fills batches with all of them and checks each. Returns how many sessions each has.
    fn fill(sessions: impl IntoIterator<Item = Frozen>) -> Vec<usize> {
        let mut filled = Vec::new();
        let mut filling = BatchBuilder::new(u64::MAX);
        for frozen in sessions {
            match filling.add(frozen) {
                Ok(()) => {}
                Err(frozen) => {
                    filled.push(std::mem::replace(&mut filling, BatchBuilder::new(u64::MAX)));
                    filling.add(*frozen).unwrap();
                }
            }
        }
        filled.push(filling);
        for batch in &filled {
            let encoded = batch.message.to_bytes();
            assert_eq!(encoded.len(), batch.body, "the length is counted exactly");
            assert!(encoded.len() <= MAX_BODY && batch.count <= DESCRIPTORS);
            let said = batch.message.sessions.iter().map(SessionRecord::descriptors);
            assert_eq!(said.sum::<usize>(), batch.descriptors().len());
            let residues = batch.residues.iter().map(|part| part.bytes.len());
            let residues: usize = residues.sum();
            assert!(residues <= BYTES || batch.frozen.len() == 1);
            assert!(batch.residues.iter().all(|part| part.to_bytes().len() <= MAX_BODY));
        }
        filled.iter().map(|batch| batch.frozen.len()).collect()
    }

    #[test]
    fn sessions_with_the_longest_names_and_addresses_go_in_several_messages() {
        let sizes = fill((0..126).map(|_| session(128, 0, false)));
        assert_eq!(sizes.iter().sum::<usize>(), 126);
        assert!(sizes.len() > 1 && sizes[0] > 60, "{sizes:?}");
    }

    #[test]
    fn short_ones_fill_a_message_to_the_kernels_limit() {
        assert_eq!(fill((0..130).map(|_| session(3, 0, false))), [126, 4]);
        assert_eq!(fill((0..50).map(|_| session(3, 0, true))), [42, 8]);
    }

    #[test]
    fn a_session_with_many_bytes_goes_alone() {
        let residues = [10, BYTES, 3 * BYTES, 20, 20];
        assert_eq!(fill(residues.map(|residue| session(3, residue, false))), [1, 1, 1, 2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn whatever_they_carry_each_message_can_be_sent(
            all in prop::collection::vec((1_usize..=128, 0_usize..BYTES / 8, any::<bool>()), 1..140)
        ) {
            let count = all.len();
            let sessions = all.into_iter().map(|(name, residue, pipes)| session(name, residue, pipes));
            prop_assert_eq!(fill(sessions).iter().sum::<usize>(), count);
        }
    }
}
