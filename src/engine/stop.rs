//! Stopping: no new connections, open sessions go on for a while, the rest is cut evenly over the last fifth of it.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, sleep_until};

use crate::engine::run::Ears;
use crate::engine::supervisor_link::Order;
use crate::engine::{Engine, StartError};
use crate::log::By;
use crate::proxy::worker::SessionFilter;

/// Drains. `patience`: for so long; `None`: for `hard_stop_after`. A second order to stop ends it at once.
pub(super) async fn stop(daemon: &Rc<Engine>, patience: Option<Duration>, ears: &mut Ears) -> Result<(), StartError> {
    let patience = patience.unwrap_or(daemon.config.borrow().global.hard_stop_after);
    daemon.stopping.set(true);
    ears.admin.let_go();
    daemon.close_listeners().await;
    let open = daemon.global.used();
    if open > 0 {
        tracing::info!("stopping: {open} sessions have up to {}", humantime::format_duration(patience));
    }
    let begun = Instant::now();
    let mut cut = false;
    loop {
        if daemon.global.used() == 0 && !daemon.is_moving() {
            break;
        }
        tokio::select! {
            Some(notice) = ears.heard.recv() => daemon.hear(notice),
            order = ears.orders.next() => match order {
                Order::Stop(_) => {
                    tracing::warn!("stopping at once: {} sessions cut", daemon.global.used());
                    break;
                }
                Order::Progress(line) => daemon.tell_asker(line),
                Order::Orphaned => ears.admin.close(daemon.upgrading()).await,
                Order::Reload => tracing::warn!("reload ignored: stopping"),
                _ => {}
            },
            () = sleep_until((begun + patience * 4 / 5).into()), if !cut => {
                cut = true;
                tracing::warn!("stopping: {} sessions are cut now", daemon.global.used());
                daemon.workers.iter().for_each(|worker| worker.cut(SessionFilter::All, By::Killed, patience / 5));
            }
            // Broken-off streams may still be on their way to a slow reader.
            () = sleep_until((begun + patience + GRACE).into()) => break,
            () = sleep(POLL) => {}
        }
    }
    daemon.log.flush();
    ears.admin.finish().await;
    Ok(())
}

const POLL: Duration = Duration::from_millis(20);
pub(super) const GRACE: Duration = Duration::from_millis(200);

impl Engine {
    async fn close_listeners(&self) {
        let served = std::mem::take(&mut *self.frontends.borrow_mut());
        for (_, served) in served {
            for bound in served.bound {
                self.retire(&served.frontend, bound).await;
            }
        }
    }
}
