//! Open sessions on their way into the new engine: each batch is accepted whole, and touched only once it is given.

use std::rc::Rc;

use crate::engine::Engine;
use crate::engine::succession::Import;
use crate::engine::succession::peer_link::{PeerLink, PeerLinkError};
use crate::engine::succession::send::Moving;
use crate::engine::succession::session_codec::{Residues, unpack};
use crate::fault;
use crate::handoff::peer::{Accept, PeerMessage};

/// New engine: takes sessions until the old one says that it was the last, or dies.
pub(in crate::engine) async fn receive(daemon: Rc<Engine>, import: Import) {
    let mut bridge = import.bridge;
    let taken = take(&daemon, &mut bridge).await;
    daemon.moving.set(Moving::No);
    match taken {
        Ok(taken) => tracing::info!("hand-off: {taken} sessions taken over"),
        Err(error) => tracing::warn!("hand-off: broken off: {error}"),
    }
}

async fn take(daemon: &Engine, bridge: &mut PeerLink) -> Result<u64, PeerLinkError> {
    let mut residues = Residues::new();
    let mut taken = 0;
    loop {
        // The move begins after probation, whenever that is.
        match bridge.receive().await? {
            (PeerMessage::Residue(residue), _) => {
                residues.entry((residue.session, residue.direction)).or_default().extend(residue.bytes);
            }
            (PeerMessage::Batch(batch), fds) => {
                if daemon.stopping.get() {
                    // Not accepted: the old engine drains them as it would have here, without the pause.
                    return Err(PeerLinkError::Stopping);
                }
                let mut fds = fds.into_iter();
                let unpacked = batch.sessions.into_iter().map(|session| unpack(session, &mut fds, &mut residues));
                let sessions = unpacked.collect::<Result<Vec<_>, _>>();
                residues.clear();
                let sessions = match sessions {
                    Ok(sessions) => sessions,
                    Err(nonsense) => {
                        // Not accepted: they stay where they are.
                        tracing::error!("hand-off: {nonsense}");
                        return Err(PeerLinkError::OutOfTurn);
                    }
                };
                fault::point("new.offered");
                daemon.moving.set(Moving::Yes);
                bridge.send(&PeerMessage::Accept(Accept { number: batch.number }), Vec::new()).await?;
                let ours = match bridge.answer().await {
                    Ok((PeerMessage::Commit(commit), _)) => commit.number == batch.number,
                    Ok(_) => false,
                    // The old engine went between offer and commit. If it is dead for certain, nobody else has them.
                    Err(_) => bridge.is_dead().await,
                };
                if !ours {
                    return Err(PeerLinkError::OutOfTurn);
                }
                for session in sessions {
                    daemon.thaw(usize::try_from(taken).unwrap_or(0), session);
                    taken += 1;
                }
                daemon.moving.set(Moving::No);
            }
            (PeerMessage::End(_), _) => return Ok(taken),
            (message, _) => daemon.take_state(message)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::mpsc;

    use super::*;
    use crate::config;
    use crate::engine::succession::peer_link::tests::pair;
    use crate::engine::supervisor_link;
    use crate::engine::{Origin, Source, Start};
    use crate::handoff::control::Mode;
    use crate::handoff::peer::{Batch, Commit, End, Session, Waiting};
    use crate::sys::fd::seqpacket_pair;

    /// An engine that serves nothing, and what it tells its supervisor.
    fn engine() -> (Engine, impl Sized) {
        let (ours, supervisor) = seqpacket_pair().unwrap();
        let (orders, reports) = supervisor_link::connect(ours).unwrap();
        let start = Start { source: Source::File(PathBuf::new()), socket: None, default_socket: PathBuf::new() };
        let origin = Origin { mode: Mode::Upgrade, supervisor: 0, generation: 2, uptime: Duration::ZERO };
        let text = "[global]\nthreads = 1\n\
            [frontend.web]\nbind = [\"127.0.0.1:0\"]\nbackend = \"app\"\n\
            [backend.app.servers]\na = \"127.0.0.1:1\"\n";
        let config = config::parse("lb.toml", text).unwrap();
        let notices = mpsc::channel(1).0;
        let daemon = Engine::new(start, origin, reports, &config, PathBuf::new(), notices);
        (daemon.unwrap(), (orders, supervisor))
    }

    fn offer(number: u64) -> (PeerMessage, Vec<Arc<std::os::fd::OwnedFd>>) {
        let client = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let session = Session {
            key: 0,
            frontend: "web".into(),
            client: None,
            local: None,
            accepted_ms: 0,
            age_us: 0,
            relay: Vec::new(),
            waiting: vec![Waiting { ended: false, introduced: true, waited_us: 0 }],
        };
        let batch = Batch { number, sessions: vec![session] };
        (PeerMessage::Batch(batch), vec![Arc::new(client.into())])
    }

    #[tokio::test(flavor = "local")]
    async fn an_engine_that_is_being_stopped_takes_no_sessions() {
        let ((mut old, mut new), (daemon, _link)) = (pair(), engine());
        daemon.stopping.set(true);
        let (batch, fds) = offer(1);
        old.send(&batch, fds).await.unwrap();
        let taken = take(&daemon, &mut new).await;
        assert!(matches!(taken, Err(PeerLinkError::Stopping)), "{taken:?}");
        drop(new);
        assert!(old.answer().await.is_err(), "it was not accepted");
        assert!(!daemon.is_moving());
    }

    #[tokio::test(flavor = "local")]
    async fn an_engine_does_not_end_between_accept_and_commit() {
        let ((mut old, mut new), (daemon, _link)) = (pair(), engine());
        let (batch, fds) = offer(1);
        let gives = async {
            old.send(&batch, fds).await.unwrap();
            let (answer, _) = old.answer().await.unwrap();
            assert!(matches!(answer, PeerMessage::Accept(_)), "{answer:?}");
            assert!(daemon.is_moving());
            let commit = PeerMessage::Commit(Commit { number: 1 });
            old.send(&commit, Vec::new()).await.unwrap();
            old.send(&PeerMessage::End(End {}), Vec::new()).await.unwrap();
        };
        let ((), taken) = tokio::join!(gives, take(&daemon, &mut new));
        assert_eq!(taken.unwrap(), 1);
        assert!(!daemon.is_moving());
    }
}
