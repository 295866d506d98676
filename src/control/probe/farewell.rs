//! The end of a check's connection, after its verdict: the server gets to its own end of it and sees a FIN, where an RST
//! in the middle of its answer would be an error in its log at every check.

use std::pin::pin;
use std::time::Duration;

use tokio::select;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::conn::Conn;

/// A connection that has served its check, if there is one to end in order.
#[derive(Default)]
pub(crate) struct Farewell(Option<Conn>);

/// Which side closes first; it keeps a TIME_WAIT.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstToClose {
    /// It was asked to: a FIN from here in the middle of its answer would look like a client that gave up.
    Server,
    Check,
}

impl Farewell {
    pub(super) fn new(conn: Conn, first: FirstToClose) -> Self {
        conn.will_close_in_order();
        if first == FirstToClose::Check {
            conn.shutdown_write();
        }
        Self(Some(conn))
    }

    /// Until `rest` is over, reads what the server still sends, within limits; for an answer that takes longer than the
    /// time between two checks, beyond that.
    pub(crate) async fn during<T>(self, rest: impl Future<Output = T>) -> T {
        let Some(conn) = self.0 else {
            return rest.await;
        };
        let (mut rest, mut end) = (pin!(rest), Box::pin(read_out(conn)));
        select! {
            biased;
            () = &mut end => rest.await,
            over = &mut rest => {
                if let Ok(place) = BEYOND.try_acquire() {
                    tokio::spawn(async move {
                        end.await;
                        drop(place);
                    });
                }
                over
            }
        }
    }
}

async fn read_out(mut conn: Conn) {
    // Running out of time is one way to end it.
    timeout(LONGEST, conn.drain(MOST)).await.ok();
}

/// For the rest of an answer; a server that is told to close and does not is left then.
const LONGEST: Duration = Duration::from_secs(1);

/// Of an answer behind what the check judged. A page may be that long; a stream without end is cut off.
const MOST: u64 = 1024 * 1024;

/// Connections that are read out while their server has its next check already.
static BEYOND: Semaphore = Semaphore::const_new(64);
