//! The plan of one session. The client sends it as the first bytes of the session, so that one origin serves every kind
//! of misbehaviour.

/// How a session is to run at both ends. The bytes of each direction are `stream::fill` of `seed` (up) and `!seed` (down).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Bytes the client sends after the plan.
    pub(crate) up: u64,
    /// Bytes the server sends.
    pub(crate) down: u64,
    /// Size of one write of the client.
    pub(crate) up_chunk: u32,
    /// Size of one write of the server.
    pub(crate) down_chunk: u32,
    pub(crate) server: ServerEnd,
    pub(crate) client: ClientEnd,
    pub(crate) pace: Pace,
}

/// What the server does once it has sent `down` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerEnd {
    /// Send FIN, continue to read until the client's.
    HalfClose = 0,
    /// Wait for the client's FIN, then send its own.
    AfterClient = 1,
    /// Reset (SO_LINGER 0) right behind the last `Plan::TAIL` bytes, which follow once the client has confirmed the
    /// others with one more byte of its stream: so every balancer between has received all `down` bytes.
    Reset = 2,
}

/// What the client does once it has sent `up` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientEnd {
    /// Send FIN, continue to read until the server's.
    HalfClose = 0,
    /// Wait for the server's FIN (or reset).
    AfterServer = 1,
    /// Reset (SO_LINGER 0) right behind the last `Plan::TAIL` bytes, which follow once all `down` bytes have arrived.
    /// The server then answers once it has the others.
    Reset = 2,
}

/// Which side keeps the other waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Both directions at once.
    Free = 0,
    /// The server answers once it has everything.
    RequestThenAnswer = 1,
    /// The client reads nothing until the server cannot send any more.
    ClientStalls = 2,
    /// The server reads nothing until `Origin::release`.
    ServerStalls = 3,
}

impl Plan {
    pub(crate) const LEN: usize = 48;
    /// A size that fits any receive window at once.
    pub(crate) const TAIL: u64 = 4096;

    /// `up` and `down` bytes at once, in 16 KiB writes, closed in order by the client.
    pub(crate) fn new(seed: u64, up: u64, down: u64) -> Self {
        Self {
            seed,
            up,
            down,
            up_chunk: 16 * 1024,
            down_chunk: 16 * 1024,
            server: ServerEnd::AfterClient,
            client: ClientEnd::HalfClose,
            pace: Pace::Free,
        }
    }

    /// Bytes the client sends before it waits for the server's.
    pub(crate) fn up_before_answer(&self) -> u64 {
        match self.client {
            ClientEnd::Reset => self.up.saturating_sub(Self::TAIL),
            _ => self.up,
        }
    }

    /// Bytes the server sends before it waits for the client's confirmation.
    pub(crate) fn down_before_confirmation(&self) -> u64 {
        match self.server {
            ServerEnd::Reset => self.down.saturating_sub(Self::TAIL),
            _ => self.down,
        }
    }

    /// The number of bytes the server receives before it sends.
    pub(crate) fn answer_after(&self) -> u64 {
        if self.pace == Pace::RequestThenAnswer || self.client == ClientEnd::Reset {
            self.up_before_answer()
        } else {
            0
        }
    }

    pub(crate) fn encode(&self) -> [u8; Self::LEN] {
        let chunks = (u64::from(self.up_chunk) << 32) | u64::from(self.down_chunk);
        let how = u64::from(self.server as u8) | u64::from(self.client as u8) << 8 | u64::from(self.pace as u8) << 16;
        let mut bytes = [0; Self::LEN];
        let words = [MAGIC, self.seed, self.up, self.down, chunks, how];
        for (slot, word) in bytes.chunks_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// `None` when the bytes are not a plan: something was lost or changed on the way.
    pub(crate) fn decode(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let mut words = bytes.chunks(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap()));
        let mut next = || words.next().unwrap();
        if next() != MAGIC {
            return None;
        }
        let (seed, up, down, chunks, how) = (next(), next(), next(), next(), next());
        Some(Self {
            seed,
            up,
            down,
            up_chunk: (chunks >> 32) as u32,
            down_chunk: chunks as u32,
            server: [ServerEnd::HalfClose, ServerEnd::AfterClient, ServerEnd::Reset][(how & 3) as usize],
            client: [ClientEnd::HalfClose, ClientEnd::AfterServer, ClientEnd::Reset][(how >> 8 & 3) as usize],
            pace: [Pace::Free, Pace::RequestThenAnswer, Pace::ClientStalls, Pace::ServerStalls]
                [(how >> 16 & 3) as usize],
        })
    }
}

const MAGIC: u64 = u64::from_le_bytes(*b"lb-plan\n");

#[test]
fn a_plan_survives_the_wire() {
    let plan = Plan {
        up_chunk: 1,
        down_chunk: 700,
        server: ServerEnd::Reset,
        client: ClientEnd::AfterServer,
        pace: Pace::ServerStalls,
        ..Plan::new(9, 1 << 40, 3)
    };
    assert_eq!(Plan::decode(&plan.encode()), Some(plan));
    assert_eq!(Plan::decode(&[0; Plan::LEN]), None);
}
