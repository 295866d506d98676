//! A session line in a format of its own.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use super::header::host_name;
use super::line::{PhaseMillis, SessionLine};
use crate::config::{FieldStyle, FormatPiece, LogFetch, LogField};
use crate::sys::clock;

/// What is written of an address.
#[derive(Debug, Clone, Copy)]
enum EndPlace {
    At(SocketAddr),
    /// A unix socket, by the number of the bind.
    Unix(u16),
    Nowhere,
}

impl SessionLine {
    /// Writes the line, in its own format or in the usual one. Writing to a String cannot fail.
    pub(super) fn write_to(&self, out: &mut String) {
        let Some(format) = &self.settings.format else {
            _ = write!(out, "{self}");
            return;
        };
        for piece in &format.pieces {
            match piece {
                FormatPiece::Text(text) => out.push_str(text),
                FormatPiece::Field(field, style) => self.write_field(out, *field, *style),
            }
        }
    }

    fn write_field(&self, out: &mut String, field: LogField, style: FieldStyle) {
        let so_far = if self.partial { "+" } else { "" };
        let [process, frontend, backend, server] = self.sessions;
        _ = match field {
            LogField::ClientIp => return write_ip(out, style, self.client_place()),
            LogField::ClientPort => return write_port(out, style, self.client_place()),
            LogField::FrontendIp => return write_ip(out, style, self.local_place()),
            LogField::FrontendPort => return write_port(out, style, self.local_place()),
            LogField::BackendIp => return write_ip(out, style, self.outgoing()),
            LogField::BackendPort => return write_port(out, style, self.outgoing()),
            LogField::ServerIp => return write_ip(out, style, self.server_place()),
            LogField::ServerPort => return write_port(out, style, self.server_place()),
            LogField::Frontend => return write_text(out, style, Some(&self.frontend)),
            LogField::Backend => return write_text(out, style, Some(&self.backend)),
            LogField::Server => return write_text(out, style, Some(self.server_name())),
            LogField::Host => return write_text(out, style, Some(host_name())),
            LogField::Never => return write_text(out, style, None),
            LogField::Fetch(fetch) => return self.write_fetch(out, fetch, style),
            LogField::Nothing => Ok(()),
            LogField::Zero | LogField::ServerQueue => write!(out, "0"),
            LogField::Accepted => write!(out, "{}", clock::log_time(self.accepted)),
            LogField::AcceptedGmt => write!(out, "{}", clock::zoned_time(self.accepted, true)),
            LogField::AcceptedLocal => write!(out, "{}", clock::zoned_time(self.accepted, false)),
            LogField::AcceptedSeconds if style.hex => write!(out, "{:X}", since_epoch(self.accepted).as_secs()),
            LogField::AcceptedSeconds => write!(out, "{}", since_epoch(self.accepted).as_secs()),
            LogField::AcceptedMillis if style.hex => write!(out, "{:02X}", since_epoch(self.accepted).subsec_millis()),
            LogField::AcceptedMillis => write!(out, "{:03}", since_epoch(self.accepted).subsec_millis()),
            LogField::HandshakeTime => {
                write!(out, "{}", self.ends.as_ref().map_or(0, |ends| ends.handshake.as_millis()))
            }
            LogField::QueueTime => write!(out, "{}", PhaseMillis(self.times.queue)),
            LogField::ConnectTime => write!(out, "{}", PhaseMillis(self.times.connect)),
            LogField::DataTime => write!(out, "{}", PhaseMillis(self.data_time())),
            LogField::TotalTime => write!(out, "{so_far}{}", self.times.total.as_millis()),
            LogField::BytesOut => write!(out, "{so_far}{}", self.bytes_out),
            LogField::BytesIn => write!(out, "{}", self.bytes_in),
            LogField::Termination => write!(out, "{}", self.ending),
            LogField::TerminationCookie => write!(out, "{}--", self.ending),
            LogField::ProcessSessions => write!(out, "{process}"),
            LogField::FrontendSessions => write!(out, "{frontend}"),
            LogField::BackendSessions => write!(out, "{backend}"),
            LogField::ServerSessions => write!(out, "{server}"),
            LogField::Retries => write!(out, "{}", self.attempts),
            LogField::BackendQueue => write!(out, "{}", self.attempts.queue_position),
            LogField::Pid if style.hex => write!(out, "{:04X}", std::process::id()),
            LogField::Pid => write!(out, "{}", std::process::id()),
        };
    }

    /// Always a text.
    fn write_fetch(&self, out: &mut String, fetch: LogFetch, style: FieldStyle) {
        let ip = |place| if let EndPlace::At(addr) = place { Some(addr.ip().to_string()) } else { None };
        let port = |place| if let EndPlace::At(addr) = place { Some(addr.port().to_string()) } else { None };
        let text = match fetch {
            LogFetch::Src => ip(self.client_place()),
            LogFetch::SrcPort => port(self.client_place()),
            LogFetch::Dst => ip(self.local_place()),
            LogFetch::DstPort => port(self.local_place()),
            LogFetch::BackendSrc => ip(self.outgoing()),
            LogFetch::BackendDst => ip(self.server_place()),
            LogFetch::Frontend => return write_text(out, style, Some(&self.frontend)),
            LogFetch::Backend => return write_text(out, style, Some(&self.backend)),
            LogFetch::Server => return write_text(out, style, self.server.as_deref()),
            LogFetch::Host => return write_text(out, style, Some(host_name())),
            LogFetch::ListenerNumber => self.entry.as_ref().map(|entry| entry.number.to_string()),
            LogFetch::ListenerName => self.entry.as_ref().and_then(|entry| entry.name.clone()),
            LogFetch::Date => Some(since_epoch(self.ended()).as_secs().to_string()),
            LogFetch::FrontendSessions => Some(self.sessions[1].to_string()),
            LogFetch::Random(below) => Some(fastrand::u32(0..below).to_string()),
        };
        write_text(out, style, text.as_deref());
    }

    pub(super) fn server_name(&self) -> &str {
        self.server.as_deref().unwrap_or("<NOSRV>")
    }

    /// When the line was made.
    pub(super) fn ended(&self) -> SystemTime {
        self.accepted + self.times.total
    }

    fn data_time(&self) -> Option<Duration> {
        let before = self.times.queue.unwrap_or_default() + self.times.connect?;
        Some(self.times.total.saturating_sub(before))
    }

    fn client_place(&self) -> EndPlace {
        match (self.client.addr(), self.client.unix()) {
            (Some(addr), _) => EndPlace::At(addr),
            (None, Some(number)) => EndPlace::Unix(number),
            (None, None) => EndPlace::Nowhere,
        }
    }

    fn local_place(&self) -> EndPlace {
        match (self.ends.as_ref().and_then(|ends| ends.local), &self.entry) {
            (Some(addr), _) => EndPlace::At(addr),
            (None, Some(entry)) if entry.is_unix() => EndPlace::Unix(entry.number),
            (None, _) => EndPlace::Nowhere,
        }
    }

    fn outgoing(&self) -> EndPlace {
        self.ends.as_ref().and_then(|ends| ends.outgoing).map_or(EndPlace::Nowhere, EndPlace::At)
    }

    fn server_place(&self) -> EndPlace {
        self.ends.as_ref().and_then(|ends| ends.server).map_or(EndPlace::Nowhere, EndPlace::At)
    }
}

fn write_ip(out: &mut String, style: FieldStyle, place: EndPlace) {
    match place {
        EndPlace::At(addr) if style.hex => match addr.ip() {
            IpAddr::V4(ip) => write_hex(out, &ip.octets()),
            IpAddr::V6(ip) => write_hex(out, &ip.octets()),
        },
        EndPlace::At(addr) => {
            let quote = if style.quoted { "\"" } else { "" };
            _ = write!(out, "{quote}{}{quote}", addr.ip());
        }
        EndPlace::Unix(_) => write_text(out, style, Some("unix")),
        EndPlace::Nowhere => write_text(out, style, None),
    }
}

fn write_port(out: &mut String, style: FieldStyle, place: EndPlace) {
    _ = match place {
        EndPlace::At(addr) if style.hex => write!(out, "{:04X}", addr.port()),
        EndPlace::At(addr) => write!(out, "{}", addr.port()),
        EndPlace::Unix(number) => write!(out, "{number}"),
        EndPlace::Nowhere => return write_text(out, style, None),
    };
}

fn write_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        _ = write!(out, "{byte:02X}");
    }
}

fn write_text(out: &mut String, style: FieldStyle, text: Option<&str>) {
    let quote = if style.quoted { "\"" } else { "" };
    match text.filter(|text| !text.is_empty()) {
        Some(text) => _ = write!(out, "{quote}{text}{quote}"),
        None if style.quoted => out.push_str("\"\""),
        None if style.dash => out.push('-'),
        None => {}
    }
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::client_name::ClientName;
    use super::super::line::tests::line;
    use super::super::session_ends::SessionEnds;
    use super::*;
    use crate::config;

    fn written(format: &str, line: &SessionLine) -> String {
        let text = format!(
            "[global.log]\nformat = {}\n[frontend.f]\nbind = \":1\"\nbackend = \"b\"\n[backend.b]\nservers.a = \"h:1\"\n",
            toml::Value::String(format.to_owned())
        );
        let config = config::parse("f", &text).unwrap_or_else(|problems| panic!("{problems}"));
        let mut out = String::new();
        SessionLine { settings: Arc::clone(&config.frontends[0].log), ..line.clone() }.write_to(&mut out);
        out
    }

    fn full() -> SessionLine {
        let ends = SessionEnds {
            local: "127.0.0.1:19405".parse().ok(),
            server: "[::1]:80".parse().ok(),
            outgoing: "10.0.0.1:33548".parse().ok(),
            handshake: Duration::from_millis(3),
        };
        SessionLine { ends: Some(Box::new(ends)), client: ClientName::Ip("127.0.0.1:51748".parse().unwrap()), ..line() }
    }

    /// As HAProxy 2.6 writes them.
    #[test]
    fn fields_are_written_as_by_haproxy() {
        for (format, expected) in [
            ("  %ci:%cp  %fi:%fp %%", "127.0.0.1:51748 127.0.0.1:19405 %"),
            ("%{+X}ci %{+X}cp %ci %{+X}fp", "7F000001 CA24 127.0.0.1 4BCD"),
            ("%{+Q}o %ci %cp %b %B %{-Q}b %si %[src_port]", "\"127.0.0.1\" 51748 \"bck\" 212 bck \"::1\" \"51748\""),
            ("%{+Q,+X}si", "00000000000000000000000000000001"),
            ("%Tw/%Tc/%Td/%Tt %Th %U %tsc %rc %sq/%bq", "0/7/5000/5007 3 0 ---- +3 0/0"),
            ("%ac/%fc/%bc/%sc %ST %ID %{+Q}ID %{-M}ID.", "4/3/2/1 0 - \"\" ."),
            ("[%hr|%hs] %[so_name] %[bc_src] %[srv_name]", "[|] - 10.0.0.1 srv1"),
            ("%T %Ts %ms", "01/Jan/1970:00:00:00 +0000 0 000"),
        ] {
            assert_eq!(written(format, &full()), expected, "{format}");
        }
    }

    #[test]
    fn what_is_not_there_is_a_dash_and_what_is_not_over_has_a_plus() {
        let early = SessionLine { partial: true, ends: None, server: None, client: ClientName::Unix(2), ..line() };
        assert_eq!(written("%ci:%cp %[src] %si:%sp %s %Tt %B %U", &early), "unix:2 - -:- <NOSRV> +5007 +212 0");
    }
}
