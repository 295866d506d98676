//! Sockets that the parent process leaves open for this one: those of LISTEN_FDS, as systemd passes them (its fd store and
//! `.socket` units), and other listening TCP sockets, which a bind may name by number.
//!
//! To be read once, before this process has opened a descriptor that its children inherit: what is not close-on-exec then
//! came from the parent.

use std::env;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};

use nix::fcntl::OFlag;

use crate::handoff::control::{Listener, ListenerKind};
use crate::supervisor::stderr::print;
use crate::supervisor::systemd::parse_name;
use crate::sys::fd;

/// All of them with their purpose. What cannot be used is closed with a message.
pub(crate) fn handed_down() -> Vec<(Listener, OwnedFd)> {
    let passed = passed_by_manager();
    let mut found = Vec::new();
    for (number, name) in &passed {
        let label = if name.is_empty() { format!("{number}") } else { format!("{number} (`{name}`)") };
        match fd::inherit(*number).and_then(|socket| Ok((listener(*number, name, &socket)?, socket))) {
            Ok(known) => found.push(known),
            Err(error) => print(format!("descriptor {label} of LISTEN_FDS is not used: {error}")),
        }
    }
    for number in inherited().into_iter().filter(|number| passed.iter().all(|(other, _)| other != number)) {
        let Ok(socket) = fd::inherit(number) else {
            continue;
        };
        match listener(number, "", &socket) {
            // Meant for this process only if a bind names it: by its address alone it could be meant for another one.
            Ok(known) if known.kind == ListenerKind::Traffic => {
                found.push((Listener { bind: format!("fd@{number}"), ..known }, socket));
            }
            Ok(_) | Err(_) => fd::leave(socket),
        }
    }
    found
}

/// A socket of a program that is replaced, for the frontend that binds its address.
pub(crate) fn adopt(socket: OwnedFd) -> io::Result<(Listener, OwnedFd)> {
    let known = listener(-1, "", &socket)?;
    let bind = match known.address.starts_with('/') {
        true => format!("unix@{}", published(&known.address)),
        false => known.address.clone(),
    };
    Ok((Listener { kind: ListenerKind::Traffic, bind, ..known }, socket))
}

/// Where clients find a unix socket that was made under another name: with the pid of its process, and from HAProxy `.tmp`.
fn published(name: &str) -> &str {
    let made = name.strip_suffix(".tmp").unwrap_or(name);
    match made.rsplit_once('.') {
        Some((path, pid)) if !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()) => path,
        _ => name,
    }
}

/// Number and name of each descriptor of LISTEN_FDS. None, if they are meant for another process.
fn passed_by_manager() -> Vec<(RawFd, String)> {
    let number = |name| env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Vec::new();
    }
    let count = number("LISTEN_FDS").and_then(|count| RawFd::try_from(count).ok()).unwrap_or(0).min(MAX_PASSED);
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned);
    (FIRST_PASSED..FIRST_PASSED + count).map(|number| (number, names.next().unwrap_or_default())).collect()
}

/// The open descriptors beside the standard streams that are not close-on-exec.
fn inherited() -> Vec<RawFd> {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok());
    let mut numbers: Vec<_> = numbers.filter(|number| *number > 2 && !closes_on_exec(*number)).collect();
    numbers.sort_unstable();
    numbers
}

/// Of a descriptor that cannot be looked at, yes: it is left alone.
fn closes_on_exec(number: RawFd) -> bool {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
    flags.is_none_or(|flags| flags & OFlag::O_CLOEXEC.bits() != 0)
}

/// What a socket is for. One with a name of `lb` was stored by this program; any other is for the frontend that binds its
/// number, its name or its address.
fn listener(number: RawFd, name: &str, socket: &OwnedFd) -> io::Result<Listener> {
    if let Some(why) = fd::not_listening(socket.as_fd()) {
        return Err(io::Error::other(why));
    }
    let (cookie, address) = (fd::cookie(socket.as_fd())?, fd::bound_to(socket.as_fd())?);
    if let Some((kind, frontend, bind, worker)) = parse_name(name) {
        let known = ListenerKind::ALL.iter().find(|k| **k as u32 == kind);
        let kind = *known.ok_or_else(|| io::Error::other("its name was written by a later version"))?;
        return Ok(Listener { kind, frontend, bind, worker, address, cookie });
    }
    let (kind, bind) = match (address.starts_with('/'), name) {
        (true, _) => (ListenerKind::Admin, address.clone()),
        (false, "") => (ListenerKind::Traffic, format!("fd@{number} {address}")),
        (false, name) => (ListenerKind::Traffic, format!("fd@{number} fd@{name} {address}")),
    };
    Ok(Listener { kind, frontend: String::new(), bind, worker: 0, address, cookie })
}

/// SD_LISTEN_FDS_START.
const FIRST_PASSED: RawFd = 3;
/// More than any service manager passes.
const MAX_PASSED: RawFd = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_known_by_the_name_under_which_its_socket_was_made() {
        let table = [
            ("/run/web.sock.4711.tmp", "/run/web.sock"),
            ("/run/web.sock.4711", "/run/web.sock"),
            ("/run/web.sock", "/run/web.sock"),
            ("/run/web.tmp", "/run/web.tmp"),
            ("/run/web.1.22.tmp", "/run/web.1"),
            ("/run/web.", "/run/web."),
        ];
        for (name, path) in table {
            assert_eq!(published(name), path, "{name}");
        }
    }
}
