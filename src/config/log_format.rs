//! `format` of a log: HAProxy's log-format of TCP proxies, compiled once.
//!
//! `%ci` and the like are fields, `%[src]` is a field by the name of a fetch, `%{+Q,+X,-M}` before one sets how it is
//! written, `%{+Q}o` how all that follow are. Several spaces are one, and those at the beginning are none, as in
//! HAProxy.

/// A format, and the text that it was read from.
#[derive(Debug, Clone)]
pub struct LogFormat {
    text: String,
    pub(crate) pieces: Vec<FormatPiece>,
}

#[derive(Debug, Clone)]
pub(crate) enum FormatPiece {
    Text(String),
    Field(LogField, FieldStyle),
}

/// How a field is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FieldStyle {
    /// `+Q`: texts stand in quotes.
    pub(crate) quoted: bool,
    /// `+X`: addresses and some numbers are hexadecimal.
    pub(crate) hex: bool,
    /// `-M` switches it off: what is not there is a dash.
    pub(crate) dash: bool,
}

/// What a field shows. Fetches are texts, where fields may be numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogField {
    ClientIp,
    ClientPort,
    FrontendIp,
    FrontendPort,
    BackendIp,
    BackendPort,
    ServerIp,
    ServerPort,
    Accepted,
    AcceptedGmt,
    AcceptedLocal,
    AcceptedSeconds,
    AcceptedMillis,
    Frontend,
    Backend,
    Server,
    HandshakeTime,
    QueueTime,
    ConnectTime,
    DataTime,
    TotalTime,
    BytesOut,
    BytesIn,
    Termination,
    TerminationCookie,
    ProcessSessions,
    FrontendSessions,
    BackendSessions,
    ServerSessions,
    Retries,
    ServerQueue,
    BackendQueue,
    Pid,
    Host,
    /// Of HTTP or TLS: always empty, a dash.
    Never,
    /// Of HTTP: nothing, and no dash.
    Nothing,
    /// Of HTTP: 0.
    Zero,
    Fetch(LogFetch),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFetch {
    Src,
    SrcPort,
    Dst,
    DstPort,
    BackendSrc,
    BackendDst,
    Frontend,
    Backend,
    Server,
    ListenerNumber,
    ListenerName,
    Host,
    Date,
    FrontendSessions,
    /// A number below this one.
    Random(u32),
}

/// Why a text is no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadFormat {
    #[error("has the unknown field `%{name}`; known are {known}; a percent sign is `%%`", known = known(&FIELDS, "%"))]
    Field { name: String },
    #[error("has the field `%{name}` of HTTP, and lb is always in TCP mode; leave it out")]
    Http { name: String },
    #[error(
        "has the unknown fetch `%[{name}]`; known are {known}, and rand(N), without converters",
        known = known(&FETCHES, "")
    )]
    Fetch { name: String },
    #[error("ends within `{rest}`; a percent sign is `%%`")]
    Cut { rest: String },
}

impl PartialEq for LogFormat {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl LogFormat {
    pub(super) fn parse(text: &str) -> Result<Self, BadFormat> {
        let mut format = Self { text: text.to_owned(), pieces: Vec::new() };
        let mut style = FieldStyle { quoted: false, hex: false, dash: true };
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            if next != '%' {
                format.literal(next);
                rest = &rest[next.len_utf8()..];
                continue;
            }
            let cut = || BadFormat::Cut { rest: rest.to_owned() };
            let mut inner = &rest[1..];
            let mut own = style;
            if let Some(flags) = inner.strip_prefix('{') {
                let (flags, behind) = flags.split_once('}').ok_or_else(cut)?;
                flags.split(',').for_each(|flag| own.set(flag));
                inner = behind;
            }
            if let Some(behind) = inner.strip_prefix('%') {
                format.literal('%');
                rest = behind;
            } else if let Some(fetch) = inner.strip_prefix('[') {
                let (name, behind) = fetch.split_once(']').ok_or_else(cut)?;
                format.pieces.push(FormatPiece::Field(LogField::Fetch(fetch_of(name)?), own));
                rest = behind;
            } else {
                let end = inner.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(inner.len());
                let (name, behind) = inner.split_at(end);
                match name {
                    "" => return Err(cut()),
                    "o" => style = own,
                    _ => format.pieces.push(FormatPiece::Field(field_of(name)?, own)),
                }
                rest = behind;
            }
        }
        Ok(format)
    }

    /// As it was written.
    #[cfg(test)]
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn literal(&mut self, next: char) {
        match self.pieces.last_mut() {
            None if next == ' ' => {}
            Some(FormatPiece::Text(text)) if next == ' ' && text.ends_with(' ') => {}
            Some(FormatPiece::Text(text)) => text.push(next),
            _ => self.pieces.push(FormatPiece::Text(next.to_string())),
        }
    }
}

impl FieldStyle {
    /// `+Q`, `-Q`, `Q`; unknown ones have no effect, as in HAProxy.
    fn set(&mut self, flag: &str) {
        let (name, on) = match flag.strip_prefix('-') {
            Some(name) => (name, false),
            None => (flag.strip_prefix('+').unwrap_or(flag), true),
        };
        match name {
            "Q" => self.quoted = on,
            "X" => self.hex = on,
            "M" => self.dash = on,
            _ => {}
        }
    }
}

fn field_of(name: &str) -> Result<LogField, BadFormat> {
    let name = name.to_owned();
    match FIELDS.iter().find(|(known, _)| *known == name) {
        Some((_, field)) => Ok(*field),
        None if HTTP_FIELDS.contains(&&*name) => Err(BadFormat::Http { name }),
        None => Err(BadFormat::Field { name }),
    }
}

fn fetch_of(name: &str) -> Result<LogFetch, BadFormat> {
    let limit = name.strip_prefix("rand(").and_then(|rest| rest.strip_suffix(')')?.parse().ok());
    let found = FETCHES.iter().find(|(known, _)| *known == name).map(|(_, fetch)| *fetch);
    let found = found.or_else(|| limit.filter(|limit| *limit > 0).map(LogFetch::Random));
    found.ok_or_else(|| BadFormat::Fetch { name: name.to_owned() })
}

fn known<T>(table: &[(&str, T)], before: &str) -> String {
    let names: Vec<_> = table.iter().map(|(name, _)| format!("{before}{name}")).collect();
    names.join(" ")
}

const FIELDS: [(&str, LogField); 44] = [
    ("B", LogField::BytesOut),
    ("H", LogField::Host),
    ("ID", LogField::Never),
    ("ST", LogField::Zero),
    ("T", LogField::AcceptedGmt),
    ("Tc", LogField::ConnectTime),
    ("Td", LogField::DataTime),
    ("Th", LogField::HandshakeTime),
    ("Tl", LogField::AcceptedLocal),
    ("Ts", LogField::AcceptedSeconds),
    ("Tt", LogField::TotalTime),
    ("Tu", LogField::TotalTime),
    ("Tw", LogField::QueueTime),
    ("U", LogField::BytesIn),
    ("ac", LogField::ProcessSessions),
    ("b", LogField::Backend),
    ("bc", LogField::BackendSessions),
    ("bi", LogField::BackendIp),
    ("bp", LogField::BackendPort),
    ("bq", LogField::BackendQueue),
    ("ci", LogField::ClientIp),
    ("cp", LogField::ClientPort),
    ("f", LogField::Frontend),
    ("fc", LogField::FrontendSessions),
    ("fi", LogField::FrontendIp),
    ("fp", LogField::FrontendPort),
    ("ft", LogField::Frontend),
    ("hr", LogField::Nothing),
    ("hrl", LogField::Nothing),
    ("hs", LogField::Nothing),
    ("hsl", LogField::Nothing),
    ("ms", LogField::AcceptedMillis),
    ("pid", LogField::Pid),
    ("rc", LogField::Retries),
    ("s", LogField::Server),
    ("sc", LogField::ServerSessions),
    ("si", LogField::ServerIp),
    ("sp", LogField::ServerPort),
    ("sq", LogField::ServerQueue),
    ("sslc", LogField::Never),
    ("sslv", LogField::Never),
    ("t", LogField::Accepted),
    ("ts", LogField::Termination),
    ("tsc", LogField::TerminationCookie),
];

const HTTP_FIELDS: [&str; 17] =
    ["CC", "CS", "HM", "HP", "HPO", "HQ", "HU", "HV", "Ta", "Ti", "Tq", "TR", "Tr", "r", "tr", "trg", "trl"];

const FETCHES: [(&str, LogFetch); 15] = [
    ("src", LogFetch::Src),
    ("src_port", LogFetch::SrcPort),
    ("dst", LogFetch::Dst),
    ("dst_port", LogFetch::DstPort),
    ("bc_src", LogFetch::BackendSrc),
    ("bc_dst", LogFetch::BackendDst),
    ("fe_name", LogFetch::Frontend),
    ("be_name", LogFetch::Backend),
    ("srv_name", LogFetch::Server),
    ("so_id", LogFetch::ListenerNumber),
    ("so_name", LogFetch::ListenerName),
    ("hostname", LogFetch::Host),
    ("date", LogFetch::Date),
    ("fe_conn", LogFetch::FrontendSessions),
    ("rand", LogFetch::Random(u32::MAX)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_format_is_said() {
        for (text, said) in [
            ("%xx", "has the unknown field `%xx`; known are %B %H "),
            ("%r", "has the field `%r` of HTTP"),
            ("%[src,lower]", "has the unknown fetch `%[src,lower]`; known are src src_port "),
            ("%[rand(0)]", "has the unknown fetch"),
            ("%ci %", "ends within `%`"),
            ("%{+Q", "ends within `%{+Q`"),
            ("%[src", "ends within `%[src`"),
        ] {
            let error = LogFormat::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(said), "{text}: {error}");
        }
    }
}
