//! Stopping: no new connections, open sessions go on for a while, the rest is cut evenly over the last fifth of it.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until};

use super::{Daemon, Signals, StartError, Word, tell_systemd};
use crate::log::By;
use crate::proxy::Notice;
use crate::proxy::worker::Whose;

/// Drains. `patience`: for so long; `None`: for `hard_stop_after`. A second signal ends it at once.
pub(super) async fn stop(
    daemon: &Rc<Daemon>,
    patience: Option<Duration>,
    signals: &mut Signals,
    heard: &mut mpsc::Receiver<Notice>,
) -> Result<(), StartError> {
    tell_systemd(&[sd_notify::NotifyState::Stopping]);
    let patience = patience.unwrap_or(daemon.config.borrow().global.hard_stop_after);
    daemon.close_listeners().await;
    let open = daemon.global.used();
    if open > 0 {
        tracing::info!(
            "stopping: {open} sessions have up to {}",
            humantime::format_duration(patience)
        );
    }
    let begun = Instant::now();
    let mut cut = false;
    loop {
        if daemon.global.used() == 0 {
            break;
        }
        tokio::select! {
            Some(notice) = heard.recv() => daemon.hear(notice),
            word = signals.next() => match word {
                Word::Stop(_) => {
                    tracing::warn!("stopping at once: {} sessions cut", daemon.global.used());
                    break;
                }
                Word::Reload => tracing::warn!("reload ignored: stopping"),
            },
            () = sleep_until((begun + patience * 4 / 5).into()), if !cut => {
                cut = true;
                tracing::warn!("stopping: {} sessions are cut now", daemon.global.used());
                daemon.workers.iter().for_each(|worker| worker.cut(Whose::All, By::Killed, patience / 5));
            }
            // Broken-off streams may still be on their way to a slow reader.
            () = sleep_until((begun + patience + GRACE).into()) => break,
            () = sleep(POLL) => {}
        }
    }
    daemon.log.flush();
    // The admin socket's path goes with its listener.
    std::fs::remove_file(&daemon.socket).ok();
    Ok(())
}

const POLL: Duration = Duration::from_millis(20);
const GRACE: Duration = Duration::from_millis(200);

impl Daemon {
    async fn close_listeners(&self) {
        let served = std::mem::take(&mut *self.frontends.borrow_mut());
        for (_, served) in served {
            for bound in served.bound {
                self.retire(&served.frontend, bound).await;
            }
        }
    }
}
