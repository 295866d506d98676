//! HAProxy's runtime API: what its stats socket understands and answers, word for word.
//!
//! A second spelling of the admin socket's requests and of `Status`, and nothing else: nothing here counts or changes
//! anything by itself. `line` makes commands of bytes, `keyword` knows them, `command` reads their arguments, `perform`
//! carries them out by requests, `client` is a connection. Renderings (`stat`, `info`, `state`, `session`) are pure
//! functions of what a request answers.
//!
//! Limits: so many clients at once (more wait in the kernel's queue), each with a bounded line, one answer at a time and
//! a time to be silent or not to read. Who may connect is a matter of the socket's mode and address; what a client may do,
//! of its level.

mod answer;
mod check_words;
mod client;
mod column;
mod command;
mod console;
mod help;
mod info;
mod json;
mod keyword;
mod line;
mod master;
mod numbers;
mod perform;
mod role;
mod row;
mod row_flags;
mod server_command;
mod session;
mod show;
mod standing;
mod stat;
mod stat_rows;
mod state;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_local;
use tokio::time::sleep;

use self::client::ApiClient;
pub(crate) use self::console::Asks;
use self::console::Console;
pub(crate) use self::role::SocketRole;
use crate::config::SocketLevel;
use crate::pace::Backoff;

/// Everything that answers HAProxy's commands. Cheap to clone.
#[derive(Clone)]
pub(crate) struct HaproxyApi {
    console: Rc<Console>,
    room: Arc<Semaphore>,
}

/// A socket that listens for clients.
pub(crate) enum ApiListener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl HaproxyApi {
    pub(crate) fn new(asks: Asks) -> Self {
        let console = Console { asks, places: RefCell::default(), silence: Cell::new(Duration::from_secs(10)) };
        Self { console: Rc::new(console), room: Arc::new(Semaphore::new(CLIENTS)) }
    }

    /// `places`: as `show cli sockets` lists them; `silence`: how long a client may be silent, or not read.
    pub(crate) fn configure(&self, places: Vec<(String, SocketLevel)>, silence: Duration) {
        *self.console.places.borrow_mut() = places;
        self.console.silence.set(silence);
    }

    /// Answers clients until dropped. Those that are there then are answered on.
    pub(crate) async fn serve(self, listener: ApiListener, role: SocketRole) -> Infallible {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(100));
        loop {
            // A place first: without one, clients wait in the kernel's queue.
            let place = Arc::clone(&self.room).acquire_owned().await.expect("the semaphore is never closed");
            let accepted = match &listener {
                ApiListener::Unix(listener) => {
                    listener.accept().await.map(|(stream, _)| self.answer(stream, role, place))
                }
                ApiListener::Tcp(listener) => {
                    listener.accept().await.map(|(stream, _)| self.answer(stream, role, place))
                }
            };
            match accepted {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    // Mostly out of descriptors; at once again would spin.
                    tracing::warn!(%error, "haproxy_socket: cannot accept");
                    sleep(backoff.delay()).await;
                }
            }
        }
    }

    fn answer(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        role: SocketRole,
        place: OwnedSemaphorePermit,
    ) {
        let client = ApiClient::new(stream, Rc::clone(&self.console), role);
        spawn_local(async move {
            match client.run().await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                Err(error) => tracing::debug!(%error, "client of haproxy_socket lost"),
            }
            drop(place);
        });
    }
}

/// At once, over all sockets.
const CLIENTS: usize = 128;
