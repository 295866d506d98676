//! The scripts of checks that ask in a protocol of their own. They say and accept what HAProxy's checks of the same
//! names do; a server that answers is well, whatever it thinks of the question.

use super::expectation::{Expectation, Pattern, compile};
use super::script::{ScriptAction, ScriptStep};

/// The greeting, or with `user` a login without a password, of which any answer but an error is good.
pub(super) fn mysql(user: Option<&str>) -> Vec<ScriptStep> {
    // Packets have a length of three bytes, a number, and then 10 for a greeting or 255 for an error
    // (MySQL internals, "Protocol::HandshakeV10").
    let mut steps = vec![like(r"(?s)\A.{3}\x00[^\xff]")];
    if let Some(user) = user {
        // HandshakeResponse41 with CLIENT_PROTOCOL_41 and CLIENT_SECURE_CONNECTION, 16 MiB packets, utf8, no password;
        // and COM_QUIT behind it.
        let mut login = vec![0x00, 0x82, 0x00, 0x00, 0x00, 0x80, 0x00, 0x01, 33];
        login.extend([0; 23]);
        login.extend(user.bytes().chain([0, 0]));
        let length = u32::try_from(login.len()).unwrap_or_default().to_le_bytes();
        let head = [length[0], length[1], length[2], 1];
        steps.push(send([&head[..], &login, &[1, 0, 0, 0, 1]].concat()));
        steps.push(like(r"(?s)\A.{3}\x02[^\xff]"));
    }
    steps
}

/// The first message of a session, to which a server answers how it wants to authenticate `user`.
pub(super) fn pgsql(user: &str) -> Vec<ScriptStep> {
    // StartupMessage of protocol 3.0 (PostgreSQL, "Message Formats"), and an Authentication message of some kind.
    let parameters = [b"user\0", user.as_bytes(), b"\0\0"].concat();
    let length = u32::try_from(8 + parameters.len()).unwrap_or_default().to_be_bytes();
    vec![
        send([&length[..], &[0, 3, 0, 0], &parameters].concat()),
        like(r"(?s)\AR\x00\x00\x00.\x00\x00\x00[\x00\x02-\x07\x09-\x0c]"),
    ]
}

pub(super) fn redis() -> Vec<ScriptStep> {
    vec![send(b"*1\r\n$4\r\nPING\r\n".to_vec()), Expectation::wanted(Pattern::Bytes(b"+PONG\r\n".to_vec())).into()]
}

/// `hello`: default `HELO localhost`.
pub(super) fn smtp(hello: Option<&str>) -> Vec<ScriptStep> {
    let hello = format!("{}\r\n", hello.unwrap_or("HELO localhost"));
    let mut steps = Vec::new();
    for said in [None, Some(hello.as_str()), Some("QUIT\r\n")] {
        steps.extend(said.map(|said| send(said.as_bytes().to_vec())));
        // A whole answer, of several lines perhaps, and none of them a refusal.
        steps.push(like(r"\A(?:[0-9]{3}-[^\n]*\n)*[0-9]{3}[ \r\n]"));
        steps.push(unlike(r"(?m)^[013-9]"));
    }
    steps
}

/// An anonymous bind.
pub(super) fn ldap() -> Vec<ScriptStep> {
    // RFC 4511: BindRequest of version 3 with an empty name; BindResponse with success in either form of a length;
    // Unbind.
    let bind = [0x30, 0x0c, 0x02, 0x01, 0x01, 0x60, 0x07, 0x02, 0x01, 0x03, 0x04, 0x00, 0x80, 0x00];
    vec![
        send(bind.to_vec()),
        like(r"(?s)\A\x30(?:[\x00-\x7f]|\x84.{4})\x02\x01\x01\x61(?:[\x00-\x7f]|\x84.{4})\x0a\x01\x00"),
        send(vec![0x30, 0x05, 0x02, 0x01, 0x02, 0x42, 0x00]),
    ]
}

/// A TLS greeting, to which a server that speaks TLS answers with one of its own or with an alert.
pub(super) fn ssl_hello() -> Vec<ScriptStep> {
    // RFC 5246: ClientHello of TLS 1.2 with a random number of zeros, the suites of all its servers, no compression.
    let suites = [0xc02f_u16, 0xc02b, 0xc030, 0xc02c, 0x009c, 0x009d, 0x002f, 0x0035, 0x000a];
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let count = u16::try_from(suites.len()).unwrap_or_default().to_be_bytes();
    let hello = [&[3, 3][..], &[0; 32], &[0], &count, &suites, &[1, 0]].concat();
    let length = u16::try_from(hello.len()).unwrap_or_default();
    let (inner, outer) = (length.to_be_bytes(), (length + 4).to_be_bytes());
    let record = [&[0x16, 3, 1][..], &outer, &[1, 0], &inner, &hello].concat();
    vec![send(record), like(r"\A[\x15\x16]\x03")]
}

fn send(bytes: Vec<u8>) -> ScriptStep {
    ScriptAction::Send(bytes).into()
}

fn like(expression: &str) -> ScriptStep {
    Expectation::wanted(pattern(expression)).into()
}

fn unlike(expression: &str) -> ScriptStep {
    Expectation::unwanted(pattern(expression)).into()
}

fn pattern(expression: &str) -> Pattern {
    Pattern::Regex(compile(expression).expect("the expressions of this file are tested"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_compiles_and_its_lengths_fit() {
        for steps in [mysql(None), mysql(Some("u")), pgsql("u"), redis(), smtp(None), ldap(), ssl_hello()] {
            assert!(!steps.is_empty());
        }
        let sent = |steps: Vec<ScriptStep>| {
            let found = steps.into_iter().find_map(|step| match step.action {
                ScriptAction::Send(bytes) => Some(bytes),
                _ => None,
            });
            found.unwrap()
        };
        let login = sent(mysql(Some("haproxy")));
        assert_eq!(login.len(), 4 + usize::from(login[0]) + 5, "{login:x?}");
        let startup = sent(pgsql("haproxy"));
        assert_eq!(startup.len(), usize::from(startup[3]), "{startup:x?}");
        let hello = sent(ssl_hello());
        assert_eq!((hello.len() - 5, hello.len() - 9), (usize::from(hello[4]), usize::from(hello[8])), "{hello:x?}");
    }
}
