//! State: what a supervisor leaves to the binary that replaces it by `execve`: same pid, same children, descriptors
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

use crate::handoff::control::{Listener, Mode};
use crate::handoff::wire::{Record, record};
use crate::supervisor::binary::Binary;
use crate::supervisor::engine_process::{EngineProcess, Restored};
use crate::supervisor::listeners::{Held, Listeners};
use crate::supervisor::millis;
use crate::sys::{fd, process};

record! {
    /// The whole record.
    pub(crate) struct State {
        1 => generation: u64,
        2 => binary: u32,
        /// Bytes of the path that a later version will be found at.
        3 => path: Vec<u8>,
        4 => listeners: Vec<HeldListener>,
        /// The one that serves comes first.
        5 => engines: Vec<HeldEngineProcess>,
        6 => ready_told: bool,
        /// Since the daemon was started.
        7 => age_ms: u64,
        /// The listening socket of the takeover path.
        8 => door: Option<u32>,
    }
}

record! {
    /// A listening socket.
    pub(crate) struct HeldListener {
        1 => fd: u32,
        2 => listener: Vec<u8>,
        3 => stored: bool,
        4 => device: Option<u64>,
        5 => inode: Option<u64>,
    }
}

record! {
    /// A child.
    pub(crate) struct HeldEngineProcess {
        1 => fd: u32,
        2 => pid: u32,
        3 => generation: u64,
        4 => serving: bool,
        5 => stop_limit_ms: u64,
        6 => stop_left_ms: Option<u64>,
        7 => sent: u32,
        8 => received: u32,
    }
}

/// What a successor begins with.
pub(crate) struct Inheritance {
    pub generation: u64,
    /// Since the daemon was started.
    pub age: Duration,
    pub binary: Rc<Binary>,
    pub listeners: Listeners,
    pub engines: Vec<EngineProcess>,
    pub ready_told: bool,
    /// The listening socket of the takeover path.
    pub door: Option<OwnedFd>,
}

impl State {
    /// Writes down what holds descriptors; the caller adds the rest. Nothing may be waiting to be sent.
    pub(crate) fn of(binary: &Binary, listeners: &Listeners, engines: &[&EngineProcess], now: Instant) -> Self {
        let number = |fd: BorrowedFd<'_>| fd.as_raw_fd().cast_unsigned();
        let listeners = listeners.iter().map(|held| HeldListener {
            fd: number(held.socket.as_fd()),
            listener: held.listener.to_bytes(),
            stored: held.stored,
            device: held.path_id.map(|(device, _)| device),
            inode: held.path_id.map(|(_, inode)| inode),
        });
        let engines = engines.iter().map(|engine| {
            let state = engine.suspend(now);
            HeldEngineProcess {
                fd: number(engine.socket()),
                pid: state.pid,
                generation: state.generation,
                serving: state.serving,
                stop_limit_ms: millis(state.stop_limit),
                stop_left_ms: state.stop_left.map(millis),
                sent: state.sent,
                received: state.received,
            }
        });
        Self {
            generation: 0,
            binary: number(binary.as_fd()),
            path: binary.path.as_os_str().as_bytes().to_vec(),
            listeners: listeners.collect(),
            engines: engines.collect(),
            ready_told: false,
            age_ms: 0,
            door: None,
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
        let number = number.ok_or_else(|| io::Error::other("its number is none"))?;
        let mut bytes = Vec::new();
        File::from(fd::inherit(number)?).read_to_end(&mut bytes)?;
        let state = Self::from_bytes(&bytes).map_err(io::Error::other)?;
        let inherit = |number: u32| fd::inherit(number.cast_signed());
        let path = PathBuf::from(OsString::from_vec(state.path));
        let binary = Rc::new(Binary::inherited(inherit(state.binary)?, path));
        let mut listeners = Vec::new();
        for held in state.listeners {
            listeners.push(Held {
                listener: Listener::from_bytes(&held.listener).map_err(io::Error::other)?,
                socket: Arc::new(inherit(held.fd)?),
                tentative: false,
                declined: false,
                stored: held.stored,
                path_id: held.device.zip(held.inode),
            });
        }
        let mut engines = Vec::new();
        for held in state.engines {
            let socket = inherit(held.fd)?;
            let restored = Restored {
                pid: held.pid,
                // Whatever it was: it serves.
                mode: Mode::Restart,
                generation: held.generation,
                serving: held.serving,
                stop_limit: Duration::from_millis(held.stop_limit_ms),
                stop_left: held.stop_left_ms.map(Duration::from_millis),
                sent: held.sent,
                received: held.received,
            };
            engines.push(EngineProcess::restore(restored, socket, now));
        }
        let (generation, ready_told) = (state.generation, state.ready_told);
        let door = state.door.map(inherit).transpose()?;
        let (listeners, age) = (Listeners::restore(listeners), Duration::from_millis(state.age_ms));
        Ok(Inheritance { generation, age, binary, listeners, engines, ready_told, door })
    }
}
