//! A frozen session as a message and back.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime};

use crate::handoff::peer::{Direction, FlowRecord, RelayRecord, ResidueRecord, SessionRecord, Waiting};
use crate::log::ClientName;
use crate::proxy::frozen::{Frozen, FrozenFlow, FrozenRelay, Stage};
use crate::sys::clock::millis;
use crate::sys::pipe::Pipe;

/// Bytes of sessions that are still to come, by session and direction.
pub(super) type Residues = HashMap<(u64, Direction), Vec<u8>>;

/// A session in a message that cannot be restored.
#[derive(Debug, thiserror::Error)]
#[error("a session that makes no sense: {0}")]
pub(super) struct MalformedSession(&'static str);

/// Its record in the message, under a key that is unique in its batch.
pub(super) fn describe(key: u64, frozen: &Frozen) -> SessionRecord {
    let mut session = SessionRecord {
        key,
        frontend: frozen.frontend.to_string(),
        client: frozen.client.addr().map(|addr| addr.to_string()),
        local: frozen.local.map(|addr| addr.to_string()),
        accepted_ms: since_epoch(frozen.accepted),
        age_us: micros(frozen.age),
        relay: Vec::new(),
        waiting: Vec::new(),
        unix: frozen.client.unix().map(u32::from),
    };
    match &frozen.stage {
        Stage::Waiting { ended, introduced, waited, backend, .. } => session.waiting.push(Waiting {
            ended: *ended,
            introduced: *introduced,
            waited_us: micros(*waited),
            backend: backend.to_string(),
        }),
        Stage::Relaying { relay, backend, server, queue, connect, retries, redispatched } => {
            session.relay.push(RelayRecord {
                backend: backend.to_string(),
                server: server.to_string(),
                queue_us: micros(*queue),
                connect_us: micros(*connect),
                retries: *retries,
                redispatched: *redispatched,
                client_idle_us: micros(relay.client_idle),
                server_idle_us: micros(relay.server_idle),
                server_owes: relay.server_owes,
                flows: vec![describe_flow(&relay.up), describe_flow(&relay.down)],
            })
        }
    }
    session
}

/// Its bytes in messages that go before the batch, parted where a frame would be too long.
pub(super) fn residues(key: u64, frozen: &Frozen) -> Vec<ResidueRecord> {
    let directions = match &frozen.stage {
        Stage::Waiting { first, .. } => vec![(Direction::Up, first)],
        Stage::Relaying { relay, .. } => {
            vec![(Direction::Up, &relay.up.residue), (Direction::Down, &relay.down.residue)]
        }
    };
    let parts = directions.into_iter().flat_map(|(direction, bytes)| {
        bytes.chunks(RESIDUE_PART).map(move |part| ResidueRecord { session: key, direction, bytes: part.to_vec() })
    });
    parts.collect()
}

/// Its descriptors, in the order of the message.
pub(super) fn descriptors(frozen: &Frozen) -> Vec<BorrowedFd<'_>> {
    match &frozen.stage {
        Stage::Waiting { client, .. } => vec![client.as_fd()],
        Stage::Relaying { relay, .. } => {
            let pipes = [&relay.up, &relay.down]
                .into_iter()
                .filter_map(|flow| flow.pipe.as_ref())
                .flat_map(|pipe| <[_; 2]>::from(pipe.ends()));
            [relay.client.as_fd(), relay.server.as_fd()].into_iter().chain(pipes).collect()
        }
    }
}

/// Restores a session. Takes as many of `fds` as its record has.
pub(super) fn unpack(
    session: SessionRecord,
    fds: &mut impl Iterator<Item = OwnedFd>,
    residues: &mut Residues,
) -> Result<Frozen, MalformedSession> {
    let key = session.key;
    let mut fd = || fds.next().ok_or(MalformedSession("a descriptor is missing"));
    let client = fd()?;
    let stage = match (<[RelayRecord; 1]>::try_from(session.relay), <[Waiting; 1]>::try_from(session.waiting)) {
        (Ok([relay]), Err(waiting)) if waiting.is_empty() => {
            let server = fd()?;
            let [up, down] =
                <[FlowRecord; 2]>::try_from(relay.flows).map_err(|_| MalformedSession("not two directions"))?;
            let up = thaw_flow(up, residues.remove(&(key, Direction::Up)), &mut fd)?;
            let down = thaw_flow(down, residues.remove(&(key, Direction::Down)), &mut fd)?;
            Stage::Relaying {
                relay: Box::new(FrozenRelay {
                    client,
                    server,
                    up,
                    down,
                    client_idle: Duration::from_micros(relay.client_idle_us),
                    server_idle: Duration::from_micros(relay.server_idle_us),
                    server_owes: relay.server_owes,
                }),
                backend: relay.backend.into(),
                server: relay.server.into(),
                queue: Duration::from_micros(relay.queue_us),
                connect: Duration::from_micros(relay.connect_us),
                retries: relay.retries,
                redispatched: relay.redispatched,
            }
        }
        (Err(relay), Ok([waiting])) if relay.is_empty() => Stage::Waiting {
            client,
            first: residues.remove(&(key, Direction::Up)).unwrap_or_default(),
            ended: waiting.ended,
            introduced: waiting.introduced,
            waited: Duration::from_micros(waiting.waited_us),
            backend: waiting.backend.into(),
        },
        _ => return Err(MalformedSession("neither with a server nor without")),
    };
    Ok(Frozen {
        frontend: session.frontend.into(),
        client: ClientName::or(
            session.client.and_then(|addr| addr.parse().ok()),
            session.unix.and_then(|number| number.try_into().ok()).map_or(ClientName::Unknown, ClientName::Unix),
        ),
        local: session.local.and_then(|addr| addr.parse().ok()),
        accepted: SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_millis(session.accepted_ms))
            .unwrap_or(SystemTime::UNIX_EPOCH),
        age: Duration::from_micros(session.age_us),
        stage,
    })
}

fn describe_flow(flow: &FrozenFlow) -> FlowRecord {
    FlowRecord {
        ended: flow.ended,
        broken: flow.broken,
        closed: flow.fin_sent,
        abandoned: flow.sink_gone,
        received: flow.received,
        sent: flow.sent,
        pipe: flow.pipe.as_ref().map(|pipe| pipe.len() as u64),
    }
}

fn thaw_flow(
    flow: FlowRecord,
    residue: Option<Vec<u8>>,
    fd: &mut impl FnMut() -> Result<OwnedFd, MalformedSession>,
) -> Result<FrozenFlow, MalformedSession> {
    let pipe = match flow.pipe {
        Some(len) => {
            let (read, write) = (fd()?, fd()?);
            let len = usize::try_from(len).map_err(|_| MalformedSession("a pipe without bound"))?;
            // The kernel's count, not the sender's.
            let pipe = Pipe::adopt(read, write).map_err(|_| MalformedSession("a pipe that is none"))?;
            if pipe.len() != len {
                return Err(MalformedSession("a pipe with another number of bytes"));
            }
            Some(pipe)
        }
        None => None,
    };
    Ok(FrozenFlow {
        residue: residue.unwrap_or_default(),
        pipe,
        ended: flow.ended,
        broken: flow.broken,
        fin_sent: flow.closed,
        sink_gone: flow.abandoned,
        received: flow.received,
        sent: flow.sent,
    })
}

/// A frame holds 64 KiB.
const RESIDUE_PART: usize = 60 * 1024;

fn since_epoch(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    millis(since)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
