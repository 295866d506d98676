//! `lb`: a TCP load balancer that nobody notices. This page is the map.
//!
//! # Planes
//!
//! ```text
//! cli             the commands; one file a command
//! supervisor      process 1 of `lb run`: one pid, keeps the listeners, starts and replaces engines; carries no traffic
//! engine          process 2: composition root: configuration → running daemon; one loop that owns its parts
//! proxy           data plane: worker, listener, session, connect, relay, flow
//! control         control plane: checks, names, etcd, admin socket
//! log             the session line
//! backend         who may serve: server, health, scheduler, queue, snapshot; pure
//! handoff         what supervisor and engine, and two engines, say to each other; pure but for its channel
//! runtime         a worker's executor, timers and epoll instance
//! proxy_protocol  its headers
//! sys             the kernel wrapped once: the only `unsafe`
//! config          text → raw → typed; pure
//! stats exit fault   counters; exit codes; places where a test makes a process fail
//! ```
//!
//! `lb run` is two processes: a supervisor that carries no traffic and whose pid never changes, and an engine that does
//! the work. In the engine each worker thread has its own listeners and sessions, and one control thread does the rest.
//! A worker runs its tasks on an executor of its own, which is as small as one kind of task on one thread allows; all
//! else, control first, runs on tokio.
//!
//! # Floors
//!
//! Imports point down, and neighbours never import each other: `engine` and `supervisor` meet in `handoff`, `proxy` and
//! `control` in `backend`, where control publishes and proxy reads. A test over `use crate::` keeps it true.
//!
//! ```text
//! main
//! cli
//! engine | supervisor
//! proxy | control
//! log | backend
//! runtime | handoff | proxy_protocol
//! sys
//! config | stats | exit | fault
//! ```
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
//!   process works on it at any moment ([`handoff::peer`]).
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

pub mod backend;
pub mod config;
pub mod control;
pub mod exit;
pub mod handoff;
pub mod log;
pub mod proxy;
pub mod sys;

mod cli;
mod engine;
mod fault;
mod proxy_protocol;
mod runtime;
mod stats;
mod supervisor;

pub use cli::main;
