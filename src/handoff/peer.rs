//! Messages between the old and the new engine of an upgrade, over the socket pair that the supervisor made.
//!
//! ```text
//! old  GREETING  (NAMES | DISCOVERY | SUMS | HELD)* STATE_END           HELD* SUMS* COUNTED         RESIDUE* BATCH         COMMIT   ...  SUMS* END
//! new  GREETING                                               IMPORTED                       SUMS*                 ACCEPT
//! ```
//! **Counts.** SUMS are FRONTEND, BACKEND and SERVER. The old engine sends what it has counted since the last time: at the export,
//! when it is parked (COUNTED: only now the new one answers `lb status`), and after the last session. The new engine sends
//! all that it has counted, inherited counts included, until the first session comes: if it fails, the old one continues
//! with these.
//!
//! **Places.** Limits (`maxconn`) hold for both engines together: HELD says how many places within each limit the old
//! engine's sessions have, or may still take. The new engine leaves these alone; each session that moves brings its own,
//! and what is left at END is free.
//!
//! **Ownership of a session.** BATCH offers sessions; both engines then hold the sockets, but neither uses them. ACCEPT
//! confirms that the whole batch has arrived. COMMIT transfers ownership: the old engine sends it and never touches the
//! sessions again; the new one touches them only after it. So at most one engine works on a session at any time,
//! whichever engine dies between any two messages: before COMMIT they belong to the old engine, and if it has died, to no
//! other (the new engine may then take the batches that it has accepted, once the pidfd confirms the death).

use crate::config::AdminState;
use crate::handoff::features::Offer;
use crate::handoff::wire::{codes, messages, record};

messages! {
    /// A message between two engines.
    pub enum PeerMessage {
        Greeting(Greeting) = 1 critical,
        Frontend(FrontendRecord) = 2,
        Server(ServerRecord) = 3,
        Discovery(DiscoveryRecord) = 4,
        StateEnd(StateEnd) = 5 critical,
        Imported(Imported) = 6 critical,
        Names(NamesRecord) = 7,
        Backend(BackendRecord) = 8,
        Held(HeldPlaces) = 9,
        Counted(CountsComplete) = 10,
        Residue(ResidueRecord) = 16 critical,
        Batch(Batch) = 17 critical,
        Accept(Accept) = 18 critical,
        Commit(BatchCommit) = 19 critical,
        End(End) = 20 critical,
    } with descriptors
}

fn descriptors(message: &PeerMessage) -> usize {
    match message {
        PeerMessage::Batch(batch) => batch.sessions.iter().map(SessionRecord::descriptors).sum(),
        _ => 0,
    }
}

/// Sessions of one BATCH at most: two descriptors each stay below the kernel's 253 a message.
pub const BATCH: usize = 126;

record! {
    /// The first message each way.
    pub struct Greeting {
        1 => offers: Vec<Offer>,
    }
}

record! {
    /// Counts of a frontend, to be added to the receiver's (by the old engine: the whole counts of the new one).
    pub struct FrontendRecord {
        1 => name: String,
        2 => sessions_total: u64,
        3 => bytes_in: u64,
        4 => bytes_out: u64,
        5 => failed: u64,
        6 => request_errors: Option<u64>,
        7 => peaks: Vec<PeakRecord>,
        /// How long ago the last session began.
        8 => quiet_ms: Option<u64>,
    }
}

record! {
    /// A backend, apart from its servers: counts as in [`FrontendRecord`].
    pub struct BackendRecord {
        1 => name: String,
        2 => sessions_total: u64,
        3 => unserved: u64,
        4 => downs: u64,
        5 => peaks: Vec<PeakRecord>,
        6 => quiet_ms: Option<u64>,
        /// How long ago it lost its last usable server or got one back; absent in the sums at the end.
        7 => changed_ms: Option<u64>,
        8 => downtime_ms: u64,
        /// No server is usable.
        9 => out: bool,
        10 => client_aborts: Option<u64>,
    }
}

codes! {
    /// The maximum of what.
    pub enum Peaked {
        Sessions = 1,
        Queue = 2,
        /// Sessions a second.
        Rate = 3,
    }
}

record! {
    /// A maximum: the larger one of two holds.
    pub struct PeakRecord {
        /// A [`Peaked`]; other versions may define more.
        1 => what: u32,
        2 => value: u64,
    }
}

record! {
    /// A server: counts as in [`FrontendRecord`], and the knowledge about it.
    pub struct ServerRecord {
        1 => backend: String,
        2 => name: String,
        /// Its address: the knowledge about health is valid for this address alone.
        3 => addr: String,
        4 => counts: Vec<CounterRecord>,
        5 => histograms: Vec<HistogramRecord>,
        /// At most one; absent in the sums at the end.
        6 => knowledge: Vec<Knowledge>,
        7 => peaks: Vec<PeakRecord>,
        /// How long ago the last session began.
        8 => quiet_ms: Option<u64>,
    }
}

codes! {
    /// Which counter.
    pub enum Counted {
        Sessions = 1,
        BytesIn = 2,
        BytesOut = 3,
        ConnectErrors = 4,
        Retries = 5,
        Redispatches = 6,
        ChecksFailed = 7,
        Downs = 8,
        Picks = 9,
        Connects = 10,
        Failed = 11,
        ClientAborts = 12,
        ServerAborts = 13,
        InternalAborts = 14,
        ResponseErrors = 15,
        ChecksFailedWhileUp = 16,
    }
}

record! {
    pub struct CounterRecord {
        /// A [`Counted`]; other versions may define more.
        1 => what: u32,
        2 => value: u64,
    }
}

codes! {
    /// Which time was measured.
    pub enum Timed {
        Queue = 1,
        Connect = 2,
        Session = 3,
    }
}

record! {
    /// Counts by bucket, as `stats::Histogram` numbers them.
    pub struct HistogramRecord {
        /// A [`Timed`]; other versions may define more.
        1 => what: u32,
        2 => buckets: Vec<Bucket>,
        /// Of the last few hundred; absent in what older releases send.
        3 => mean_us: Option<u64>,
        4 => longest_us: Option<u64>,
    }
}

record! {
    pub struct Bucket {
        1 => number: u16,
        2 => count: u64,
    }
}

codes! {
    AdminState {
        Ready = 1,
        Drain = 2,
        Maint = 3,
    }
}

record! {
    /// An engine's knowledge about a server. Times are ages.
    pub struct Knowledge {
        1 => admin: AdminState,
        /// Weight given by the operator.
        2 => weight: Option<u16>,
        /// UP with so many failures in a row.
        3 => up_failures: Option<u32>,
        /// DOWN with so many successes in a row.
        4 => down_successes: Option<u32>,
        5 => suspect: bool,
        6 => recovering_ms: Option<u64>,
        7 => changed_ms: Option<u64>,
        /// The last results, as JSON: informational, no decision depends on it.
        8 => history: Vec<u8>,
        /// In MAINT by the configuration and not by the operator: the new configuration decides.
        9 => configured: bool,
        /// Limit of sessions given by its agent.
        10 => maxconn: Option<u32>,
        11 => agent_down: bool,
        /// DOWN or in MAINT before the last change, together.
        12 => downtime_ms: Option<u64>,
    }
}

record! {
    /// The discovered servers of a backend, in the form of the last known good file, which has a version and a checksum.
    pub struct DiscoveryRecord {
        1 => backend: String,
        2 => saved: Vec<u8>,
    }
}

record! {
    /// A part of the last good addresses of host names, in the form of their file, which has a version and a checksum.
    pub struct NamesRecord {
        1 => saved: Vec<u8>,
    }
}

record! {
    /// Places within limits that the old engine has. A limit that is not named is as it was said before.
    pub struct HeldPlaces {
        1 => of: Vec<HeldPlace>,
    }
}

record! {
    /// Of a frontend, of a server with its backend, or with neither of the whole process.
    pub struct HeldPlace {
        1 => frontend: Option<String>,
        2 => backend: Option<String>,
        3 => server: Option<String>,
        4 => places: u32,
    }
}

record! {
    /// The new engine has all counts that the old one has ever answered with.
    pub struct CountsComplete {}
}

record! {
    pub struct StateEnd {}
}

record! {
    pub struct Imported {}
}

codes! {
    /// Which direction of a session.
    pub enum Direction {
        Up = 1,
        Down = 2,
    }
}

record! {
    /// Bytes that were read but not written yet, of a session of the next BATCH.
    pub struct ResidueRecord {
        1 => session: u64,
        2 => direction: Direction,
        3 => bytes: Vec<u8>,
    }
}

record! {
    /// Frozen sessions. Descriptors in the order of the sessions: client, server, then read and write end of each pipe.
    pub struct Batch {
        1 => number: u64,
        2 => sessions: Vec<SessionRecord>,
    }
}

record! {
    pub struct Accept {
        1 => number: u64,
    }
}

record! {
    pub struct BatchCommit {
        1 => number: u64,
    }
}

record! {
    /// Nothing more comes.
    pub struct End {}
}

record! {
    /// A frozen session.
    pub struct SessionRecord {
        /// Names it in RESIDUE.
        1 => key: u64,
        2 => frontend: String,
        3 => client: Option<String>,
        4 => local: Option<String>,
        /// Wall clock, in ms since 1970.
        5 => accepted_ms: u64,
        6 => age_us: u64,
        /// Absent: accepted, but no server has it yet.
        7 => relay: Vec<RelayRecord>,
        /// For one without a server.
        8 => waiting: Vec<Waiting>,
        /// Its client came by a unix socket: the number of the bind.
        9 => unix: Option<u32>,
    }
}

record! {
    pub struct Waiting {
        /// The client's FIN follows its residue.
        1 => ended: bool,
        /// Its PROXY header was read.
        2 => introduced: bool,
        3 => waited_us: u64,
        /// For when the frontend is gone.
        4 => backend: String,
    }
}

record! {
    pub struct RelayRecord {
        1 => backend: String,
        2 => server: String,
        3 => queue_us: u64,
        4 => connect_us: u64,
        5 => retries: u32,
        6 => redispatched: bool,
        7 => client_idle_us: u64,
        8 => server_idle_us: u64,
        9 => server_owes: bool,
        /// Up, then down.
        10 => flows: Vec<FlowRecord>,
    }
}

record! {
    pub struct FlowRecord {
        1 => ended: bool,
        2 => broken: bool,
        3 => closed: bool,
        4 => abandoned: bool,
        5 => received: u64,
        6 => sent: u64,
        /// Bytes in a pipe that comes along.
        7 => pipe: Option<u64>,
    }
}

impl SessionRecord {
    /// Descriptors that belong to it.
    pub fn descriptors(&self) -> usize {
        let relay = |relay: &RelayRecord| 1 + 2 * relay.flows.iter().filter(|flow| flow.pipe.is_some()).count();
        1 + self.relay.iter().map(relay).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::handoff::frame::Frame;
    use crate::handoff::wire::Messages;

    fn frame(message: &PeerMessage) -> Frame {
        let (kind, critical, body) = message.encode();
        Frame { kind, critical, fds: 0, sequence: 0, body }
    }

    #[test]
    fn every_message_comes_back_as_it_was() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            for message in PeerMessage::samples(&mut random) {
                assert_eq!(PeerMessage::decode(&frame(&message)), Ok(Some(message)));
            }
        }
    }

    #[test]
    fn a_batch_tells_how_many_descriptors_it_has() {
        let flow = |pipe| FlowRecord {
            ended: false,
            broken: false,
            closed: false,
            abandoned: false,
            received: 0,
            sent: 0,
            pipe,
        };
        let mut random = fastrand::Rng::with_seed(2);
        let PeerMessage::Batch(mut batch) =
            PeerMessage::samples(&mut random).into_iter().find(|m| matches!(m, PeerMessage::Batch(_))).unwrap()
        else {
            unreachable!()
        };
        let session = |relay: Vec<RelayRecord>| SessionRecord {
            key: 0,
            frontend: String::new(),
            client: None,
            local: None,
            accepted_ms: 0,
            age_us: 0,
            relay,
            waiting: vec![],
            unix: None,
        };
        let relay = |flows| RelayRecord {
            backend: String::new(),
            server: String::new(),
            queue_us: 0,
            connect_us: 0,
            retries: 0,
            redispatched: false,
            client_idle_us: 0,
            server_idle_us: 0,
            server_owes: false,
            flows,
        };
        batch.sessions = vec![
            session(vec![]),
            session(vec![relay(vec![flow(None), flow(None)])]),
            session(vec![relay(vec![flow(Some(9)), flow(Some(0))])]),
        ];
        assert_eq!(PeerMessage::Batch(batch).descriptors(), 1 + 2 + 6);
    }

    proptest! {
        #[test]
        fn arbitrary_bodies_are_refused_without_a_panic(kind in 0_u16..32, body in proptest::collection::vec(any::<u8>(), 0..300)) {
            // Whatever comes out is a value or an error.
            drop(PeerMessage::decode(&Frame { kind, critical: true, fds: 0, sequence: 0, body }));
        }

        #[test]
        fn a_bent_message_is_refused_without_a_panic(seed: u64, at: usize, bit in 0_u8..8) {
            let mut random = fastrand::Rng::with_seed(seed);
            for message in PeerMessage::samples(&mut random) {
                let mut frame = frame(&message);
                if !frame.body.is_empty() {
                    let at = at % frame.body.len();
                    frame.body[at] ^= 1_u8 << bit;
                }
                drop(PeerMessage::decode(&frame));
            }
        }
    }
}
