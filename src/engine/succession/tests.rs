//! The new engine's side of a move, against the messages of an old one.

use std::os::fd::{AsFd, OwnedFd};

use tokio::sync::mpsc;

use super::peer_link::tests::pair;
use super::*;
use crate::config;
use crate::engine::supervisor_link;
use crate::handoff::peer::{Batch, BatchCommit, End, PeerMessage, SessionRecord, Waiting};
use crate::log::SessionLog;
use crate::proxy::context::WorkerResources;
use crate::proxy::limit::Limit;
use crate::sys::fd::seqpacket_pair;

/// The parts of an engine that serves nothing, and the supervisor's end of its link.
struct Parts {
    succession: Succession,
    listeners: Listeners,
    pools: Pools,
    _link: Box<dyn std::any::Any>,
}

fn parts() -> Parts {
    let (ours, supervisor) = seqpacket_pair().unwrap();
    let (orders, reports) = supervisor_link::connect(ours).unwrap();
    let text = "[global]\nthreads = 1\n\
        [frontend.web]\nbind = [\"127.0.0.1:0\"]\nbackend = \"app\"\n\
        [backend.app.servers]\na = \"127.0.0.1:1\"\n";
    let config = config::parse("lb.toml", text).unwrap();
    let log = SessionLog::start(config.global.log.rate, config.log_places()).unwrap();
    let resources = WorkerResources { log: log.clone(), notices: mpsc::channel(1).0, pipes: 0 };
    let workers = Workers::start(1, &resources).unwrap();
    Parts {
        succession: Succession::new(workers.clone()),
        listeners: Listeners::new(workers.clone(), reports, Limit::new(10)),
        pools: Pools::new(workers, log),
        _link: Box::new((orders, supervisor)),
    }
}

impl Parts {
    fn advance(&mut self, step: HandoffStep, stopping: bool) -> HandoffNext {
        let now = Circumstances { upgrading: true, stopping };
        self.succession.advance(step, now, &self.listeners, &self.pools)
    }
}

fn offer(number: u64) -> (PeerMessage, OwnedFd) {
    let client = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let session = SessionRecord {
        key: 0,
        frontend: "web".into(),
        client: None,
        local: None,
        accepted_ms: 0,
        age_us: 0,
        relay: Vec::new(),
        unix: None,
        waiting: vec![Waiting { ended: false, introduced: true, waited_us: 0, backend: String::new() }],
    };
    let batch = Batch { number, sessions: vec![session] };
    (PeerMessage::Batch(batch), client.into())
}

#[tokio::test(flavor = "local")]
async fn an_engine_that_is_being_stopped_takes_no_sessions() {
    let ((mut old, new), mut parts) = (pair(), parts());
    let (batch, fds) = offer(1);
    old.send_with(&batch, &[fds.as_fd()]).await.unwrap();
    let offered = arrival(Incoming::new(new)).await;
    assert!(matches!(parts.advance(offered, true), HandoffNext::Over));
    assert!(old.answer().await.is_err(), "it was not accepted");
    assert!(!parts.succession.is_moving());
}

#[tokio::test(flavor = "local")]
async fn an_engine_does_not_end_between_accept_and_commit() {
    let ((mut old, new), mut parts) = (pair(), parts());
    let (batch, fds) = offer(1);
    old.send_with(&batch, &[fds.as_fd()]).await.unwrap();
    let HandoffNext::Wait(accepts) = parts.advance(arrival(Incoming::new(new)).await, false) else {
        panic!("the offer is not accepted");
    };
    assert!(parts.succession.is_moving());
    let gives = async {
        let (answer, _) = old.answer().await.unwrap();
        assert!(matches!(answer, PeerMessage::Accept(_)), "{answer:?}");
        let commit = PeerMessage::Commit(BatchCommit { number: 1 });
        old.send(&commit).await.unwrap();
        old.send(&PeerMessage::End(End {})).await.unwrap();
    };
    let ((), given) = tokio::join!(gives, accepts);
    assert!(matches!(&given, HandoffStep::Given(Ok((_, sessions))) if sessions.len() == 1));
    let HandoffNext::Wait(next) = parts.advance(given, false) else {
        panic!("the hand-off ends after its first batch");
    };
    assert!(!parts.succession.is_moving());
    let last = next.await;
    assert!(matches!(&last, HandoffStep::Arrived(Ok((incoming, Arrival::End))) if incoming.taken() == 1));
    assert!(matches!(parts.advance(last, false), HandoffNext::Over));
}
