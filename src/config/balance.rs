//! `balance`: the words for schedulers.

use std::fmt;

use super::section::Section;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    RoundRobin,
    /// As `RoundRobin`, with weights that do not change at run time but to 0 and back.
    StaticRr,
    LeastConn,
    /// The least busy of so many that are drawn.
    Random {
        draws: u16,
    },
    /// Consistent hash of the client's address.
    Source,
    /// The first server that is not full.
    First,
}

impl Balance {
    /// Power of two choices, as in HAProxy.
    pub const RANDOM: Self = Self::Random { draws: 2 };

    pub(super) const WORDS: [(&str, Self); 6] = [
        ("roundrobin", Self::RoundRobin),
        ("static-rr", Self::StaticRr),
        ("leastconn", Self::LeastConn),
        ("random", Self::RANDOM),
        ("source", Self::Source),
        ("first", Self::First),
    ];

    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let balance = section.word("balance", &Self::WORDS);
        let draws = section.number("random_draws", 1..=MAX_DRAWS);
        match (balance, draws) {
            (Some(Self::Random { .. }), Some(draws)) => return Some(Self::Random { draws }),
            (_, Some(_)) => {
                let value = section.value("random_draws");
                let what = "belongs to `balance = \"random\"`; write that beside it";
                value.inspect(|value| value.wrong_key(what));
            }
            (_, None) => {}
        }
        balance
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoundRobin => "roundrobin",
            Self::StaticRr => "static-rr",
            Self::LeastConn => "leastconn",
            Self::Random { .. } => "random",
            Self::Source => "source",
            Self::First => "first",
        })
    }
}

/// More than a backend can have servers would be no better.
const MAX_DRAWS: i64 = 1024;
