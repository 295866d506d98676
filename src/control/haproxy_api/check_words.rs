//! HAProxy's words for the result of a check: their numbers in a server state file, and what they mean.

/// A word such as `L4OK`.
#[derive(Debug, Clone, Copy)]
pub(super) struct CheckWord {
    word: &'static str,
    /// In `show servers state`.
    pub(super) number: u8,
    pub(super) meaning: &'static str,
    passed: bool,
}

impl CheckWord {
    /// A word of another version is unknown.
    pub(super) fn of(word: &str) -> Self {
        WORDS.into_iter().find(|known| known.word == word).unwrap_or(WORDS[0])
    }

    /// A check has come to its end.
    pub(super) fn is_result(self) -> bool {
        self.number > INITIALIZING
    }

    /// It has a code: that of HTTP, or 0.
    pub(super) fn has_code(self) -> bool {
        self.number >= FIRST_WITH_CODE
    }

    /// Of `show servers state`: unknown, failed, passed.
    pub(super) fn verdict(self) -> u8 {
        match (self.is_result(), self.passed) {
            (false, _) => 0,
            (true, false) => 2,
            (true, true) => 3,
        }
    }
}

const INITIALIZING: u8 = 1;
const FIRST_WITH_CODE: u8 = 15;

const WORDS: [CheckWord; 11] = [
    word("UNK", 0, "Unknown", false),
    word("INI", INITIALIZING, "Initializing", false),
    word("CHECKED", 3, "No status change", false),
    word("SOCKERR", 5, "Socket error", false),
    word("L4OK", 6, "Layer4 check passed", true),
    word("L4TOUT", 7, "Layer4 timeout", false),
    word("L4CON", 8, "Layer4 connection problem", false),
    word("L7TOUT", 12, "Layer7 timeout", false),
    word("L7RSP", 13, "Layer7 invalid response", false),
    word("L7OK", FIRST_WITH_CODE, "Layer7 check passed", true),
    word("L7STS", 17, "Layer7 wrong status", false),
];

const fn word(word: &'static str, number: u8, meaning: &'static str, passed: bool) -> CheckWord {
    CheckWord { word, number, meaning, passed }
}
