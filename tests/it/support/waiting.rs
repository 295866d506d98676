//! Clients that may have to wait: each sends one byte and is served once the byte has returned.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use super::client::connect;

#[derive(Debug)]
pub(crate) struct Waiting {
    stream: TcpStream,
    byte: u8,
    served: bool,
}

/// How many have been served so far.
#[track_caller]
pub(crate) fn served(clients: &mut [Waiting]) -> usize {
    clients.iter_mut().filter_map(|client| client.is_served().then_some(())).count()
}

impl Waiting {
    /// Connects this many clients to a balancer in front of an echo.
    #[track_caller]
    pub(crate) fn queue(addr: SocketAddr, count: usize) -> Vec<Self> {
        (0..count).map(|index| Self::new(addr, index as u8)).collect()
    }

    #[track_caller]
    pub(crate) fn new(addr: SocketAddr, byte: u8) -> Self {
        let mut stream = connect(addr).unwrap();
        stream.write_all(&[byte]).unwrap();
        Self { stream, byte, served: false }
    }

    /// Checks whether the byte has returned.
    ///
    /// # Panics
    /// When the connection has ended: it was refused instead of made to wait.
    #[track_caller]
    pub(crate) fn is_served(&mut self) -> bool {
        if !self.served {
            self.stream.set_nonblocking(true).unwrap();
            let mut answer = [0];
            match self.stream.read(&mut answer) {
                Ok(1) => self.served = answer[0] == self.byte,
                Ok(_) => panic!("closed before it was served"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            self.stream.set_nonblocking(false).unwrap();
        }
        self.served
    }

    /// Whether the last check found it served.
    pub(crate) fn was_served(&self) -> bool {
        self.served
    }

    /// Closes with a reset, since after a FIN alone the client would still wait for its answer.
    pub(crate) fn give_up(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Sends a message and receives it back: the session is open.
    #[track_caller]
    pub(crate) fn ping(&mut self) {
        let mut answer = [0; 4];
        self.stream.write_all(b"ping").unwrap();
        self.stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"ping");
    }
}
