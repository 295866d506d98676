//! The connection between the two supervisors of a takeover ends, or is slow, while both live: one of them serves in
//! the end, and never both.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread::{self, JoinHandle};

use lb::internals::handoff::Frame;
use lb::internals::handoff::Messages;
use lb::internals::handoff::control::Control;
use lb::internals::sys::fd::{self, RecvError};
use lb::internals::sys::local::{self, LocalKind};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::support::client::HANG;
use crate::support::config::Config;
use crate::support::lb::Lb;
use crate::support::origin::{Behaviour, Origin};
use crate::support::ping_pong::PingPong;
use crate::support::takeover::{TakeoverDir, assert_retires, connect, failure, wait_for_output};
use crate::support::wait::eventually;

#[test]
fn a_connection_closed_by_one_side_leaves_the_old_one_and_ends_the_new_one() {
    for (harm, at, code, reason) in [
        // The old one must not be misled about what it has sent, ...
        (Harm::Rubbish(Side::Old), At::Prepared, 3, "not taken over"),
        (Harm::Rubbish(Side::Old), At::Ready, 6, "rolled back"),
        // ... nor the new one, ...
        (Harm::Rubbish(Side::New), At::Prepared, 3, "not a hand-off"),
        (Harm::Rubbish(Side::New), At::Ready, 6, "not a hand-off"),
        // ... nor may silence be taken for death.
        (Harm::Cut, At::Prepared, 3, "still answers there"),
        (Harm::Cut, At::Ready, 6, "still answers there"),
    ] {
        let mut stage = RelayStage::new();
        let sessions = PingPong::start(stage.first.addr("web"), 3);
        let new = stage.launch(harm, at, "10s");
        let (ended, message) = failure(new);
        assert_eq!(ended, code, "{harm:?} {at:?}: {message}");
        assert!(message.contains(reason), "{harm:?} {at:?}: {message}");
        eventually(HANG, "the end of the takeover", || (!stage.first.status().upgrading()).then_some(()));
        assert_eq!(stage.first.status().number("generation"), 1);
        sessions.run_for(30);
        let _next = stage.shared.start();
        assert_retires(&mut stage.first);
        sessions.run_for(30);
        sessions.finish().assert_unharmed();
    }
}

#[test]
fn an_answer_that_does_not_come_in_time_costs_no_session() {
    let mut stage = RelayStage::new();
    let sessions = PingPong::start(stage.first.addr("web"), 3);
    let new = stage.launch(Harm::Drop, At::Handover, "300ms");
    new.wait_for_notice("READY=1");
    wait_for_output(&stage.first, "its supervisor does not answer");
    assert_retires(&mut stage.first);
    sessions.run_for(30);
    sessions.finish().assert_unharmed();
}

#[test]
fn a_predecessor_stopped_while_it_hands_over_removes_nothing_of_its_successor() {
    let mut stage = RelayStage::new();
    let new = stage.launch(Harm::Drop, At::Handover, "10s");
    wait_for_output(&new, "probation");
    stage.first.signal(Signal::SIGTERM);
    new.wait_for_notice("READY=1");
    assert_retires(&mut stage.first);
    assert!(stage.shared.path().exists());
    assert_eq!(new.status().number("generation"), 2);
    PingPong::start(new.addr("web"), 2).finish().assert_unharmed();
}

/// The harm to the connection.
#[derive(Debug, Clone, Copy)]
enum Harm {
    /// This side receives an invalid message.
    Rubbish(Side),
    /// It ends, for both sides.
    Cut,
    /// The old supervisor receives nothing from now on.
    Drop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Old,
    New,
}

/// The message after which the harm is done.
#[derive(Debug, Clone, Copy)]
enum At {
    Prepared,
    Ready,
    Handover,
}

/// A balancer, and a relay between it and its successor.
struct RelayStage {
    first: Lb,
    shared: TakeoverDir,
    /// Open to the end: a connection to it shows that the path is served.
    listener: Option<OwnedFd>,
    between: Option<JoinHandle<()>>,
    _origin: Origin,
}

impl RelayStage {
    fn new() -> Self {
        let origin = Origin::start(Behaviour::Echo);
        let shared = TakeoverDir::new(&Config::new().origins([&origin]));
        Self { first: shared.start(), shared, listener: None, between: None, _origin: origin }
    }

    /// Starts the new balancer, which connects to the relay.
    fn launch(&mut self, harm: Harm, at: At, probation: &str) -> Lb {
        let path = self.shared.dir().join("between.sock");
        let listener = local::bind(&path, LocalKind::Seqpacket).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        local::listen(listener.as_fd(), 64).unwrap();
        self.listener = Some(listener.try_clone().unwrap());
        let old = self.shared.path();
        self.between = Some(thread::spawn(move || relay_connection(&listener, &old, harm, at)));
        self.shared.options_at(&path, probation).launch()
    }
}

impl Drop for RelayStage {
    fn drop(&mut self) {
        if let Some(between) = self.between.take()
            && between.join().is_err()
            && !thread::panicking()
        {
            panic!("the relay has failed");
        }
    }
}

fn relay_connection(listener: &OwnedFd, old: &Path, harm: Harm, at: At) {
    let mut new = Some(eventually(HANG, "the successor", || local::accept(listener.as_fd()).unwrap()));
    let mut old = Some(connect(old));
    let (mut done, mut dropping) = (false, false);
    while let (Some(old_end), Some(new_end)) = (&old, &new) {
        let mut polled = [old_end, new_end].map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN));
        poll(&mut polled, PollTimeout::NONE).unwrap();
        let mut ended = None;
        for (side, from, to) in [(Side::Old, old_end, new_end), (Side::New, new_end, old_end)] {
            match pass(from, to, dropping && side == Side::New) {
                Passed::Nothing => {}
                Passed::End => ended = Some(side),
                Passed::Message(message) if !done && at.is(&message) => {
                    done = true;
                    match harm {
                        Harm::Rubbish(Side::Old) => fd::send(old_end.as_fd(), b"rubbish", &[]).unwrap(),
                        Harm::Rubbish(Side::New) => fd::send(new_end.as_fd(), b"rubbish", &[]).unwrap(),
                        Harm::Cut => ended = Some(side),
                        Harm::Drop => dropping = true,
                    }
                }
                Passed::Message(_) => {}
            }
        }
        if ended.is_some() {
            (old, new) = (None, None);
        }
    }
}

enum Passed {
    Nothing,
    Message(Control),
    End,
}

/// Relays one message, or drops it.
fn pass(from: &OwnedFd, to: &OwnedFd, swallow: bool) -> Passed {
    let mut buffer = vec![0; 300_000];
    let received = match fd::recv(from.as_fd(), &mut buffer) {
        // Closed with unread messages: the error precedes the messages sent before.
        Err(RecvError::Io(error)) if error.kind() == ErrorKind::ConnectionReset => fd::recv(from.as_fd(), &mut buffer),
        received => received,
    };
    let (length, fds) = match received {
        Ok(received) => received,
        Err(error) if error.would_block() => return Passed::Nothing,
        Err(RecvError::Io(_) | RecvError::Closed) => return Passed::End,
        Err(error) => panic!("{error}"),
    };
    if !swallow {
        let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        // A closed peer shows when it is read.
        eventually(HANG, "room", || match fd::send(to.as_fd(), &buffer[..length], &borrowed) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Ok(()) | Err(_) => Some(()),
        });
    }
    let frame = Frame::decode(&buffer[..length], fds.len());
    match frame.and_then(|frame| Control::decode(&frame)) {
        Ok(Some(message)) => Passed::Message(message),
        Ok(None) | Err(_) => panic!("not a message of a supervisor"),
    }
}

impl At {
    fn is(self, message: &Control) -> bool {
        matches!(
            (self, message),
            (Self::Prepared, Control::Prepared(_))
                | (Self::Ready, Control::Ready(_))
                | (Self::Handover, Control::Handover(_))
        )
    }
}
