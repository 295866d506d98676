//! One session, from its client's first byte to the log line: introduce (PROXY header), reach a server, relay, finish.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use super::connect::Reached;
use super::flow::{Flow, Source};
use super::frontend::Permit;
use super::frozen::{Frozen, Stage};
use super::record::{Bytes, Record};
use super::relay::{Finish, FrozenRelay, Relay, Side};
use super::replay::Replay;
use super::worker::Context;
use crate::backend::{Backend, Lease, Slot};
use crate::config;
use crate::log::{By, During, SessionLine, Termination};
use crate::proxy::preamble::Preamble;
use crate::proxy::registry::{Order, Registered};
use crate::runtime::executor::spawn;
use crate::runtime::stream::{ReadEnd, Received, Socket};
use crate::runtime::timer;
use crate::runtime::timer::Timer;
use crate::sys::addr::Addr;
use crate::sys::socket::{self, Liveness};

/// What a session is while it has no relay; the relay comes and goes beside it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) context: Rc<Context>,
    pub(super) registered: Registered,
    pub(super) backend: Arc<Backend>,
    pub(super) record: Record,
    /// A server that has just let this session down.
    pub(super) avoid: Option<Slot>,
    /// Time it looked for a server before it was frozen.
    pub(super) waited: Duration,
    permit: Permit,
}

/// Why a wait ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interrupt {
    Time,
    /// The client reset or closed both directions.
    Hangup,
    Order(Order),
}

/// How a session leaves a stage in which it has no server.
#[derive(Debug)]
pub(super) enum Left {
    Ended(By, During),
    /// It was told to freeze.
    ToFreeze,
}

/// How a relay was left.
enum Relayed {
    Finish(Finish),
    Idle(Side),
    Order(Order),
}

/// What is to be done after a relay.
enum Concluded {
    Ended(By, During),
    /// The session goes on elsewhere.
    Moved,
    /// One side is gone; this is the other one's socket, and who broke off.
    Farewell(Socket, By),
    /// The server is gone, and its client, which was told all that it had said, may be about to go.
    Parting(Socket),
    /// The server went away before its first byte: the client, its bytes and whether its FIN follows can be tried on
    /// another one.
    Repeat(Socket, Vec<u8>, bool),
}

/// The longest time that the end of a broken-off stream is given to reach the other side.
const FAREWELL: Duration = Duration::from_secs(10);

/// The time in which a client closes that has an answer and its FIN, if it means to. One on a busy machine needs it.
const PARTING: Duration = Duration::from_secs(2);

/// When a session has lasted so long its server connection gets keepalive, and its bytes are counted.
const SETTLED: Duration = Duration::from_secs(2);

/// A new connection.
pub(super) fn serve(
    context: Rc<Context>,
    permit: Permit,
    client: OwnedFd,
    peer: Option<SocketAddr>,
) -> impl Future<Output = ()> {
    let frontend = permit.frontend();
    frontend.stats.sessions_total.add(1);
    let (backend, introduced) = {
        let route = frontend.route();
        (Arc::clone(&route.backend), !route.settings.accept_proxy)
    };
    let record = Record::new(peer, None, SystemTime::now(), Instant::now());
    let opening = Preamble { introduced, ..Preamble::default() };
    Session::new(context, permit, backend, record).begin(client, opening)
}

/// A session that was frozen, here or elsewhere. It counts as one of this worker's from the call on, not only once it
/// is polled: a census that follows must not miss it.
pub(super) fn thaw(
    context: Rc<Context>,
    permit: Permit,
    backend: Arc<Backend>,
    frozen: Frozen,
) -> impl Future<Output = ()> {
    let now = Instant::now();
    let started = now.checked_sub(frozen.age).unwrap_or(now);
    let record = Record::new(frozen.client, frozen.local, frozen.accepted, started);
    let session = Session::new(context, permit, backend, record);
    session.thaw(frozen.stage)
}

impl Session {
    async fn thaw(mut self, stage: Stage) {
        match stage {
            Stage::Waiting { client, first, ended, introduced, waited } => {
                self.waited = waited;
                self.begin(client, Preamble { bytes: first, ended, introduced }).await;
            }
            Stage::Relaying { relay, server, queue, connect, retries, redispatched, .. } => {
                self.record.queue = Some(queue);
                self.record.connect = Some(connect);
                self.record.retries = retries;
                self.record.redispatched = redispatched;
                self.resume(*relay, &server).await;
            }
        }
    }

    fn new(context: Rc<Context>, permit: Permit, backend: Arc<Backend>, record: Record) -> Self {
        let registered = context.register.enter();
        Self { context, registered, backend, record, avoid: None, waited: Duration::ZERO, permit }
    }

    /// From accept to the end. All of it, down to where bytes are moved, is one future: each one inside another is a
    /// call more for each message.
    // Not an `async fn`: its arguments would be stored twice, and each open session pays for it.
    #[allow(clippy::manual_async_fn)]
    fn begin(mut self, client: OwnedFd, mut opening: Preamble) -> impl Future<Output = ()> {
        async move {
            let Ok(mut client) = Socket::register(client) else {
                return self.finish(By::Resource, During::Request);
            };
            let introduced = self.introduce(&client, &mut opening).await;
            if let Err(left) = introduced.and_then(|()| self.read_first(&client, &mut opening)) {
                return self.leave_waiting(left, client, opening);
            }
            let settings = Arc::clone(&self.backend.snapshot().settings);
            let mut spent = 0;
            loop {
                let reached = match self.reach(&client, &opening.bytes, spent).await {
                    Ok(reached) => reached,
                    Err(left) => return self.leave_waiting(left, client, opening),
                };
                spent += 1;
                let (relay, lease) = self.connected(client, reached, &mut opening, &settings);
                let may_repeat = spent <= settings.retries;
                let relaying = self.relay(relay, Some(lease), &settings, may_repeat);
                match relaying.await {
                    Concluded::Ended(by, during) => return self.finish(by, during),
                    Concluded::Moved => return,
                    Concluded::Farewell(other, by) => {
                        Box::pin(self.farewell(other)).await;
                        return self.finish(by, During::Data);
                    }
                    Concluded::Parting(client) => return Box::pin(self.part(client)).await,
                    Concluded::Repeat(back, bytes, ended) => {
                        client = back;
                        (opening.bytes, opening.ended) = (bytes, ended);
                    }
                }
            }
        }
    }

    fn connected(
        &mut self,
        client: Socket,
        reached: Reached,
        opening: &mut Preamble,
        settings: &config::Backend,
    ) -> (Relay, Lease) {
        let source = if opening.ended { Source::Ended } else { Source::Open };
        let mut up = Flow::begun(&reached.first, reached.sent, source);
        // A PROXY header in front of them is ours and not the client's.
        up.received = opening.bytes.len() as u64;
        up.nagle = matches!(reached.lease.member().spec.addr, Addr::Ip(_));
        let replay = (settings.replay > 0).then(|| Box::new(Replay::new(settings.replay)));
        let replay = replay.and_then(|mut replay| replay.keep(&opening.bytes).then_some(replay));
        opening.bytes = Vec::new();
        let server = reached.lease.server();
        server.stats.sessions_total.add(1);
        self.record.server = Some(Arc::clone(server));
        self.registered.set_server(Some(Arc::clone(server)));
        (Relay::new(client, reached.socket, up, replay, timer::now()), reached.lease)
    }

    async fn resume(mut self, frozen: FrozenRelay, server: &str) {
        let settings = Arc::clone(&self.backend.snapshot().settings);
        let lease = self.backend.adopt(server);
        if let Some(lease) = &lease {
            self.record.server = Some(Arc::clone(lease.server()));
            self.registered.set_server(Some(Arc::clone(lease.server())));
        }
        let nagle = lease.as_ref().is_some_and(|lease| matches!(lease.member().spec.addr, Addr::Ip(_)));
        let moved = Bytes { from_client: frozen.up.received, to_client: frozen.down.sent };
        self.record.bytes = moved;
        let relay = Relay::thaw(frozen, nagle, &mut self.context.desk.borrow_mut());
        let Ok(relay) = relay else {
            return self.finish(By::Resource, During::Data);
        };
        match self.relay(relay, lease, &settings, false).await {
            Concluded::Ended(by, during) => self.finish(by, during),
            // A session that was moved keeps nothing to repeat.
            Concluded::Moved | Concluded::Repeat(..) => {}
            Concluded::Farewell(other, by) => {
                Box::pin(self.farewell(other)).await;
                self.finish(by, During::Data);
            }
            Concluded::Parting(client) => Box::pin(self.part(client)).await,
        }
    }

    /// What follows from the way a relay was left.
    fn conclude(&mut self, relayed: Relayed, mut relay: Relay, lease: Option<Lease>, may_repeat: bool) -> Concluded {
        self.count(&relay);
        let frozen = matches!(relayed, Relayed::Order(Order::GoOn | Order::Freeze));
        relay.release_unless(frozen, &mut self.context.desk.borrow_mut());
        match relayed {
            Relayed::Finish(Finish::Closed) => Concluded::Ended(By::Nobody, During::Finished),
            Relayed::Finish(Finish::Broken(Side::Client)) => Concluded::Farewell(relay.server, By::Client),
            Relayed::Finish(Finish::Broken(Side::Server)) => Concluded::Farewell(relay.client, By::Server),
            Relayed::Finish(Finish::ServerLeft) => Concluded::Parting(relay.client),
            Relayed::Finish(Finish::Replay) => {
                let kept = relay.take_replay().filter(|_| may_repeat);
                let Some((bytes, ended)) = kept else {
                    drop((lease, relay.server));
                    relay.client.reset();
                    return Concluded::Ended(By::Server, During::Data);
                };
                if let Some(lease) = lease {
                    lease.server().stats.redispatches.add(1);
                    self.avoid = Some(lease.server().slot());
                }
                self.record.retries += 1;
                self.record.redispatched = true;
                self.record.bytes = Bytes::default();
                self.record.server = None;
                self.registered.set_server(None);
                Concluded::Repeat(relay.client, bytes, ended)
            }
            Relayed::Idle(Side::Client) => Concluded::Ended(By::ClientTimeout, During::Data),
            Relayed::Idle(Side::Server) => Concluded::Ended(By::ServerTimeout, During::Data),
            Relayed::Order(Order::Cut(by)) => Concluded::Ended(by, During::Data),
            Relayed::Order(Order::GoOn | Order::Freeze) => {
                self.freeze_relay(relay, lease);
                Concluded::Moved
            }
        }
    }

    /// Relays until something ends it.
    fn relay<'a>(
        &'a mut self,
        relay: Relay,
        lease: Option<Lease>,
        settings: &'a config::Backend,
        may_repeat: bool,
    ) -> impl Future<Output = Concluded> + use<'a> {
        let mut timer = Timer::at(timer::now() + SETTLED);
        let mut settled = false;
        let mut held = Some((relay, lease));
        poll_fn(move |cx| {
            let Some((relay, _)) = &mut held else {
                return Poll::Pending;
            };
            let relayed = ready!(self.drive(cx, relay, settings, &mut timer, &mut settled));
            match held.take() {
                Some((relay, lease)) => Poll::Ready(self.conclude(relayed, relay, lease, may_repeat)),
                None => Poll::Pending,
            }
        })
    }

    /// Moves what can be moved, and looks at the time if need be.
    #[inline(always)]
    fn drive(
        &mut self,
        cx: &mut task::Context<'_>,
        relay: &mut Relay,
        settings: &config::Backend,
        timer: &mut Timer,
        settled: &mut bool,
    ) -> Poll<Relayed> {
        if let Poll::Ready(order) = self.registered.poll_order(cx) {
            return Poll::Ready(Relayed::Order(order));
        }
        if let Poll::Ready(finish) = relay.poll(cx, &mut self.context.desk.borrow_mut()) {
            return Poll::Ready(Relayed::Finish(finish));
        }
        // Between these, the timer stands where it is and knows whom to wake.
        if !relay.has_closed_more() && !timer.is_due() {
            return Poll::Pending;
        }
        let mut deadline = relay.deadline(&settings.timeout);
        loop {
            if let Some((at, _)) = deadline
                && at < timer.due()
            {
                timer.reset(at);
            }
            ready!(timer.poll(cx));
            if !*settled {
                *settled = true;
                self.settle(relay, settings);
            }
            self.count(relay);
            deadline = relay.deadline(&settings.timeout);
            match deadline {
                Some((at, side)) if at <= Instant::now() => {
                    return Poll::Ready(Relayed::Idle(side));
                }
                _ => timer.reset(next_look(deadline.map(|(at, _)| at))),
            }
        }
    }

    /// A session that lasts: dead peers are to be found.
    fn settle(&self, relay: &Relay, settings: &config::Backend) {
        let liveness = Liveness { keepalive: settings.keepalive, user_timeout: settings.user_timeout };
        for socket in [&relay.client, &relay.server] {
            match liveness.apply(socket.as_fd()) {
                // Unix sockets have no such options; their peers do not vanish.
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// Adds what was moved since the last time to the counters.
    fn count(&mut self, relay: &Relay) {
        let now = Bytes { from_client: relay.up.received, to_client: relay.down.sent };
        let from_client = now.from_client - self.record.bytes.from_client;
        let to_client = now.to_client - self.record.bytes.to_client;
        let frontend = &self.permit.frontend().stats;
        frontend.bytes_in.add(from_client);
        frontend.bytes_out.add(to_client);
        if let Some(server) = &self.record.server {
            server.stats.bytes_in.add(from_client);
            server.stats.bytes_out.add(to_client);
        }
        self.record.bytes = now;
    }

    /// A client that closes now has had a session in order. One that stays or speaks learns that its server is gone.
    async fn part(self, client: Socket) {
        let mut byte = [0];
        let closes = poll_fn(|cx| client.poll_recv(cx, &mut byte));
        let said = tokio::select! {
            biased;
            said = closes => said.ok(),
            () = Timer::after(PARTING) => None,
            // Told to stop or to move: there is nothing left that would.
            _ = poll_fn(|cx| self.registered.poll_order(cx)) => None,
        };
        let fin = Received { len: 0, then: ReadEnd::Fin };
        if said == Some(fin) {
            drop(client);
            return self.finish(By::Nobody, During::Finished);
        }
        self.farewell(client).await;
        self.finish(By::Server, During::Data);
    }

    /// Waits until the other side has what was sent to it, and resets it then: it must not take a broken-off stream for
    /// a whole one. The kernel tells only by asking when a send queue is empty.
    async fn farewell(&self, socket: Socket) {
        let until = Instant::now() + FAREWELL;
        let mut pause = Duration::from_millis(1);
        while socket.unacknowledged() > 0 && Instant::now() < until {
            let order = poll_fn(|cx| self.registered.poll_order(cx));
            tokio::select! {
                biased;
                order = order => match order {
                    // Not worth moving: it has a few moments to live.
                    Order::Freeze => self.registered.decline(),
                    _ => break,
                },
                () = Timer::after(pause) => pause = (pause * 2).min(Duration::from_millis(50)),
            }
        }
        socket.reset();
    }

    /// What an interrupt other than time means.
    pub(super) fn leave(&self, interrupt: Interrupt, during: During) -> Left {
        match interrupt {
            Interrupt::Order(Order::Cut(by)) => Left::Ended(by, during),
            Interrupt::Order(Order::GoOn | Order::Freeze) => Left::ToFreeze,
            Interrupt::Hangup => Left::Ended(By::Client, during),
            Interrupt::Time => Left::Ended(By::ServerTimeout, during),
        }
    }

    /// Ends or freezes a session that has no server yet.
    fn leave_waiting(mut self, left: Left, client: Socket, opening: Preamble) {
        match left {
            Left::Ended(by, during) => {
                // Before its place is given back.
                drop(client);
                self.finish(by, during);
            }
            Left::ToFreeze => {
                let stage = Stage::Waiting {
                    client: client.into_fd(),
                    first: opening.bytes,
                    ended: opening.ended,
                    introduced: opening.introduced,
                    waited: self.record.started.elapsed(),
                };
                self.hand_over(stage);
            }
        }
    }

    fn freeze_relay(&mut self, relay: Relay, lease: Option<Lease>) {
        let server = self.record.server.as_ref().map_or_else(|| Arc::from(""), |server| Arc::clone(&server.name));
        let relay = Box::new(relay.freeze(&mut self.context.desk.borrow_mut()));
        drop(lease);
        self.hand_over(Stage::Relaying {
            relay,
            backend: Arc::clone(&self.backend.name),
            server,
            queue: self.record.queue.unwrap_or_default(),
            connect: self.record.connect.unwrap_or_default(),
            retries: self.record.retries,
            redispatched: self.record.redispatched,
        });
    }

    /// The session lives on where it was wanted, or here; this one ends without a word.
    fn hand_over(&mut self, stage: Stage) {
        let frozen = Frozen {
            frontend: Arc::clone(&self.permit.frontend().name),
            client: self.record.client,
            local: self.record.local.as_deref().copied(),
            accepted: self.record.accepted,
            age: self.record.started.elapsed(),
            stage,
        };
        if let Err(unwanted) = self.registered.hand_over(frozen) {
            // Whoever asked has gone, or waits no longer: it goes on here.
            let permit = Permit::force(self.permit.frontend());
            let context = Rc::clone(&self.context);
            spawn(thaw(context, permit, Arc::clone(&self.backend), *unwanted));
        }
    }

    /// The address that the client connected to; asked for only when somebody wants to know.
    pub(super) fn local(&mut self, client: &Socket) -> Option<SocketAddr> {
        if self.record.local.is_none() {
            self.record.local = socket::accepted_at(client.as_fd()).map(Box::new);
        }
        self.record.local.as_deref().copied()
    }

    /// Counts and logs.
    fn finish(self, by: By, during: During) {
        let frontend = self.permit.frontend();
        let record = &self.record;
        let total = record.started.elapsed();
        if let Some(server) = &record.server {
            let times = server.stats.times();
            times.queue.record(record.queue.unwrap_or_default());
            times.connect.record(record.connect.unwrap_or_default());
            times.session.record(total);
        } else {
            frontend.stats.failed.add(1);
        }
        if !self.context.log.wants(record.bytes.from_client + record.bytes.to_client) {
            return;
        }
        self.context.log.line(SessionLine {
            client: record.client,
            accepted: record.accepted,
            frontend: Arc::clone(&frontend.name),
            backend: Arc::clone(&self.backend.name),
            server: record.server.as_ref().map(|server| Arc::clone(&server.name)),
            queue: record.queue,
            connect: record.connect,
            total,
            bytes_out: record.bytes.to_client,
            bytes_in: record.bytes.from_client,
            ending: Termination { by, during },
            sessions: [
                frontend.global.used(),
                frontend.limit.used(),
                self.backend.sessions(),
                record.server.as_ref().map_or(0, |server| server.sessions()),
            ],
            retries: record.retries,
            redispatched: record.redispatched,
            queue_position: record.queue_position,
        });
    }
}

/// The deadline, or an hour from now when there is none.
fn next_look(deadline: Option<Instant>) -> Instant {
    const NO_DEADLINE: Duration = Duration::from_secs(3600);
    deadline.unwrap_or_else(|| Instant::now() + NO_DEADLINE)
}
