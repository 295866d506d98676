//! Stopping: no session is cut before its time, no new one is accepted, and the process ends.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::client::{HANG, connect, established, read_to_end};
use crate::support::figure::figure;
use crate::support::lb::Lb;
use crate::support::machine::Stopwatch;
use crate::support::outcome::Ending;
use crate::support::ping_pong::PingPong;
use crate::support::proc;
use crate::support::wait::eventually;

#[test]
fn term_without_sessions_ends_at_once() {
    let (_origin, mut lb, addr) = Lb::echoing("");
    let children = proc::descendants(lb.pid());
    let watch = Stopwatch::start();
    lb.signal(Signal::SIGTERM);
    assert!(lb.wait(HANG).success());
    figure("time from TERM to the end, without sessions", format!("{watch:?}"));
    assert!(watch.elapsed() < Duration::from_secs(3), "{watch:?}");
    assert!(lb.notify().lines().contains(&"STOPPING=1".to_owned()));
    assert!(TcpStream::connect(addr).is_err(), "still something listens");
    for child in children {
        eventually(HANG, "no child is left", || {
            (!proc::tree(std::process::id().cast_signed()).contains(&child)).then_some(())
        });
    }
}

#[test]
fn term_lets_sessions_finish_and_takes_no_new_ones() {
    let (_origin, mut lb, addr) = Lb::echoing(r#"hard_stop_after = "60s""#);
    let sessions = PingPong::start(addr, 5);
    lb.signal(Signal::SIGTERM);
    lb.wait_for_notice("STOPPING=1");
    eventually(HANG, "new connections refused", || TcpStream::connect(addr).err());
    sessions.run_for(500);
    assert!(lb.is_running());
    sessions.finish().assert_unharmed();
    assert!(lb.wait(HANG).success());
}

#[test]
fn term_cuts_what_is_left_when_its_time_is_up() {
    let (_origin, mut lb, addr) = Lb::echoing(r#"hard_stop_after = "1s""#);
    let session = established(addr);
    let watch = Stopwatch::start();
    lb.signal(Signal::SIGTERM);
    assert!(lb.wait(HANG).success());
    assert!(watch.by_the_clock() >= Duration::from_secs(1) && watch.elapsed() < Duration::from_secs(5), "{watch:?}");
    assert_ne!(read_to_end(&session).1, Ending::Timeout);
}

#[test]
fn int_ends_within_a_second() {
    let (_origin, mut lb, addr) = Lb::echoing(r#"hard_stop_after = "60s""#);
    let _session = established(addr);
    let watch = Stopwatch::start();
    lb.signal(Signal::SIGINT);
    lb.wait(HANG);
    // A second for the sessions; the rest allows for a slow machine.
    assert!(watch.elapsed() < Duration::from_secs(3), "{watch:?}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (_origin, mut lb, addr) = Lb::echoing(r#"hard_stop_after = "60s""#);
    let _session = established(addr);
    lb.signal(Signal::SIGTERM);
    lb.wait_for_notice("STOPPING=1");
    eventually(HANG, "new connections refused", || TcpStream::connect(addr).err());
    let watch = Stopwatch::start();
    lb.signal(Signal::SIGTERM);
    lb.wait(HANG);
    assert!(watch.elapsed() < Duration::from_secs(3), "{watch:?}");
}

#[test]
fn connections_accepted_by_the_kernel_before_term_are_still_served() {
    // For its client each of these is complete before the signal, whether or not a worker has seen it.
    let (_origin, mut lb, addr) = Lb::echoing(r#"hard_stop_after = "20s""#);
    let mut clients: Vec<TcpStream> = (0..200).map(|_| connect(addr).unwrap()).collect();
    lb.signal(Signal::SIGTERM);
    for client in &mut clients {
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
    }
    for client in &clients {
        assert_eq!(read_to_end(client), (b"hello".to_vec(), Ending::Fin));
    }
    assert!(lb.wait(HANG).success());
}
