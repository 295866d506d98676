//! The traffic of a load, and the header in which a client states its request to the origin.

use std::time::Duration;

/// One kind of request, repeated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Traffic {
    /// Connections open at once.
    pub(crate) connections: usize,
    /// Requests in all. 0: connections are opened and held.
    pub(crate) requests: u64,
    /// Bytes that follow the header.
    pub(crate) upload: u64,
    pub(crate) answer: u64,
    pub(crate) manner: Manner,
    pub(crate) pace: Pace,
    /// Runs beside the load all the time and is not measured.
    pub(crate) background: Option<Background>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// A connection for each request; the origin closes after its answer, as with `ab`.
    Fresh,
    Reuse,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// Each connection sends its next request once it has the answer to the last one.
    Closed,
    /// This many per second, whether answers arrive or not; a request's delay counts from its due time.
    Open(f64),
}

/// Endless downloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Background {
    pub(crate) streams: usize,
}

impl Traffic {
    /// Requests on fresh connections.
    pub(crate) const fn fresh(connections: usize, requests: u64) -> Self {
        Self {
            connections,
            requests,
            upload: 0,
            answer: 1024,
            manner: Manner::Fresh,
            pace: Pace::Closed,
            background: None,
        }
    }

    /// Requests on connections that stay.
    pub(crate) const fn reuse(connections: usize, requests: u64) -> Self {
        Self { answer: 128, manner: Manner::Reuse, ..Self::fresh(connections, requests) }
    }

    /// This many times the requests, and at least one per connection.
    pub(crate) fn with_more_requests(self, times: f64) -> Self {
        let requests = multiplied(self.requests, times).max(self.connections as u64);
        Self { requests, ..self }
    }

    /// This many times the bytes of the direction that carries more.
    pub(crate) fn with_more_bytes(self, times: f64) -> Self {
        if self.upload > self.answer {
            let upload = multiplied(self.upload, times);
            Self { upload, ..self }
        } else {
            let answer = multiplied(self.answer, times);
            Self { answer, ..self }
        }
    }

    /// How long a run may take before the missing requests count as failed.
    pub(crate) const LIMIT: Duration = Duration::from_secs(30);
}

fn multiplied(amount: u64, times: f64) -> u64 {
    // Amounts are far below 2^52 and `times` is positive.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let product = (amount as f64 * times) as u64;
    product
}

/// A client's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    /// Selects the bytes of both bodies.
    pub(crate) seed: u64,
    pub(crate) upload: u64,
    pub(crate) answer: u64,
    /// The origin closes after its answer.
    pub(crate) close: bool,
}

/// About the size of a short HTTP request.
pub(crate) const HEADER: usize = 96;

const MAGIC: [u8; 8] = *b"compare\n";

impl Request {
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [b'.'; HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.seed.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.upload.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.answer.to_le_bytes());
        bytes[32] = u8::from(self.close);
        bytes
    }

    /// `None`: these are not the bytes that were sent.
    pub(crate) fn decode(bytes: &[u8; HEADER]) -> Option<Self> {
        let number = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let request = Self { seed: number(8), upload: number(16), answer: number(24), close: bytes[32] == 1 };
        (request.encode() == *bytes).then_some(request)
    }

    /// Larger than one block; such transfers yield to others.
    pub(crate) fn is_bulk(&self) -> bool {
        self.upload + self.answer > BULK_BYTES
    }
}

/// A larger request takes turns with others.
const BULK_BYTES: u64 = 128 * 1024;
