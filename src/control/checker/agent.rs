//! The agent of a server: a program that is asked from time to time how the server is, how much of its weight it is to
//! have, and how many sessions. As in HAProxy an agent that does not answer changes nothing: whether the server can be
//! reached is for the checks to find out.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::agent_reply::AgentReply;
use super::outcome::Consequences;
use super::sentences::Cause;
use crate::backend::health::{CheckResult, CheckStatus};
use crate::backend::{Backend, Member, MemberSpec, Server};
use crate::config::{Agent, Weight};
use crate::sys::addr::Addr;
use crate::sys::socket::bind_source;

/// Asks the agent until the server leaves the backend, or has none. `wake`: lets the next check be due now.
pub(super) async fn follow_agent(
    backend: Arc<Backend>,
    server: Arc<Server>,
    wake: Rc<Notify>,
    consequences: Rc<Consequences>,
) {
    // The first questions are spread over the interval.
    let mut pause = fastrand::f64();
    loop {
        let Some(inter) = backend.member_of(&server).and_then(|member| Some(member.spec.options.agent.as_ref()?.inter))
        else {
            return;
        };
        sleep(inter.mul_f64(pause)).await;
        pause = 0.975 + fastrand::f64() / 20.0;
        let Some(member) = backend.member_of(&server) else { return };
        let Some(agent) = &member.spec.options.agent else { return };
        let asked = Instant::now();
        let why = match timeout(agent.inter, ask(agent, &member.spec)).await {
            Ok(Ok(bytes)) => {
                let reply = AgentReply::parse(&bytes);
                server.state().said(agent_result(&reply, asked.elapsed()), Instant::now());
                take_in(&backend, &member, &reply, asked, &wake, &consequences);
                continue;
            }
            Ok(Err(error)) => (CheckStatus::L4Con, error.to_string()),
            Err(_) => (CheckStatus::L7Tout, format!("no answer within {:?}", agent.inter)),
        };
        let (status, why) = why;
        server.state().said(CheckResult::new(status, &why, asked.elapsed()), Instant::now());
        tracing::debug!("backend {}: the agent of server {} says nothing: {why}", backend.name, server.name);
    }
}

async fn ask(agent: &Agent, spec: &MemberSpec) -> io::Result<Vec<u8>> {
    let addr = match (agent.addr, &spec.addr) {
        (Some(ip), _) => SocketAddr::new(ip, agent.port),
        (None, Addr::Ip(own)) => {
            let mut addr = *own;
            addr.set_port(agent.port);
            addr
        }
        (None, Addr::Unix(_)) => return Err(io::Error::other("a unix socket has no port; give the agent an `addr`")),
    };
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = spec.options.source {
        bind_source(socket.as_fd(), SocketAddr::new(source.ip(), 0))?;
    }
    let mut stream = socket.connect(addr).await?;
    stream.write_all(agent.send.as_bytes()).await?;
    let mut bytes = Vec::new();
    let has_end = |bytes: &[u8]| bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n'));
    while bytes.len() < MOST && !has_end(&bytes) {
        if (&mut stream).take((MOST - bytes.len()) as u64).read_buf(&mut bytes).await? == 0 {
            break;
        }
    }
    if bytes.len() < MOST { Ok(bytes) } else { Err(io::Error::other("its answer is no line")) }
}

/// What it said, as HAProxy shows it.
fn agent_result(reply: &AgentReply, took: Duration) -> CheckResult {
    let status = match reply.up {
        Some(true) => CheckStatus::L7Ok,
        Some(false) => CheckStatus::L7Sts,
        None => CheckStatus::Checked,
    };
    let told = if reply.told.is_empty() { String::new() } else { format!("via agent : {}", reply.told) };
    CheckResult::new(status, &told, took)
}

/// Does what the agent says. The operator may say otherwise afterwards, as the agent may again.
fn take_in(
    backend: &Arc<Backend>,
    member: &Member,
    reply: &AgentReply,
    asked: Instant,
    wake: &Notify,
    consequences: &Consequences,
) {
    let (now, server, name) = (Instant::now(), &member.server, &backend.name);
    if let Some(word) = &reply.unknown {
        tracing::debug!("backend {name}: the agent of server {} says `{}`", server.name, word.escape_debug());
    }
    let admin = reply.admin.filter(|admin| *admin != server.state().admin);
    if let Some(admin) = admin {
        consequences.administer(backend, member, admin);
        wake.notify_one();
    }
    if set(backend, member, reply) || admin.is_some() {
        backend.refresh(now);
        let server = &server.name;
        let (status, maxconn) = (member.status(), member.maxconn());
        tracing::info!("backend {name}: server {server} is {status}, maxconn {maxconn:?} by its agent");
        consequences.follow_up(backend, false);
    }
    if let Some(change) = reply.up.and_then(|up| backend.hear(server, up, now)) {
        let cause = Cause::Agent { words: &reply.told, took: now - asked };
        consequences.announce(backend, server, &change, &cause);
    }
}

/// Sets weight and limit. Whether one is another than before.
fn set(backend: &Backend, member: &Member, reply: &AgentReply) -> bool {
    let mut state = member.server.state();
    let before = (state.weight, state.maxconn);
    let share = reply.percent.and_then(|percent| {
        let share = u32::from(member.spec.weight.get()).saturating_mul(percent) / 100;
        Weight::new(u16::try_from(share).unwrap_or(Weight::MAX).min(Weight::MAX))
    });
    if let Some(weight) = share.filter(|weight| backend.snapshot().takes_weight(member, *weight)) {
        // The configured one is none that was given.
        state.weight = Some(weight).filter(|weight| *weight != member.spec.weight);
    }
    state.maxconn = reply.maxconn.or(state.maxconn);
    before != (state.weight, state.maxconn)
}

/// Bytes of an answer that are read at most.
const MOST: usize = 1024;
