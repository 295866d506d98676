//! `balance`: the words for schedulers.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    RoundRobin,
    LeastConn,
    /// Power of two choices.
    Random,
    /// Consistent hash of the client's address.
    Source,
    /// The first server that is not full.
    First,
}

impl Balance {
    pub(super) const WORDS: [(&str, Self); 5] = [
        ("roundrobin", Self::RoundRobin),
        ("leastconn", Self::LeastConn),
        ("random", Self::Random),
        ("source", Self::Source),
        ("first", Self::First),
    ];
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoundRobin => "roundrobin",
            Self::LeastConn => "leastconn",
            Self::Random => "random",
            Self::Source => "source",
            Self::First => "first",
        })
    }
}
