//! The client's first bytes, kept until the server has answered: should the server go away before its first byte, the
//! session is tried again on another one. For protocols in which a repeated request is harmless.

/// What a client has sent so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replay {
    bytes: Vec<u8>,
    /// Beyond so many bytes the session cannot be repeated any more.
    max: usize,
}

impl Replay {
    pub(super) fn new(max: usize) -> Self {
        Self { bytes: Vec::new(), max }
    }

    /// Keeps more bytes. `false`: too many, give up.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> bool {
        if self.bytes.len() + bytes.len() > self.max {
            return false;
        }
        self.bytes.extend_from_slice(bytes);
        true
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
