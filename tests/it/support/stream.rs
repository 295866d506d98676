//! Seeded byte streams that can be checked at any offset: both ends compute every expected byte, so a byte that is
//! lost, doubled or swapped shows at its position.

/// Writes the bytes `offset..` of the stream `seed`.
pub(crate) fn fill(seed: u64, offset: u64, out: &mut [u8]) {
    let mut position = offset;
    let mut rest = out;
    while !rest.is_empty() {
        let word = word(seed, position / 8).to_le_bytes();
        let start = (position % 8) as usize;
        let take = (8 - start).min(rest.len());
        let (head, tail) = rest.split_at_mut(take);
        head.copy_from_slice(&word[start..start + take]);
        position += take as u64;
        rest = tail;
    }
}

/// SplitMix64 as a function of the position, so that no state has to be carried.
fn word(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Receives a stream and records the position of the first wrong byte.
#[derive(Debug)]
pub(crate) struct Verifier {
    seed: u64,
    received: u64,
    corrupt_at: Option<u64>,
    expected: Vec<u8>,
}

impl Verifier {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, received: 0, corrupt_at: None, expected: Vec::new() }
    }

    pub(crate) fn take(&mut self, bytes: &[u8]) {
        if self.corrupt_at.is_none() {
            self.expected.resize(bytes.len(), 0);
            fill(self.seed, self.received, &mut self.expected);
            if self.expected != bytes {
                let first = self.expected.iter().zip(bytes).position(|(want, got)| want != got);
                self.corrupt_at = first.map(|index| self.received + index as u64);
            }
        }
        self.received += bytes.len() as u64;
    }

    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    pub(crate) fn corrupt_at(&self) -> Option<u64> {
        self.corrupt_at
    }
}

#[test]
fn a_swapped_byte_is_found_at_its_offset_however_the_stream_is_cut() {
    let mut whole = vec![0; 1000];
    fill(7, 0, &mut whole);
    let mut pieces = Vec::new();
    for start in (0..1000).step_by(13) {
        let mut piece = vec![0; 13.min(1000 - start)];
        fill(7, start as u64, &mut piece);
        pieces.extend(piece);
    }
    assert_eq!(whole, pieces);
    whole[517] ^= 1;
    let mut verifier = Verifier::new(7);
    whole.chunks(100).for_each(|chunk| verifier.take(chunk));
    assert_eq!((verifier.received(), verifier.corrupt_at()), (1000, Some(517)));
}
