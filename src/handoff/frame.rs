//! Frames: a fixed header, then a body of tag-length-value fields. Pure; independent of sockets and message kinds.
//!
//! Header, little endian, 24 bytes: magic, major, minor, kind, flags, descriptors, zero, sequence, body length.
//! Field: tag (u16), length (u32), value. A reader skips an unknown tag, unless bit 15 of the tag is set: the message
//! means something else without it. It skips an unknown kind, unless the header's CRITICAL flag is set. This is all
//! that two versions must agree on, and it never changes within a major version.

/// Another major version is another protocol: `lb upgrade` refuses it.
pub(crate) const MAJOR: u16 = 1;

/// Grows when fields or non-critical kinds are added. No decision depends on it.
pub(crate) const MINOR: u16 = 0;

/// Bytes of a header.
pub(crate) const HEADER: usize = 24;

/// The longest body. One message must fit into the kernel's default socket buffer (212,992 bytes) more than once,
/// so that sender and receiver overlap.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// The longest frame: what a receive buffer must hold.
pub(crate) const MAX_FRAME: usize = HEADER + MAX_BODY;

/// In a tag: a reader without support for this tag cannot use the message.
pub(crate) const CRITICAL_TAG: u16 = 0x8000;

/// One message as it travels, besides its descriptors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u16,
    /// A reader without support for this kind must end the connection.
    pub critical: bool,
    /// Number of descriptors that travel with the message.
    pub fds: usize,
    /// Counts from 0 in each direction of a connection.
    pub sequence: u32,
    pub body: Vec<u8>,
}

/// Why bytes are not a frame, or a frame is not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("not a hand-off message")]
    NotOurs,
    #[error("hand-off protocol {theirs}, this is {MAJOR}")]
    Major { theirs: u16 },
    #[error("the length in the header is not that of the message")]
    Length,
    #[error("{said} descriptors announced, {came} came")]
    Descriptors { said: usize, came: usize },
    #[error("message {came} came where {expected} was due")]
    Sequence { came: u32, expected: u32 },
    #[error("message kind {0} is critical and not known here")]
    UnknownKind(u16),
    #[error("field {0} is critical and not known here")]
    UnknownTag(u16),
    #[error("a field is cut short")]
    Cut,
    #[error("field {0} is missing")]
    Missing(u16),
    #[error("field {0} has no valid value")]
    Invalid(u16),
}

impl Frame {
    /// The bytes to send. The body must not be longer than [`MAX_BODY`]; receivers refuse longer ones.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.body.len());
        bytes.extend_from_slice(&MAGIC);
        for half in [MAJOR, MINOR, self.kind, u16::from(self.critical), self.fds as u16, 0] {
            bytes.extend_from_slice(&half.to_le_bytes());
        }
        for word in [self.sequence, self.body.len() as u32] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Checks a received message against the number of descriptors that came with it.
    pub fn decode(bytes: &[u8], fds: usize) -> Result<Self, DecodeError> {
        let Some((header, body)) = bytes.split_first_chunk::<HEADER>() else {
            return Err(DecodeError::NotOurs);
        };
        let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if header[..4] != MAGIC {
            return Err(DecodeError::NotOurs);
        }
        if half(4) != MAJOR {
            return Err(DecodeError::Major { theirs: half(4) });
        }
        if word(20) as usize != body.len() || body.len() > MAX_BODY {
            return Err(DecodeError::Length);
        }
        let said = usize::from(half(12));
        if said != fds {
            return Err(DecodeError::Descriptors { said, came: fds });
        }
        // The minor version and flags beyond the first carry nothing that this version could act upon.
        let critical = half(10) & 1 == 1;
        Ok(Self { kind: half(8), critical, fds, sequence: word(16), body: body.to_vec() })
    }
}

/// A body under construction.
#[derive(Debug, Default)]
pub(crate) struct Body(Vec<u8>);

impl Body {
    /// Appends a field.
    pub(crate) fn put(&mut self, tag: u16, value: &[u8]) {
        self.0.extend_from_slice(&tag.to_le_bytes());
        self.0.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.0.extend_from_slice(value);
    }

    /// The finished bytes.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// The fields of a received body, in their order.
#[derive(Debug)]
pub(crate) struct Fields<'a>(Vec<(u16, &'a [u8])>);

impl<'a> Fields<'a> {
    /// Splits a body. Every field must be whole.
    pub(crate) fn parse(mut body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Vec::new();
        while !body.is_empty() {
            let (tag, rest) = body.split_first_chunk().ok_or(DecodeError::Cut)?;
            let (length, rest) = rest.split_first_chunk().ok_or(DecodeError::Cut)?;
            let length = u32::from_le_bytes(*length) as usize;
            let (value, rest) = rest.split_at_checked(length).ok_or(DecodeError::Cut)?;
            fields.push((u16::from_le_bytes(*tag), value));
            body = rest;
        }
        Ok(Self(fields))
    }

    /// The first field of this tag.
    pub(crate) fn first(&self, tag: u16) -> Option<&'a [u8]> {
        self.each(tag).next()
    }

    /// All fields of this tag.
    pub(crate) fn each(&self, tag: u16) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |(t, _)| *t == tag).map(|(_, value)| *value)
    }

    /// Refuses a body with a critical field that is not among `known`.
    pub(crate) fn check_critical(&self, known: &[u16]) -> Result<(), DecodeError> {
        let unknown = |(tag, _): &&(u16, &[u8])| tag & CRITICAL_TAG != 0 && !known.contains(tag);
        match self.0.iter().find(unknown) {
            Some((tag, _)) => Err(DecodeError::UnknownTag(*tag)),
            None => Ok(()),
        }
    }
}

const MAGIC: [u8; 4] = *b"lbHO";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(body: &[u8]) -> Frame {
        Frame { kind: 7, critical: true, fds: 2, sequence: 9, body: body.to_vec() }
    }

    #[test]
    fn each_wrong_header_field_is_refused_with_its_own_error() {
        let good = frame(b"body").encode();
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            Frame::decode(&bytes, 2)
        };
        assert_eq!(Frame::decode(&good, 2).unwrap(), frame(b"body"));
        assert_eq!(with(0, b'x').unwrap_err(), DecodeError::NotOurs);
        assert_eq!(with(4, 99).unwrap_err(), DecodeError::Major { theirs: 99 });
        assert_eq!(with(20, 5).unwrap_err(), DecodeError::Length);
        assert_eq!(with(12, 3).unwrap_err(), DecodeError::Descriptors { said: 3, came: 2 });
        assert_eq!(Frame::decode(&good[..23], 2).unwrap_err(), DecodeError::NotOurs);
        assert_eq!(Frame::decode(&good[..25], 2).unwrap_err(), DecodeError::Length);
        assert_eq!(with(6, 200).unwrap(), frame(b"body"), "another minor version is welcome");
    }

    #[test]
    fn a_body_longer_than_the_limit_is_refused() {
        let bytes = frame(&vec![0; MAX_BODY + 1]).encode();
        assert_eq!(Frame::decode(&bytes, 2).unwrap_err(), DecodeError::Length);
    }

    #[test]
    fn an_unknown_field_is_skipped_unless_it_is_critical() {
        let mut body = Body::default();
        body.put(1, b"known");
        body.put(500, b"from a later version");
        let bytes = body.into_bytes();
        let fields = Fields::parse(&bytes).unwrap();
        assert_eq!(fields.check_critical(&[1]), Ok(()));
        assert_eq!(fields.first(1), Some(&b"known"[..]));
        let mut body = Body::default();
        body.put(CRITICAL_TAG | 5, b"");
        let bytes = body.into_bytes();
        let refused = Fields::parse(&bytes).unwrap().check_critical(&[1]);
        assert_eq!(refused, Err(DecodeError::UnknownTag(CRITICAL_TAG | 5)));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), fds in 0_usize..4) {
            if let Ok(frame) = Frame::decode(&bytes, fds) {
                drop(Fields::parse(&frame.body));
            }
            drop(Fields::parse(&bytes));
        }

        #[test]
        fn a_frame_is_decoded_as_it_was_encoded(kind: u16, critical: bool, fds in 0_usize..254, sequence: u32, body: Vec<u8>) {
            let frame = Frame { kind, critical, fds, sequence, body };
            prop_assert_eq!(Frame::decode(&frame.encode(), fds).unwrap(), frame);
        }
    }
}
