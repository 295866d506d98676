//! The table as bytes: for the file, for the next engine, and for the supervisor.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::found::MOST_ADDRESSES;
use crate::config::Address;
use crate::control::state_file::{Damage, seal, unseal};

/// Names and their last good addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedNames {
    pub(super) names: BTreeMap<String, Vec<IpAddr>>,
}

impl SavedNames {
    /// The bytes of a file, or of a message.
    pub(super) fn encode(&self) -> Vec<u8> {
        let body = serde_json::to_vec_pretty(self).expect("texts and lists can be written as JSON");
        seal(MAGIC, VERSION, &body)
    }

    /// Reads what [`encode`](Self::encode) wrote; believes nothing.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let body = unseal(MAGIC, VERSION, bytes)?;
        let mut saved: Self = serde_json::from_slice(body).map_err(|error| Damage::Content(error.to_string()))?;
        for (name, addresses) in &mut saved.names {
            // Behind `@` stands the section of the configuration that was asked.
            let (name, section) = name.split_once('@').unwrap_or((name, ""));
            let is_name = matches!(format!("{name}:1").parse(), Ok(Address::Host(host, _)) if host == name);
            let is_in_name = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
            if !is_name || !section.chars().all(is_in_name) {
                return Err(Damage::Content("it has a name that is none".to_owned()));
            }
            addresses.truncate(MOST_ADDRESSES);
        }
        saved.names.retain(|_, addresses| !addresses.is_empty());
        Ok(saved)
    }

    /// The same in parts, of which none is longer than a message of the hand-off can be.
    pub(super) fn parts(self) -> Vec<Vec<u8>> {
        let mut names: Vec<_> = self.names.into_iter().collect();
        let mut parts = Vec::new();
        while !names.is_empty() {
            let rest = names.split_off(names.len().min(IN_A_PART));
            parts.push(Self { names: names.into_iter().collect() }.encode());
            names = rest;
        }
        parts
    }
}

const MAGIC: &str = "lb-names";
const VERSION: &str = "1";

/// Even 16 of the longest addresses each, and names of 253 bytes, are below 64 KiB.
const IN_A_PART: usize = 40;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_names() -> impl Strategy<Value = SavedNames> {
        let addresses = prop::collection::vec(any::<IpAddr>(), 1..=MOST_ADDRESSES);
        prop::collection::btree_map("[a-z_]([a-z0-9_-]{0,60}[a-z0-9_])?(\\.[a-z]{1,9}){0,3}", addresses, 0..100)
            .prop_map(|names| SavedNames { names })
    }

    proptest! {
        #[test]
        fn what_was_saved_is_read_whole_and_in_parts(saved in any_names()) {
            prop_assert_eq!(SavedNames::decode(&saved.encode()), Ok(saved.clone()));
            let mut together = SavedNames::default();
            for part in saved.clone().parts() {
                together.names.extend(SavedNames::decode(&part).unwrap().names);
            }
            prop_assert_eq!(together, saved);
        }

        #[test]
        fn changed_bytes_are_refused(saved in any_names(), at: usize, bit in 0_u8..8) {
            let mut bytes = saved.encode();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert!(SavedNames::decode(&bytes).is_err());
        }

        #[test]
        fn rubbish_never_panics(bytes: Vec<u8>, body in "\\PC{0,80}") {
            drop(SavedNames::decode(&bytes));
            drop(SavedNames::decode(&seal(MAGIC, VERSION, body.as_bytes())));
            let name = serde_json::json!({ "names": { body: ["1.2.3.4"] } }).to_string();
            drop(SavedNames::decode(&seal(MAGIC, VERSION, name.as_bytes())));
        }
    }

    #[test]
    fn the_longest_part_fits_into_a_message_and_a_name_that_is_none_is_refused() {
        let label = "n".repeat(60);
        let name = |number: usize| format!("{label}.{label}.{label}.n{number:08}");
        let addresses = vec!["fd00:1111:2222:3333:4444:5555:6666:7777".parse().unwrap(); MOST_ADDRESSES];
        let names = (0..2 * IN_A_PART).map(|number| (name(number), addresses.clone())).collect();
        let parts = SavedNames { names }.parts();
        assert_eq!(parts.len(), 2);
        assert!(parts.iter().all(|part| part.len() < 60_000 && SavedNames::decode(part).is_ok()));
        for name in ["", "a b", "1.2.3.4", "unix@/x", "a:b", "[::1]"] {
            let names = [(name.to_owned(), addresses.clone())].into();
            assert!(SavedNames::decode(&SavedNames { names }.encode()).is_err(), "{name:?}");
        }
    }
}
