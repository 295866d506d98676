//! A program beside a server that says how it is.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::client::HANG;
use super::wait::eventually;

/// Answers each question with one line, or not at all.
pub(crate) struct Agent {
    pub(crate) addr: SocketAddr,
    pub(crate) state: Arc<Mutex<AgentState>>,
}

#[derive(Default)]
pub(crate) struct AgentState {
    /// `None`: it keeps the connections open and says nothing.
    says: Option<&'static str>,
    asked: u64,
    pub(crate) heard: Vec<u8>,
}

impl Agent {
    pub(crate) fn start(says: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(AgentState { says: Some(says), ..AgentState::default() }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            let mut silent = Vec::new();
            for mut stream in listener.incoming().flatten() {
                stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
                let mut heard = [0; 64];
                let len = stream.read(&mut heard).unwrap_or(0);
                let mut state = shared.lock().unwrap();
                state.asked += 1;
                state.heard = heard[..len].to_vec();
                match state.says {
                    // The balancer may have given up.
                    Some(line) => drop(stream.write_all(line.as_bytes())),
                    None => silent.push(stream),
                }
            }
        });
        Self { addr, state }
    }

    /// Changes what it says, and waits until it was asked twice since.
    pub(crate) fn say(&self, says: Option<&'static str>) {
        let asked = {
            let mut state = self.state.lock().unwrap();
            state.says = says;
            state.asked
        };
        eventually(HANG, "two questions", || (self.state.lock().unwrap().asked >= asked + 2).then_some(()));
    }
}
