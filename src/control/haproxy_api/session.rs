//! `show sess`: a line for each session, or all of one. HAProxy's fields for what `lb` does not have are there with the
//! values that they have in a session at rest, since scripts count columns.

use std::fmt::Write;

use crate::control::admin::sessions::{SessionList, SessionPhase, SessionReport};
use crate::sys::clock::two_units;

/// The answer to `show sess`.
pub(super) fn lines(list: &SessionList) -> String {
    list.sessions.iter().map(line).collect()
}

/// The answer to `show sess ID`. `None`: there is no such session.
pub(super) fn details(list: &SessionList, id: u64) -> Option<String> {
    list.sessions.iter().find(|session| session.id.0 == id).map(all_of)
}

fn line(session: &SessionReport) -> String {
    let expires = expires(session);
    let (age, proto) = (two_units(session.age_ms / 1_000), proto(session));
    let (backend, server) = (&session.backend, session.server.as_deref().unwrap_or("<none>"));
    let (rx, cexp) = match session.state {
        // It is the connection that is waited for, not bytes.
        SessionPhase::Queue | SessionPhase::Connecting => ("", expires.as_str()),
        _ => (expires.as_str(), ""),
    };
    format!(
        "{}: proto={proto} src={} fe={} be={backend} srv={server} ts=00 epoch=0 age={age} calls=1 rate=0 cpu=0 lat=0 \
         rq[f=848000h,i=0,an=00h,rx={rx},wx=,ax=] rp[f=80048202h,i=0,an=00h,rx={rx},wx=,ax=] \
         scf=[8,0h,fd=-1] scb=[{},1h,fd=-1] exp={expires} rc=0 c_exp={cexp}\n",
        session.id,
        session.client,
        session.frontend,
        server_state(session.state),
    )
}

/// As `show sess ID`, whose lines scripts search for `source=`, `frontend=`, `backend=`, `server=`, `age=` and `total=`.
fn all_of(session: &SessionReport) -> String {
    let (expires, age, proto) = (expires(session), two_units(session.age_ms / 1_000), proto(session));
    let never = |text: &str| if text.is_empty() { "<NEVER>".to_owned() } else { text.to_owned() };
    let server = session.server.as_deref().unwrap_or("<NONE>");
    let mut text = format!("{}: id=0 proto={proto} source={}\n", session.id, session.client);
    // Writing to a String does not fail.
    writeln!(
        text,
        "  flags=0x4a, conn_retries=0, conn_exp=<NEVER> conn_et=0x000 srv_conn=(nil), pend_pos=(nil) waiting=0 epoch=0"
    )
    .ok();
    writeln!(text, "  frontend={} (id=0 mode=tcp), listener=? (id=0)", session.frontend).ok();
    writeln!(text, "  backend={} (id=0 mode=tcp)", session.backend).ok();
    writeln!(text, "  server={server} (id=0)").ok();
    writeln!(text, "  task=(nil) (state=0x00 nice=0 calls=1 rate=0 exp={} tmask=0x1 age={age})", never(&expires)).ok();
    for (side, name, total) in [("scf", "req", session.bytes_in), ("scb", "res", session.bytes_out)] {
        let stands = side == "scf" || server_state(session.state) == 8;
        let word = if stands { "EST" } else { "INI" };
        writeln!(text, "  {side}=(nil) flags=0x00000000 state={word} endp=CONN,(nil),0x028c0001 sub=1").ok();
        writeln!(text, "  {name}=(nil) (f=0x848000 an=0x0 pipe=0 tofwd=-1 total={total})").ok();
        writeln!(text, "      an_exp=<NEVER> rex={} wex=<NEVER>", never(&expires)).ok();
    }
    text
}

/// `tcpv4`, `tcpv6` or `unix_stream`.
fn proto(session: &SessionReport) -> &'static str {
    match session.client.rsplit_once(':') {
        Some(("unix", _)) => "unix_stream",
        Some((ip, _)) if ip.contains(':') => "tcpv6",
        _ => "tcpv4",
    }
}

fn expires(session: &SessionReport) -> String {
    session.expires_ms.map(|ms| two_units(ms / 1_000)).unwrap_or_default()
}

/// The state of HAProxy's connector to the server; that of the client is 8 throughout, established.
fn server_state(state: SessionPhase) -> u8 {
    match state {
        SessionPhase::Header => 0,
        SessionPhase::Queue => 2,
        SessionPhase::Connecting => 5,
        SessionPhase::Relaying | SessionPhase::Closing | SessionPhase::Unknown => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::admin::sessions::SessionId;

    fn session() -> SessionReport {
        SessionReport {
            id: SessionId(0x1f),
            frontend: "f".into(),
            backend: "b".into(),
            server: Some("s1".into()),
            client: "10.0.0.1:5".into(),
            state: SessionPhase::Relaying,
            age_ms: 62_000,
            idle_ms: Some(1_000),
            expires_ms: Some(49_000),
            bytes_in: 7,
            bytes_out: 8,
        }
    }

    #[test]
    fn a_session_is_a_line() {
        let list = |session| SessionList { total: 1, sessions: vec![session] };
        let text = lines(&list(session()));
        assert!(
            text.starts_with("0x1f: proto=tcpv4 src=10.0.0.1:5 fe=f be=b srv=s1 ts=00 epoch=0 age=1m2s "),
            "{text}"
        );
        assert!(text.ends_with(" exp=49s rc=0 c_exp=\n"), "{text}");
        let client = "fe80::1:5".into();
        let queued = SessionReport { server: None, state: SessionPhase::Queue, client, ..session() };
        let text = lines(&list(queued));
        assert!(text.contains("proto=tcpv6 src=fe80::1:5 ") && text.contains(" srv=<none> "), "{text}");
        assert!(text.contains(" scb=[2,") && text.ends_with(" exp=49s rc=0 c_exp=49s\n"), "{text}");
        let text = lines(&list(SessionReport { client: "unix:1".into(), expires_ms: None, ..session() }));
        assert!(text.contains("proto=unix_stream src=unix:1 ") && text.ends_with(" exp= rc=0 c_exp=\n"), "{text}");
    }

    #[test]
    fn one_session_has_all_its_facts() {
        let list = SessionList { total: 1, sessions: vec![session()] };
        assert_eq!(details(&list, 0x20), None);
        let text = details(&list, 0x1f).unwrap();
        for fact in
            ["source=10.0.0.1:5\n", "frontend=f ", "backend=b ", "server=s1 ", "age=1m2s)", "total=7)", "total=8)"]
        {
            assert!(text.contains(fact), "{fact}: {text}");
        }
    }
}
