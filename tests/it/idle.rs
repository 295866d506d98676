//! The cost of silent sessions: little memory, no pipe, no CPU.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::client::{HANG, connect};
use crate::support::config::Config;
use crate::support::figure::figure;
use crate::support::lb::Lb;
use crate::support::limits::{alone, raise_descriptors};
use crate::support::origin::{Behaviour, Origin};
use crate::support::proc;
use crate::support::wait::{eventually, eventually_eq};

#[test]
fn four_thousand_idle_sessions_hold_little_memory_no_pipe_and_no_cpu() {
    let _alone = alone();
    // Two descriptors per session in this process, which is both client and server.
    let count = 4000.min((raise_descriptors() as usize - 500) / 2);
    let origin = Origin::start(Behaviour::Echo);
    let lb =
        Lb::start(&Config::bare().backend("timeout = { client = \"300s\", server = \"300s\" }").origins([&origin]));
    let addr = lb.addr("web");
    let pipes = proc::pipes(lb.pid());
    // Allocators and pools reach their size with the first few.
    let _first: Vec<TcpStream> = (0..50).map(|_| busy_then_idle(connect(addr).unwrap(), 300_000)).collect();
    let before = proc::private_memory(lb.pid());
    let sessions: Vec<TcpStream> = (0..count)
        .map(|index| busy_then_idle(connect(addr).unwrap(), if index % 100 == 0 { 300_000 } else { 100 }))
        .collect();
    eventually_eq(HANG, count as u64 + 50, || lb.status().frontend("web").number("sessions"));
    let memory = proc::private_memory(lb.pid()).saturating_sub(before) / count as u64;
    figure(&format!("private memory of an idle session, of {count}"), format!("{memory} bytes"));

    eventually(HANG, "no more pipes than before", || (proc::pipes(lb.pid()) <= pipes).then_some(()));
    lb.assert_at_rest(&format!("{count} idle sessions"), Duration::from_secs(6));
    assert!(memory <= 3500, "{memory} bytes an idle session");
    drop(sessions);
    eventually_eq(HANG, 50, || lb.status().frontend("web").number("sessions"));
}

/// Sends `size` bytes, receives them back, and stays silent from then on.
fn busy_then_idle(mut stream: TcpStream, size: usize) -> TcpStream {
    let mut writer = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        let bytes = vec![7; size];
        if size > 10_000 {
            scope.spawn(move || writer.write_all(&bytes).unwrap());
        } else {
            writer.write_all(&bytes).unwrap();
        }
        let mut back = vec![0; size];
        stream.read_exact(&mut back).unwrap();
        assert!(back.iter().all(|&byte| byte == 7));
    });
    stream
}
