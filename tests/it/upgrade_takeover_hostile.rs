//! The path of a takeover with untrusted or faulty processes at either side of it: none of them has an effect.

use std::fs::{self, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};

use lb::internals::handoff::Frame;
use lb::internals::handoff::Messages;
use lb::internals::handoff::control::{Control, EngineStarted, Go, Hello, ProcessKind, Taken, Takeover};
use lb::internals::sys::fd;
use lb::internals::sys::local::{self, LocalKind};
use nix::unistd::chown;

use crate::support::client::HANG;
use crate::support::config::Config;
use crate::support::lb::Lb;
use crate::support::origin::{Behaviour, Origin};
use crate::support::ping_pong::PingPong;
use crate::support::takeover::{TakeoverDir, assert_retires, connect, failure, wait_for_output};
use crate::support::wait::{eventually, eventually_eq};

#[test]
fn a_path_that_others_could_reach_is_refused_in_one_sentence_with_its_remedy() {
    let origin = Origin::start(Behaviour::Echo);
    let shared = TakeoverDir::new(&Config::new().origins([&origin]));
    let dir = shared.dir();
    let refused = |words: &str| {
        let (code, message) = failure(shared.options().launch());
        assert_eq!(code, 2, "{message}");
        assert!(message.contains(words), "{message} instead of {words}");
    };
    for mode in [0o755, 0o710, 0o702] {
        fs::set_permissions(dir, Permissions::from_mode(mode)).unwrap();
        refused("others must not enter it: chmod 0700");
    }
    fs::set_permissions(dir, Permissions::from_mode(0o700)).unwrap();
    chown(dir, Some(STRANGER.into()), None).unwrap();
    refused("belongs to uid 12345");
    chown(dir, Some(0.into()), None).unwrap();
    fs::write(shared.path(), "a file").unwrap();
    refused("is no takeover socket");
    assert_eq!(fs::read_to_string(shared.path()).unwrap(), "a file");
    fs::remove_file(shared.path()).unwrap();
    symlink(dir.join("elsewhere"), shared.path()).unwrap();
    refused("is no takeover socket");
    fs::remove_file(shared.path()).unwrap();
    // A dead socket, bound by another user.
    drop(local::bind(&shared.path(), LocalKind::Seqpacket).unwrap());
    fs::set_permissions(shared.path(), Permissions::from_mode(0o600)).unwrap();
    chown(&shared.path(), Some(STRANGER.into()), None).unwrap();
    refused("belongs to uid 12345");
    // A dead socket of the same user is replaced.
    chown(&shared.path(), Some(0.into()), None).unwrap();
    let lb = shared.start();
    PingPong::start(lb.addr("web"), 1).finish().assert_unharmed();
}

#[test]
fn another_user_at_either_side_of_the_path_is_refused() {
    let origin = Origin::start(Behaviour::Echo);
    let shared = TakeoverDir::new(&Config::new().origins([&origin]));
    // Places a path opened by uid 65534 before uid 12345, as if it belonged to the latter.
    let own = |uid: u32| {
        let path = shared.path();
        let paths = [shared.dir(), &path];
        for path in paths.into_iter().filter(|path| path.exists()) {
            chown(path, Some(uid.into()), None).unwrap();
        }
    };
    own(NOBODY);
    let other = shared.options().uid(NOBODY).start();
    let addr = other.addr("web");
    own(STRANGER);
    let socket = shared.dir().join("other.sock");
    let stranger = || {
        let options = shared.options().socket(socket.clone());
        options.uid(STRANGER).launch()
    };
    let (code, message) = failure(stranger());
    assert_eq!(code, 2, "{message}");
    assert!(message.contains("answers uid 65534"), "{message}");
    wait_for_output(&other, "uid 12345 may not ask for it");
    own(NOBODY);
    PingPong::start(addr, 2).finish().assert_unharmed();
    let mut other = other;
    let _next = shared.options().uid(NOBODY).start();
    assert_retires(&mut other);
    PingPong::start(addr, 2).finish().assert_unharmed();
}

#[test]
fn rubbish_and_silence_at_the_path_have_no_effect() {
    let origin = Origin::start(Behaviour::Echo);
    let shared = TakeoverDir::new(&Config::new().origins([&origin]));
    let mut first = shared.start();
    let sessions = PingPong::start(first.addr("web"), 3);
    let held = |lb: &Lb| fs::read_dir(format!("/proc/{}/fd", lb.pid())).unwrap().count();
    let before = held(&first);
    let takeover = Control::Takeover(Takeover { probation_ms: None });
    let whole = raw(&hello(ProcessKind::Supervisor), 0, 0);
    let major = {
        let mut bytes = whole.clone();
        bytes[4] = 99;
        bytes
    };
    let peers: Vec<Vec<(Vec<u8>, usize)>> = vec![
        vec![(b"GET / HTTP/1.1\r\n\r\n".to_vec(), 0)],
        vec![(vec![0xff; 60_000], 0)],
        vec![(vec![0xff; 100_000], 0)],
        vec![(whole[..23].to_vec(), 0)],
        vec![(whole[..whole.len() - 1].to_vec(), 0)],
        // Descriptors not announced, announced but missing, and too many.
        vec![(whole.clone(), 1)],
        vec![(raw(&hello(ProcessKind::Supervisor), 2, 0), 0)],
        vec![(whole.clone(), 253)],
        vec![(raw(&hello(ProcessKind::Supervisor), 0, 7), 0)],
        vec![(raw(&hello(ProcessKind::Engine), 0, 0), 0)],
        vec![(raw(&takeover, 0, 0), 0)],
        vec![(raw(&Control::Go(Go {}), 0, 0), 0)],
        vec![(whole.clone(), 0), (raw(&hello(ProcessKind::Supervisor), 0, 1), 0)],
        vec![(whole.clone(), 0), (raw(&Control::Taken(Taken {}), 0, 1), 0)],
        vec![(major, 0)],
    ];
    for peer in &peers {
        let socket = connect(&shared.path());
        for (bytes, fds) in peer {
            // It may have been closed already.
            fd::send(socket.as_fd(), bytes, &vec![socket.as_fd(); *fds]).ok();
        }
        assert_closed(&socket);
    }
    // One byte per message.
    let slow = connect(&shared.path());
    for byte in &whole {
        fd::send(slow.as_fd(), &[*byte], &[]).ok();
    }
    assert_closed(&slow);
    // More silent connections than are served at once; those behind them wait for their turn.
    let silent: Vec<OwnedFd> = (0..10).map(|_| connect(&shared.path())).collect();
    assert_eq!(first.status().number("generation"), 1);
    silent.iter().for_each(assert_closed);
    eventually_eq(HANG, before, || held(&first));
    sessions.run_for(30);
    let _second = shared.start();
    assert_retires(&mut first);
    sessions.run_for(30);
    sessions.finish().assert_unharmed();
}

#[test]
fn a_successor_that_violates_the_protocol_ends_the_takeover_and_nothing_else() {
    let origin = Origin::start(Behaviour::Echo);
    let shared = TakeoverDir::new(&Config::new().origins([&origin]));
    let mut first = shared.start();
    let sessions = PingPong::start(first.addr("web"), 3);
    let followers: Vec<Option<(Vec<u8>, usize)>> = vec![
        // Closed at once; rubbish; a process without its pidfd; the end of a takeover before anything was given.
        None,
        Some((b"rubbish".to_vec(), 0)),
        Some((raw(&Control::EngineStarted(EngineStarted { pid: 1 }), 0, 2), 0)),
        Some((raw(&Control::Taken(Taken {}), 0, 2), 0)),
        Some((raw(&Control::Go(Go {}), 0, 1), 0)),
        // A peer link for an engine that was never started.
        Some((raw(&hello(ProcessKind::Engine), 0, 2), 0)),
    ];
    for follower in followers {
        let socket = connect(&shared.path());
        let takeover = Control::Takeover(Takeover { probation_ms: None });
        for (message, number) in [(hello(ProcessKind::Supervisor), 0), (takeover, 1)] {
            fd::send(socket.as_fd(), &raw(&message, 0, number), &[]).unwrap();
        }
        match follower {
            None => drop(socket),
            Some((bytes, fds)) => {
                fd::send(socket.as_fd(), &bytes, &vec![socket.as_fd(); fds]).unwrap();
                assert_closed(&socket);
            }
        }
        eventually(HANG, "the end of the takeover", || (!first.status().upgrading()).then_some(()));
    }
    assert_eq!(first.status().number("generation"), 1);
    sessions.run_for(30);
    let _second = shared.start();
    assert_retires(&mut first);
    sessions.finish().assert_unharmed();
}

#[test]
fn rubbish_and_silence_in_the_place_of_a_running_lb_end_the_new_one_in_one_sentence() {
    let origin = Origin::start(Behaviour::Echo);
    let shared = TakeoverDir::new(&Config::new().origins([&origin]));
    let listener = local::bind(&shared.path(), LocalKind::Seqpacket).unwrap();
    fs::set_permissions(shared.path(), Permissions::from_mode(0o600)).unwrap();
    local::listen(listener.as_fd(), 8).unwrap();
    let welcome = raw(&hello(ProcessKind::Supervisor), 0, 0);
    let mut major = welcome.clone();
    major[4] = 99;
    let empty_listener = {
        let mut bytes = raw(&Control::Go(Go {}), 0, 1);
        // LISTENER, without its descriptor.
        bytes[8] = 2;
        bytes
    };
    // The messages of the impostor, and whether it then closes; how the new balancer ends.
    let cases: [(&[Vec<u8>], bool, i32, &str); 7] = [
        (&[], true, 3, "is closed; it may run as another user"),
        (&[], false, 3, "does not answer"),
        (&[b"HTTP/1.1 400".to_vec()], false, 3, "not a hand-off message"),
        (&[major], false, 4, "hand-off protocol 99"),
        (&[raw(&hello(ProcessKind::Engine), 0, 0)], false, 3, "does not answer"),
        (&[welcome.clone(), b"rubbish".to_vec()], false, 3, "not a hand-off message"),
        (&[welcome, empty_listener], false, 3, "field 1 is missing"),
    ];
    for (messages, closes, code, reason) in cases {
        let new = shared.options().launch();
        let successor = eventually(HANG, "the successor", || local::accept(listener.as_fd()).unwrap());
        for bytes in messages {
            fd::send(successor.as_fd(), bytes, &[]).unwrap();
        }
        let successor = (!closes).then_some(successor);
        let (ended, message) = failure(new);
        assert_eq!(ended, code, "{message}");
        assert!(message.contains(reason), "{message} instead of {reason}");
        drop(successor);
    }
    // Nothing was left behind or removed.
    let names = fs::read_dir(shared.dir()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["handoff.sock"]);
}

fn hello(role: ProcessKind) -> Control {
    Control::Hello(Hello { role, pid: 1, version: "9".into(), offers: vec![] })
}

fn raw(message: &Control, fds: usize, sequence: u32) -> Vec<u8> {
    let (kind, critical, body) = message.encode();
    Frame { kind, critical, fds, sequence, body }.encode()
}

/// Waits until the other end is closed.
#[track_caller]
fn assert_closed(socket: &OwnedFd) {
    let mut buffer = vec![0; 100_000];
    eventually(HANG, "the connection closed", || {
        match fd::recv(socket.as_fd(), &mut buffer) {
            // Earlier messages do not matter here.
            Ok(_) => None,
            Err(error) if error.would_block() => None,
            Err(_) => Some(()),
        }
    });
}

const NOBODY: u32 = 65_534;
const STRANGER: u32 = 12_345;
