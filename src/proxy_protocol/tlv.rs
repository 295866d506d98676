//! The TLVs behind the addresses of a v2 header: type, length, value, as many as fit.
//!
//! Nothing here asks for what they say. They are judged as HAProxy judges them, since a header with broken ones is not
//! what its sender wrote, and then neither are its addresses.

/// Whether the TLVs from `at` to the end of `header` are whole, within their limits, and match the checksum if one of them
/// is one.
pub(super) fn are_sound(header: &[u8], mut at: usize) -> bool {
    while let Some(&[kind, high, low]) = header[at..].first_chunk() {
        let start = at + PREFIX;
        let Some(value) = header[start..].get(..usize::from(u16::from_be_bytes([high, low]))) else {
            return false;
        };
        at = start + value.len();
        let sound = match kind {
            AUTHORITY => value.len() <= 255,
            UNIQUE_ID => value.len() <= 128,
            CHECKSUM => value == checksum(&[&header[..start], &[0; 4], &header[at..]]).to_be_bytes(),
            _ => true,
        };
        if !sound {
            return false;
        }
    }
    at == header.len()
}

/// CRC32c of the header, with zeros for the checksum itself.
fn checksum(parts: &[&[u8]]) -> u32 {
    let bytes = parts.iter().copied().flatten();
    !bytes.fold(!0, |crc, byte| CRC32C[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

/// The CRC of each byte by the polynomial of Castagnoli, bits reversed.
const CRC32C: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// Type and length of a TLV.
const PREFIX: usize = 3;

const AUTHORITY: u8 = 0x02;
const CHECKSUM: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn the_checksum_is_that_of_rfc_3720() {
        assert_eq!(checksum(&[b"1234", b"", b"56789"]), 0xe306_9283);
        assert_eq!(checksum(&[&[0; 32]]), 0x8a91_36aa);
    }
}
