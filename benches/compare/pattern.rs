//! The bytes that are transferred: a stream that never repeats within a read, so that a lost, doubled, swapped or
//! foreign byte shows. A comparison with the table costs next to nothing beside the system calls.

/// The largest read or write: as large as that of servers with `sendfile(2)`, so that the load's core is not the
/// bottleneck of bulk.
pub(crate) const CHUNK: usize = 1024 * 1024;

/// A prime: no block size divides it.
const PERIOD: usize = 65_521;

#[derive(Debug)]
pub(crate) struct Pattern {
    bytes: Vec<u8>,
}

impl Pattern {
    pub(crate) fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        let mut bytes: Vec<u8> = (0..PERIOD).map(|_| next()).collect();
        while bytes.len() < PERIOD + CHUNK {
            let missing = (PERIOD + CHUNK - bytes.len()).min(PERIOD);
            bytes.extend_from_within(..missing);
        }
        Self { bytes }
    }

    /// At most `len`, and at most [`CHUNK`], bytes of stream `seed` from `offset` on.
    pub(crate) fn at(&self, seed: u64, offset: u64, len: u64) -> &[u8] {
        let start = (seed % PERIOD as u64 * 7919 + offset % PERIOD as u64) % PERIOD as u64;
        let start = usize::try_from(start).unwrap_or(0);
        let len = usize::try_from(len).unwrap_or(CHUNK).min(CHUNK);
        &self.bytes[start..start + len]
    }

    /// Whether `bytes` are those of stream `seed` from `offset` on.
    pub(crate) fn is(&self, seed: u64, offset: u64, bytes: &[u8]) -> bool {
        self.at(seed, offset, bytes.len() as u64) == bytes
    }
}
