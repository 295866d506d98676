//! A session that says how it stands, between two system calls.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::state::Session;
use crate::config;
use crate::log::During;
use crate::proxy::registry::{Demand, Order};
use crate::proxy::relay::Relay;
use crate::proxy::sighting::{Activity, SessionState, Sighting, Wait};

impl Session {
    /// Ready once there is an order. A report that is wanted is made on the way, with the activity of this moment.
    #[inline]
    pub(in crate::proxy) fn poll_order(
        &self,
        cx: &mut Context<'_>,
        activity: impl FnOnce() -> Activity,
    ) -> Poll<Order> {
        match ready!(self.registered.poll_demand(cx)) {
            Demand::Order(order) => Poll::Ready(order),
            Demand::Report => {
                self.sight(activity());
                // Nothing can have come meanwhile: this leaves the waker.
                self.registered.poll_demand(cx).map(|demand| match demand {
                    Demand::Order(order) => order,
                    Demand::Report => unreachable!("a report was just made"),
                })
            }
        }
    }

    #[cold]
    fn sight(&self, activity: Activity) {
        self.registered.report(Sighting {
            id: self.registered.id(),
            frontend: Arc::clone(&self.permit.frontend().name),
            backend: Arc::clone(&self.backend.name),
            client: self.record.client,
            age: self.record.started.elapsed(),
            activity,
        });
    }

    /// What a session does whose bytes move.
    #[cold]
    pub(super) fn relaying(&self, relay: &Relay, settings: &config::Backend) -> Activity {
        Activity {
            state: SessionState::Relaying,
            server: self.server_name(),
            idle: Some(relay.idle()),
            until: relay.deadline(&self.timeouts(settings)).map(|(at, _)| at),
            bytes: relay.bytes(),
        }
    }

    /// What a session does that ends in one of the ways that take time.
    #[cold]
    pub(super) fn closing(&self, until: Instant) -> Activity {
        let wait = Wait::new(until, During::Data);
        Activity { server: self.server_name(), bytes: self.record.bytes, ..wait.activity() }
    }

    fn server_name(&self) -> Option<Arc<str>> {
        self.record.server.as_ref().map(|server| Arc::clone(&server.name))
    }
}
