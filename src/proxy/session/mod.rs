//! One session, from its client's first byte to the log line: read the PROXY header, reach a server, relay, end.

mod ending;
mod moving;
mod relaying;
mod reporting;
pub(super) mod state;

use std::future::Future;
use std::iter;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use self::ending::AfterRelay;
use self::state::{Ending, Session};
use super::connect::Reached;
use super::context::Context;
use super::flow::Flow;
use super::frontend::Permit;
use super::frozen::{Frozen, FrozenRelay, Stage};
use super::preamble::Preamble;
use super::record::{ByteCounts, SessionFacts};
use super::relay::Relay;
use super::replay::Replay;
use crate::backend::{Backend, Lease};
use crate::config;
use crate::log::{By, ClientName, During, Termination};
use crate::runtime::executor::spawn;
use crate::runtime::stream::{ReadEnd, Socket};
use crate::runtime::timer;
use crate::sys::addr::Addr;
use crate::sys::socket;

/// A new connection.
pub(super) fn serve(
    context: Rc<Context>,
    permit: Permit,
    client: OwnedFd,
    peer: Option<SocketAddr>,
) -> impl Future<Output = ()> {
    let frontend = permit.frontend();
    frontend.stats.sessions_total.add(1);
    frontend.stats.sessions_max.see(frontend.limit.used().into());
    let backend = Arc::clone(&frontend.route().backend);
    let entry = permit.gate().map(|gate| gate.entry());
    let introduced = !entry.as_ref().is_some_and(|entry| entry.accept_proxy);
    if introduced {
        backend.stats.sessions_total.add(1);
    }
    let name = ClientName::or(peer, entry.map_or(ClientName::Unknown, |entry| ClientName::Unix(entry.number)));
    let record = SessionFacts::new(name, None, SystemTime::now(), Instant::now());
    let preamble = Preamble { introduced, ..Preamble::default() };
    Session::new(context, permit, backend, record).begin(client, preamble)
}

/// A session that was frozen, here or elsewhere. It counts as one of this worker's from the call on, not only once it
/// is polled: statistics that are taken next must include it.
pub(super) fn thaw(
    context: Rc<Context>,
    permit: Permit,
    backend: Arc<Backend>,
    frozen: Frozen,
    lease: Option<Lease>,
) -> impl Future<Output = ()> {
    let now = Instant::now();
    let started = now.checked_sub(frozen.age).unwrap_or(now);
    let record = SessionFacts::new(frozen.client, frozen.local, frozen.accepted, started);
    let session = Session::new(context, permit, backend, record);
    session.thaw(frozen.stage, lease)
}

/// The place on its server of a session that is frozen there. `None`: it has none yet, or its server is not known.
pub(super) fn adopt(backend: &Arc<Backend>, stage: &Stage) -> Option<Lease> {
    match stage {
        // A session without the name of its server was moved by a release that did not know it either.
        Stage::Relaying { relay, server, .. } if !server.is_empty() => {
            backend.adopt(server, || socket::peer(relay.server.as_fd()).unwrap_or(Addr::UNKNOWN))
        }
        Stage::Relaying { .. } | Stage::Waiting { .. } => None,
    }
}

impl Session {
    async fn thaw(mut self, stage: Stage, lease: Option<Lease>) {
        match stage {
            Stage::Waiting { client, first, ended, introduced, waited, .. } => {
                self.waited = waited;
                self.begin(client, Preamble { bytes: first, ended, introduced }).await;
            }
            Stage::Relaying { relay, queue, connect, retries, redispatched, .. } => {
                self.record.queue = Some(queue);
                self.record.connect = Some(connect);
                self.record.retries = u16::try_from(retries).unwrap_or(u16::MAX);
                self.record.redispatched = redispatched;
                // It was logged when it got its server.
                self.record.logged = self.permit.frontend().route().settings.log.asap;
                self.resume(*relay, lease).await;
            }
        }
    }

    /// From accept to the end. All of it, down to where bytes are moved, is one future: each one inside another is a
    /// call more for each message.
    // Not an `async fn`: its arguments would be stored twice, and each open session pays for it. For the same reason no
    // `match` on a result has an `await` in its arms.
    #[allow(clippy::manual_async_fn)]
    fn begin(mut self, client: OwnedFd, mut preamble: Preamble) -> impl Future<Output = ()> {
        async move {
            let Ok(mut client) = Socket::register(client) else {
                return self.finish(Termination { by: By::Resource, during: During::Request });
            };
            if self.logs_ends() {
                self.local(&client);
            }
            let header = self.read_proxy_header(&client, &mut preamble).await;
            if let Err(ending) = header.and_then(|()| self.read_first(&client, &mut preamble)) {
                return self.end_waiting(ending, client, preamble);
            }
            let mut spent = 0;
            let closing = loop {
                let reached = match self.reach(&client, &preamble, spent).await {
                    Ok(reached) => reached,
                    Err(ending) => return self.end_waiting(ending, client, preamble),
                };
                spent += 1;
                let settings = Arc::clone(&self.backend.snapshot().settings);
                let (relay, lease) = self.connected(client, reached, &mut preamble, &settings);
                let may_retry = spent <= settings.retry.retries;
                match self.relay(relay, Some(lease), &settings, may_retry).await {
                    AfterRelay::Over(ending) => return self.finish(ending),
                    AfterRelay::Closing(closing) => break closing,
                    AfterRelay::Retry(back, kept) => (client, preamble) = (back, kept),
                    AfterRelay::Moved(unsent) => return self.continue_here(unsent),
                }
            };
            Box::pin(self.close(closing)).await;
        }
    }

    fn connected(
        &mut self,
        client: Socket,
        reached: Reached,
        preamble: &mut Preamble,
        settings: &config::Backend,
    ) -> (Relay, Lease) {
        let source = if preamble.ended { ReadEnd::Fin } else { ReadEnd::More };
        let mut up = Flow::begun(&reached.first, reached.sent, source);
        // A PROXY header in front of them does not come from the client.
        up.received = preamble.bytes.len() as u64;
        up.nagle = matches!(reached.lease.member().spec.addr, Addr::Ip(_));
        let replay = (settings.retry.replay > 0).then(|| Box::new(Replay::new(settings.retry.replay)));
        let replay = replay.and_then(|mut replay| replay.keep(&preamble.bytes).then_some(replay));
        preamble.bytes = Vec::new();
        let server = reached.lease.server();
        server.stats.sessions_total.add(1);
        self.set_server(Some(server));
        if self.logs_ends() {
            let (outgoing, server) =
                (socket::local_addr(reached.socket.as_fd()).ok(), socket::peer(reached.socket.as_fd()));
            let ends = self.record.ends_mut();
            ends.outgoing = outgoing;
            if let Some(Addr::Ip(server)) = server {
                ends.server = Some(server);
            }
        }
        self.log_early();
        (Relay::new(client, reached.socket, up, replay, timer::now()), reached.lease)
    }

    async fn resume(mut self, frozen: FrozenRelay, lease: Option<Lease>) {
        let settings = Arc::clone(&self.backend.snapshot().settings);
        if let Some(lease) = &lease {
            self.set_server(Some(lease.server()));
        }
        let nagle = lease.as_ref().is_some_and(|lease| matches!(lease.member().spec.addr, Addr::Ip(_)));
        self.record.bytes = ByteCounts { from_client: frozen.up.received, to_client: frozen.down.sent };
        let relay = Relay::thaw(frozen, nagle, &mut self.context.scratch.borrow_mut());
        let Ok(relay) = relay else {
            return self.finish(Termination { by: By::Resource, during: During::Data });
        };
        let closing = match self.relay(relay, lease, &settings, false).await {
            AfterRelay::Over(ending) => return self.finish(ending),
            AfterRelay::Closing(closing) => closing,
            AfterRelay::Retry(..) => unreachable!("a session that was moved has no bytes to repeat"),
            AfterRelay::Moved(unsent) => return self.continue_here(unsent),
        };
        Box::pin(self.close(closing)).await;
    }

    /// Ends or freezes a session that has no server yet.
    fn end_waiting(mut self, ending: Ending, client: Socket, preamble: Preamble) {
        match ending {
            Ending::Over(ending) => {
                let from_client = preamble.bytes.len() as u64 + self.discard(&client);
                if preamble.introduced {
                    self.count(ByteCounts { from_client, to_client: 0 });
                }
                // Before its place is given back.
                drop(client);
                self.finish(ending);
            }
            Ending::Freeze => {
                let unsent = self.freeze_waiting(client, preamble);
                self.continue_here(unsent);
            }
        }
    }

    /// Reads what a client has sent in vain, within limits: the close of a socket with unread bytes is a reset, and
    /// HAProxy turns its clients away with a FIN.
    fn discard(&self, client: &Socket) -> u64 {
        const MOST_READS: usize = 8;
        let mut scratch = self.context.scratch.borrow_mut();
        let read = || socket::try_recv(client.as_fd(), &mut scratch.buf).ok().flatten().filter(|len| *len > 0);
        iter::from_fn(read).take(MOST_READS).map(|len| len as u64).sum()
    }

    /// Starts a session that was frozen but could not be sent to its receiver. It gets a place of its own before this
    /// one's is given back.
    fn continue_here(self, unsent: Option<Box<Frozen>>) {
        if let Some(frozen) = unsent {
            let permit = self.permit.again();
            let lease = adopt(&self.backend, &frozen.stage);
            spawn(thaw(Rc::clone(&self.context), permit, Arc::clone(&self.backend), *frozen, lease));
        }
    }
}
