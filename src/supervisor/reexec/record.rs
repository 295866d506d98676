//! Record: what a supervisor leaves to the program that replaces it by `execve`: same pid, same children, descriptors
//! inherited under their numbers, and this record in a memfd.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::handoff::control::{Listener, Mode, NamesPart};
use crate::handoff::wire::{WireRecord, record};
use crate::supervisor::binary::Binary;
use crate::supervisor::engine_process::{EngineProcess, EngineSnapshot};
use crate::supervisor::kept_names::KeptNames;
use crate::supervisor::listeners::{HeldListener, HeldListeners};
use crate::supervisor::service::Service;
use crate::sys::clock::millis;
use crate::sys::{fd, local, process};

record! {
    /// The whole record.
    pub(crate) struct SupervisorRecord {
        1 => generation: u64,
        2 => binary: u32,
        /// Bytes of the path where a later version will be installed.
        3 => path: Vec<u8>,
        4 => listeners: Vec<ListenerRecord>,
        /// The one that serves comes first.
        5 => engines: Vec<EngineRecord>,
        6 => ready: bool,
        /// Since the service was started.
        7 => age_ms: u64,
        /// The listening socket of the takeover path.
        8 => takeover_socket: Option<u32>,
        9 => names: Vec<NamesPart>,
    }
}

record! {
    /// A listening socket.
    pub(crate) struct ListenerRecord {
        1 => fd: u32,
        2 => listener: Vec<u8>,
        3 => stored: bool,
        4 => device: Option<u64>,
        5 => inode: Option<u64>,
    }
}

record! {
    /// A child.
    pub(crate) struct EngineRecord {
        1 => fd: u32,
        2 => pid: u32,
        3 => generation: u64,
        4 => serving: bool,
        5 => stop_limit_ms: u64,
        6 => stop_left_ms: Option<u64>,
        7 => sent: u32,
        8 => received: u32,
        9 => watchdog_ms: Option<u64>,
    }
}

/// What the new program begins with.
pub(crate) struct Inheritance {
    pub generation: u64,
    /// Since the service was started.
    pub age: Duration,
    pub binary: Rc<Binary>,
    pub listeners: HeldListeners,
    /// The one that serves comes first.
    pub engines: Vec<EngineProcess>,
    /// READY was sent to the service manager.
    pub ready: bool,
    /// The listening socket of the takeover path.
    pub takeover_socket: Option<OwnedFd>,
    pub names: KeptNames,
}

impl SupervisorRecord {
    /// The record of a service. No message may be queued.
    pub(crate) fn of(service: &Service, now: Instant) -> Self {
        let takeover_socket = service.predecessor.socket();
        Self {
            generation: service.generation,
            binary: number(service.binary.as_fd()),
            path: service.binary.path.as_os_str().as_bytes().to_vec(),
            listeners: service.listeners.iter().map(ListenerRecord::of).collect(),
            engines: service.engines.iter().map(|engine| EngineRecord::of(engine, now)).collect(),
            ready: service.manager.is_ready(),
            age_ms: millis(service.began.elapsed()),
            takeover_socket: takeover_socket.map(|socket| number(socket.as_fd())),
            names: service.names.parts().to_vec(),
        }
    }

    /// The record as a descriptor to be inherited.
    pub(crate) fn write(&self) -> io::Result<OwnedFd> {
        let mut file = File::from(process::memfd("lb-supervisor")?);
        file.write_all(&self.to_bytes())?;
        file.rewind()?;
        Ok(file.into())
    }

    /// Reads the record that was inherited under `number` and takes over everything in it.
    pub(crate) fn take_over(number: &OsStr, now: Instant) -> io::Result<Inheritance> {
        let number = number.to_str().and_then(|number| number.parse().ok());
        let number = number.ok_or_else(|| io::Error::other("the descriptor of its record is not a number"))?;
        let mut bytes = Vec::new();
        File::from(fd::inherit(number)?).read_to_end(&mut bytes)?;
        let record = Self::from_bytes(&bytes).map_err(io::Error::other)?;
        let path = PathBuf::from(OsString::from_vec(record.path));
        let listeners: io::Result<_> = record.listeners.into_iter().map(ListenerRecord::take_over).collect();
        let engines: io::Result<_> = record.engines.into_iter().map(|engine| engine.take_over(now)).collect();
        Ok(Inheritance {
            generation: record.generation,
            age: Duration::from_millis(record.age_ms),
            binary: Rc::new(Binary::inherited(inherit(record.binary)?, path)),
            listeners: HeldListeners::restore(listeners?),
            engines: engines?,
            ready: record.ready,
            takeover_socket: record.takeover_socket.map(inherit).transpose()?,
            names: KeptNames::restore(record.names),
        })
    }
}

impl ListenerRecord {
    fn of(held: &HeldListener) -> Self {
        Self {
            fd: number(held.socket.as_fd()),
            listener: held.listener.to_bytes(),
            stored: held.stored,
            device: held.path_id.map(|id| id.device),
            inode: held.path_id.map(|id| id.inode),
        }
    }

    fn take_over(self) -> io::Result<HeldListener> {
        let path_id = self.device.zip(self.inode);
        Ok(HeldListener {
            listener: Listener::from_bytes(&self.listener).map_err(io::Error::other)?,
            socket: Arc::new(inherit(self.fd)?),
            tentative: false,
            declined: false,
            stored: self.stored,
            path_id: path_id.map(|(device, inode)| local::PathId { device, inode }),
        })
    }
}

impl EngineRecord {
    fn of(engine: &EngineProcess, now: Instant) -> Self {
        let snapshot = engine.snapshot(now);
        Self {
            fd: number(engine.socket()),
            pid: snapshot.pid,
            generation: snapshot.generation,
            serving: snapshot.serving,
            stop_limit_ms: millis(snapshot.stop_limit),
            stop_left_ms: snapshot.stop_left.map(millis),
            sent: snapshot.sent,
            received: snapshot.received,
            watchdog_ms: snapshot.watchdog.map(millis),
        }
    }

    fn take_over(self, now: Instant) -> io::Result<EngineProcess> {
        let snapshot = EngineSnapshot {
            pid: self.pid,
            // The mode it was started in has no meaning any more: it serves, and if it dies, the next one is a restart.
            mode: Mode::Restart,
            generation: self.generation,
            serving: self.serving,
            stop_limit: Duration::from_millis(self.stop_limit_ms),
            stop_left: self.stop_left_ms.map(Duration::from_millis),
            watchdog: self.watchdog_ms.map(Duration::from_millis),
            sent: self.sent,
            received: self.received,
        };
        Ok(EngineProcess::restore(snapshot, inherit(self.fd)?, now))
    }
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn inherit(number: u32) -> io::Result<OwnedFd> {
    fd::inherit(number.cast_signed())
}
