//! `lb`: a TCP load balancer that nobody notices. This page is the map.
//!
//! # Planes
//!
//! ```text
//! cli            the commands; one file a command
//! app            composition root: configuration → running daemon, and the only place that knows both planes below
//! proxy          data plane: worker, listener, session, connect, relay, flow
//! control        control plane: checks, names, etcd, admin socket
//! lifecycle      supervisor, an engine's link to it, the messages of a hand-off
//! backend        who may serve: server, health, scheduler, queue, snapshot; pure
//! config         text → raw → typed; pure
//! log stats sys  ground: session line, counters, the kernel wrapped once (the only `unsafe`); also `exit` (exit codes)
//!                and `proxy_protocol` (its headers)
//! ```
//!
//! `lb run` is two processes: a supervisor that carries no traffic and whose pid never changes, and an engine that does
//! the work. In the engine each worker thread has its own listeners and sessions, and one control thread does the rest.
//! A worker runs its tasks on an executor of its own, which is as small as one kind of task on one thread allows; all
//! else, control first, runs on tokio.
//!
//! # Floors
//!
//! Imports point down, and `proxy` and `control` never import each other: they meet in `backend`, where control publishes
//! and proxy reads. `config` is typed data that `backend` reads too. A test over `use crate::` keeps it true.
//!
//! # Invariants
//!
//! - The data path takes no lock and waits for nobody but its own two sockets: it reads one immutable
//!   [`backend::Snapshot`] and atomics. (The hold queue has a lock, which is touched only while somebody waits.)
//! - What must be given back is a guard: `Permit` (a place within `maxconn`), [`backend::Lease`] (a session on a server),
//!   `Ticket` (a place in the queue), `Registered` (a session's entry with its worker).
//! - A permit comes before accept: what is beyond a limit waits in the kernel's queue and is never refused.
//! - A listening socket is never shut down and never closed while connections may wait in its queue.
//! - A session can be frozen whenever it is not being polled, and thawed by another worker or process. At most one
//!   process works on it at any moment ([`lifecycle::peer`]).
//! - A reset of one side is a reset to the other, after what was received before is delivered; a FIN is a FIN.
//! - An idle session holds neither buffer nor pipe.
//! - A configuration, an upgrade, a discovered set is applied as a whole or not at all; what runs stays.
//! - Every wait has a deadline, every queue a bound, every retry a limit.
//!
//! # Glossary
//!
//! - **frontend**: where clients come in; **backend**: a named set of **servers**.
//! - **session**: a client's connection and, once reached, a server's, from accept to the log line.
//! - **ready, drain, maint**: what the operator wants of a server; **UP, DOWN**: what checks and traffic say; **usable**:
//!   what follows from both.
//! - **suspect**: failed its last connect; others are preferred until a check or a connect succeeds.
//! - **hold**: to let a session wait for a usable server instead of closing it.
//! - **park**: to stop accepting from a listener that stays open elsewhere.
//! - **hand-off**: listeners, state and sessions going from one engine to another.

pub mod app;
pub mod backend;
pub mod cli;
pub mod config;
pub mod control;
pub mod exit;
pub mod lifecycle;
pub mod log;
pub mod proxy;
pub mod proxy_protocol;
pub mod stats;
pub mod sys;
