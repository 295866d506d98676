//! What is answered: a text with its severity, and HAProxy's sentences.

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Done, and there is nothing to say.
    Nothing,
    /// Facts, without a severity.
    Facts(String),
    Remark(Severity, String),
}

/// As in syslog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
}

/// How a client wants severities to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum SeverityStyle {
    #[default]
    Hidden,
    Number,
    Word,
}

impl Said {
    pub(super) fn error(text: impl Into<String>) -> Self {
        Self::Remark(Severity::Error, text.into())
    }

    pub(super) fn info(text: impl Into<String>) -> Self {
        Self::Remark(Severity::Info, text.into())
    }

    /// As a client reads it: whole lines, none of them empty.
    pub(super) fn text(self, style: SeverityStyle) -> String {
        let (mut text, mark) = match self {
            Self::Nothing => return String::new(),
            Self::Facts(text) => (text, String::new()),
            Self::Remark(severity, text) => (text, severity.mark(style)),
        };
        text.insert_str(0, &mark);
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }
}

impl Severity {
    fn mark(self, style: SeverityStyle) -> String {
        let word = match self {
            Self::Error => "err",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
        };
        match style {
            SeverityStyle::Hidden => String::new(),
            SeverityStyle::Number => format!("[{}]: ", self as u8),
            SeverityStyle::Word => format!("[{word}]: "),
        }
    }
}

/// HAProxy's level first, which tools compare, then this program's own.
pub(super) const VERSION: &str = concat!("2.8.0-lb", env!("CARGO_PKG_VERSION"));

pub(super) const DENIED: &str = "Permission denied";
pub(super) const NO_BACKEND: &str = "No such backend.";
pub(super) const NO_SERVER: &str = "No such server.";
pub(super) const NO_FRONTEND: &str = "No such frontend.";
pub(super) const NO_PROXY: &str = "No such proxy.";
pub(super) const NO_TABLE: &str = "No such table";
pub(super) const WANTS_SERVER: &str = "Require 'backend/server'.";
pub(super) const WANTS_FRONTEND: &str = "A frontend name is expected.";
pub(super) const WANTS_INTEGER: &str = "Expects an integer value.";
pub(super) const OUT_OF_RANGE: &str = "Value out of range.";

/// The request is understood, and this program has no such change yet.
pub(super) const BEYOND: &str = "lb cannot change this at run time.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_whole_lines_with_the_severity_that_is_wanted() {
        for (said, style, text) in [
            (Said::Nothing, SeverityStyle::Number, ""),
            (Said::Facts(String::new()), SeverityStyle::Number, ""),
            (Said::Facts("a\nb".into()), SeverityStyle::Number, "a\nb\n"),
            (Said::error("x"), SeverityStyle::Hidden, "x\n"),
            (Said::error("x\n"), SeverityStyle::Number, "[3]: x\n"),
            (Said::info("x"), SeverityStyle::Word, "[info]: x\n"),
        ] {
            assert_eq!(said.text(style), text);
        }
    }
}
