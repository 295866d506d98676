//! The data of a session, and what all its stages do with it: wait, count, and look at orders.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Backend, Lease, Server};
use crate::config::LogSettings;
use crate::log::{Attempts, By, During, SessionLine, SessionTimes, Termination};
use crate::proxy::context::Context;
use crate::proxy::frontend::Permit;
use crate::proxy::record::{ByteCounts, SessionFacts};
use crate::proxy::registry::{Order, Registered};
use crate::proxy::sighting::Wait;
use crate::proxy::{Finding, Notice};
use crate::runtime::stream::Socket;
use crate::runtime::timer::Timer;
use crate::sys::socket;

/// A session apart from its sockets and its relay, which come and go beside it.
#[derive(Debug)]
pub(in crate::proxy) struct Session {
    pub(in crate::proxy) context: Rc<Context>,
    pub(in crate::proxy) registered: Registered,
    pub(in crate::proxy) backend: Arc<Backend>,
    pub(in crate::proxy) record: SessionFacts,
    /// The server that has just failed this session, or that it was to be connected to when it ended.
    pub(in crate::proxy) failed: Option<Arc<Server>>,
    /// Time it looked for a server before it was frozen.
    pub(in crate::proxy) waited: Duration,
    pub(in crate::proxy) permit: Permit,
}

/// Why a wait ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Interrupt {
    Time,
    /// The client reset or closed both directions.
    Hangup,
    Order(Order),
}

/// How a session leaves a stage in which it has no server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::proxy) enum Ending {
    Over(Termination),
    /// It was ordered to freeze.
    Freeze,
}

impl Ending {
    pub(in crate::proxy) fn over(by: By, during: During) -> Self {
        Self::Over(Termination { by, during })
    }
}

impl Session {
    pub(super) fn new(context: Rc<Context>, permit: Permit, backend: Arc<Backend>, record: SessionFacts) -> Self {
        let registered = context.register.enter();
        Self { context, registered, backend, record, failed: None, waited: Duration::ZERO, permit }
    }

    /// Waits for `what`, but no longer than `wait` says, and not at all once the client is gone or an order has come.
    pub(in crate::proxy) async fn wait<T>(
        &self,
        client: &Socket,
        wait: Wait<'_>,
        what: impl Future<Output = T>,
    ) -> Result<T, Interrupt> {
        tokio::select! {
            biased;
            done = what => Ok(done),
            order = poll_fn(|cx| self.poll_order(cx, || wait.activity())) => Err(Interrupt::Order(order)),
            () = poll_fn(|cx| client.poll_hangup(cx)) => Err(Interrupt::Hangup),
            () = Timer::at(wait.until) => Err(Interrupt::Time),
        }
    }

    /// What an interrupt means for a session without a server.
    pub(in crate::proxy) fn ending_of(&self, interrupt: Interrupt, during: During) -> Ending {
        match interrupt {
            // As HAProxy logs it, without the phase.
            Interrupt::Order(Order::Cut(by)) => Ending::over(by, During::Finished),
            Interrupt::Order(Order::Freeze) => Ending::Freeze,
            Interrupt::Hangup => Ending::over(By::Client, during),
            Interrupt::Time => Ending::over(By::ServerTimeout, during),
        }
    }

    /// Notifies control of what this session found out about a server.
    pub(in crate::proxy) fn notify(&self, lease: &Lease, finding: Finding) {
        let (backend, server) = (lease.backend().clone(), lease.server().clone());
        self.context.notify(Notice { backend, server, finding });
    }

    /// The address that the client connected to; the kernel is asked only when it is needed.
    pub(in crate::proxy) fn local(&mut self, client: &Socket) -> Option<SocketAddr> {
        let known = self.record.ends.as_ref().and_then(|ends| ends.local);
        if known.is_some() {
            return known;
        }
        let local = socket::accepted_at(client.as_fd())?;
        self.record.ends_mut().local = Some(local);
        Some(local)
    }

    /// Records the server that the session is on; `None`: it has left it.
    pub(super) fn set_server(&mut self, server: Option<&Arc<Server>>) {
        self.record.server = server.cloned();
        self.registered.set_server(server.cloned());
    }

    /// Adds what was moved since the last call to the counters.
    pub(super) fn count(&mut self, now: ByteCounts) {
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

    /// Counts and logs the end.
    pub(super) fn finish(mut self, ending: Termination) {
        let record = &self.record;
        let total = record.started.elapsed();
        self.count_end(ending);
        if let Some(server) = &record.server {
            let times = server.stats.times();
            times.queue.record(record.queue.unwrap_or_default());
            times.connect.record(record.connect.unwrap_or_default());
            times.session.record(total);
        } else {
            self.permit.frontend().stats.failed.add(1);
        }
        if !record.logged {
            self.log(total, ending, false);
        }
    }

    /// Counts what has ended the session, on the side that it concerns.
    fn count_end(&self, Termination { by, during }: Termination) {
        match (during, &self.record.server) {
            (During::Finished, _) => {}
            (During::Data, Some(server)) => match by {
                By::Client | By::ClientTimeout => server.stats.aborts.client.add(1),
                By::Server => {
                    server.stats.aborts.server.add(1);
                    server.stats.aborts.response.add(1);
                }
                By::ServerTimeout => server.stats.aborts.server.add(1),
                By::Resource => server.stats.aborts.internal.add(1),
                _ => {}
            },
            (During::Request, _) => self.permit.frontend().stats.request_errors.add(1),
            (During::Connect | During::Queue, _) if by == By::Client => match &self.failed {
                Some(server) if during == During::Connect => server.stats.aborts.client.add(1),
                _ => self.backend.stats.client_aborts.add(1),
            },
            _ if !matches!(by, By::Server | By::ServerTimeout | By::Proxy | By::Resource) => {}
            _ => match &self.failed {
                Some(server) => server.stats.failed.add(1),
                None => self.backend.stats.unserved.add(1),
            },
        }
    }

    /// Whether its log names the addresses at its ends.
    pub(in crate::proxy) fn logs_ends(&self) -> bool {
        self.permit.frontend().route().settings.log.format.is_some()
    }

    /// Logs a session that has just got its server, where that is when it is to be logged.
    pub(super) fn log_early(&mut self) {
        if self.permit.frontend().route().settings.log.asap {
            self.log(self.record.started.elapsed(), Termination { by: By::Nobody, during: During::Finished }, true);
            self.record.logged = true;
        }
    }

    /// Nothing is gathered for a line that the settings do not want.
    fn log(&mut self, total: Duration, ending: Termination, partial: bool) {
        let settings = Arc::clone(&self.permit.frontend().route().settings.log);
        let record = &self.record;
        let attempts = Attempts {
            retries: record.retries.into(),
            redispatched: record.redispatched,
            queue_position: record.queue_position,
        };
        let carried = partial || record.bytes.from_client + record.bytes.to_client > 0;
        if settings.sessions
            && (carried || !settings.dontlognull)
            && (ending.is_error(attempts) || !settings.dontlog_normal)
        {
            let times = SessionTimes { queue: record.queue, connect: record.connect, total };
            let line = self.line(times, attempts, ending, partial, settings);
            self.context.log.line(line);
        }
    }

    fn line(
        &mut self,
        times: SessionTimes,
        attempts: Attempts,
        ending: Termination,
        partial: bool,
        settings: Arc<LogSettings>,
    ) -> SessionLine {
        let has_format = settings.format.is_some();
        // A session goes on after its early line.
        let ends = if partial { self.record.ends.clone() } else { self.record.ends.take() };
        let frontend = self.permit.frontend();
        let record = &self.record;
        // As in HAProxy, one that could not be reached is named as well.
        let server = record.server.as_ref().or(self.failed.as_ref());
        SessionLine {
            client: record.client,
            accepted: record.accepted,
            frontend: Arc::clone(&frontend.name),
            backend: Arc::clone(&self.backend.name),
            server: server.map(|server| Arc::clone(&server.name)),
            times,
            bytes_out: record.bytes.to_client,
            bytes_in: record.bytes.from_client,
            ending,
            sessions: [
                frontend.global.used(),
                frontend.limit.used(),
                self.backend.busy(0),
                server.map_or(0, |server| server.sessions()),
            ],
            attempts,
            partial,
            settings,
            ends: ends.filter(|_| has_format),
            entry: self.permit.gate().filter(|_| has_format).map(|gate| Arc::clone(&gate.entry())),
        }
    }
}
