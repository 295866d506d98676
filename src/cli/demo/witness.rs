//! One connection that stays open from the beginning of the load to its end, upgrade included, with one request
//! after the other.
//!
//! It leads to a server that the script leaves alone: only the balancer can make it fail.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::load::{ask, connect, within_deadline};

/// The open connection.
#[derive(Debug)]
pub(super) struct Witness {
    ending: Rc<Cell<bool>>,
    task: JoinHandle<Result<u64, String>>,
}

/// Between two requests: short enough that some fall into the moment of the move.
const PACE: Duration = Duration::from_millis(2);

impl Witness {
    /// Opens connections until one leads to `server`, and keeps that. Needs a runtime with `spawn_local`.
    pub(super) fn start(front: SocketAddr, server: &'static str) -> Self {
        let ending = Rc::new(Cell::new(false));
        let stop = Rc::clone(&ending);
        let task = tokio::task::spawn_local(async move { watch(front, server, &stop).await });
        Self { ending, task }
    }

    /// Requests that were answered on the one connection, or why it failed.
    pub(super) async fn end(self) -> Result<u64, String> {
        self.ending.set(true);
        self.task.await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

async fn watch(front: SocketAddr, server: &str, ending: &Cell<bool>) -> Result<u64, String> {
    let mut stream = find(front, server).await?;
    let mut answered = 1;
    while !ending.get() {
        let answer = within_deadline(ask(&mut stream, true)).await;
        match answer {
            Ok(name) if name == server => answered += 1,
            Ok(name) => return Err(format!("after {answered} requests {name} answered")),
            Err(failure) => return Err(format!("after {answered} requests: {failure}")),
        }
        sleep(PACE).await;
    }
    Ok(answered)
}

/// A connection to that server: with `roundrobin` a few attempts are enough.
async fn find(front: SocketAddr, server: &str) -> Result<TcpStream, String> {
    for _ in 0..100 {
        let asked = within_deadline(async {
            let mut stream = connect(front).await?;
            let name = ask(&mut stream, true).await?;
            Ok((stream, name))
        });
        match asked.await {
            Ok((stream, name)) if name == server => return Ok(stream),
            Ok(_) => {}
            Err(failure) => return Err(format!("could not be opened: {failure}")),
        }
    }
    Err(format!("never came to {server}"))
}
