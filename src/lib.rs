//! `lb`: a TCP load balancer whose changes cut no connection. This page is the map.
//!
//! # Planes
//!
//! ```text
//! cli             the commands; one file a command
//! supervisor      process 1 of `lb run`: one pid, keeps the listeners, starts and replaces engines; carries no traffic
//! engine          process 2: carries the traffic; builds its parts from the configuration and owns them in one loop
//! proxy           data plane: worker, listener, session, connect, relay, flow
//! control         control plane: checks, resolved names, etcd, admin socket
//! log             the session line; the voice: all messages on stderr
//! backend         pools of servers: server, health, scheduler, queue, snapshot; pure
//! handoff         messages between supervisor and engine, two engines, two supervisors; pure but for its channel
//! runtime         a worker's executor, timers and epoll instance
//! proxy_protocol  headers of the PROXY protocol; pure
//! sys             system calls, each wrapped once: the only `unsafe`
//! config          text → tables with positions → typed; pure
//! stats exit fault pace   counters; exit codes; fault points for tests; delays between attempts
//! ```
//!
//! `lb run` is two processes: a supervisor that carries no traffic and whose pid never changes, and an engine that
//! carries it. In the engine each worker thread has its own listeners and sessions, and one control thread does the
//! rest. Workers run their tasks on the executor in `runtime`, which is as small as one kind of task on one thread
//! allows; everything else, the control plane first, runs on tokio.
//!
//! # Floors
//!
//! Imports point down, and neighbours never import each other: `engine` and `supervisor` meet in `handoff`, `proxy` and
//! `control` in `backend`, where control publishes and proxy reads. A test of all `use crate::` lines enforces this.
//!
//! ```text
//! main
//! cli
//! engine | supervisor
//! proxy | control
//! log | backend
//! runtime | handoff | proxy_protocol
//! sys
//! config | stats | exit | fault | pace
//! ```
//!
//! # Invariants
//!
//! - The data path takes no lock and waits only for its own two sockets: it reads one immutable [`backend::Snapshot`]
//!   and atomics. (The hold queue has a lock, which is taken only while sessions wait.)
//! - Every resource that must be returned is a guard: `Permit` (a place within `maxconn`), [`backend::Lease`] (a session
//!   on a server), `Ticket` (a place in the queue), `Registered` (a session's entry with its worker).
//! - A permit is taken before accept: connections beyond a limit wait in the kernel's queue and are never refused.
//! - A listening socket is never shut down and never closed while connections may wait in its queue.
//! - A session can be frozen whenever it is not being polled, and thawed by another worker or process. At most one
//!   process drives it at any moment ([`handoff::peer`]).
//! - A reset by one side is passed to the other as a reset, after the bytes received before it; a FIN as a FIN.
//! - An idle session holds neither buffer nor pipe.
//! - A configuration, an upgrade or a discovered set is applied as a whole or not at all; on failure nothing changes.
//! - Every wait has a deadline, every queue a bound, every retry a limit.
//!
//! # Glossary
//!
//! - **frontend**: a set of listening addresses with one backend; **backend**: a named pool of **servers**;
//!   **server**: one address that sessions are sent to.
//! - **session**: a client's connection and, once established, a server's, from accept to the log line.
//! - **ready, drain, maint**: the state that the operator sets for a server: new sessions; no new sessions; no new
//!   sessions and no checks.
//! - **UP, DOWN**: the health of a server by its checks and its traffic.
//! - **usable**: ready and UP; with a weight above zero it gets new sessions.
//! - **suspect**: failed its last connect; others are preferred until a check or a connect succeeds.
//! - **hold**: to keep a session waiting for a usable server instead of closing it. Also: to postpone the removal of
//!   servers after a loss in etcd that is too large to be trusted.
//! - **park**: to stop accepting from a listener that stays open elsewhere.
//! - **hand-off**: the transfer of listeners, state and sessions from one engine to another.
//! - **generation**: the number of the serving engine; the first is 1, each upgrade or takeover adds one, a restart
//!   after a crash keeps it.
//! - **leaving**: a server that has disappeared from etcd, until its removal is either applied or held.
//! - **ending letters**: the two letters of a log line: which side ended the session (`-` none, `C` client, `S` server,
//!   `P` a limit, `R` out of resources, `c` `s` timeout of client or server, `D` server DOWN, `U` server UP again,
//!   `K` the operator) and in which phase (`R` PROXY header, `Q` queue, `C` connect, `D` data, `-` finished or ended from outside).

// A failed print would panic: `log::voice` takes messages, `cli::output` answers.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod backend;
mod cli;
mod config;
mod control;
mod engine;
mod exit;
mod fault;
mod handoff;
mod log;
mod pace;
mod proxy;
mod proxy_protocol;
mod runtime;
mod stats;
mod supervisor;
mod sys;

pub use cli::main;

/// What the tests and benchmarks of this repository use besides the program itself; no interface for others.
/// Everything else is private to the crate, so that the compiler finds dead code.
#[doc(hidden)]
pub mod internals {
    pub use crate::exit::ExitStatus;

    pub mod backend {
        pub use crate::backend::health::{CheckResult, CheckStatus, Health};
        pub use crate::backend::{Backend, Hint, Lease, MemberOrigin, MemberSpec};
    }

    pub mod config {
        pub use crate::config::{
            AdminState, Backend, Balance, BindEntry, Check, Etcd, Fall, Frontend, InitState, Log, LogSettings, Rise,
            Server, ServerOptions, Weight, load, parse,
        };
    }

    pub mod control {
        pub use crate::control::admin::{
            Answer, Conversations, Request, SessionId, SessionOrder, Status, serve, status,
        };
        pub use crate::control::discovery::{Discovered, Discovery, Event, HoldReason, Kv, Leaving, Listing, Servers};
        pub use crate::control::etcd::{AppliedFrom, Follower, FoundServers, Options, SourceStatus};
        pub use crate::control::last_known_good::Saved;
    }

    pub mod handoff {
        pub use crate::handoff::frame::Frame;
        pub use crate::handoff::wire::Messages;
        pub use crate::handoff::{control, peer};
    }

    pub mod proxy {
        pub use crate::log::{ClientName, SessionLog};
        pub use crate::proxy::context::WorkerResources;
        pub use crate::proxy::frontend::Frontend;
        pub use crate::proxy::frozen::{Frozen, FrozenFlow, FrozenRelay, Stage};
        pub use crate::proxy::gate::Gate;
        pub use crate::proxy::limit::Limit;
        pub use crate::proxy::worker::Worker;
    }

    pub mod sys {
        pub use crate::sys::resources::cores;
        pub use crate::sys::socket::accept;
        pub use crate::sys::{fd, local};
    }
}
