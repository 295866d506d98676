//! A backend for measurements.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use lb::internals::backend::{Backend, MemberOrigin, MemberSpec};
use lb::internals::config::{self, Balance};

/// Servers `s0`, `s1`, … that are never connected to.
pub(crate) fn backend(balance: Balance, servers: u16) -> Arc<Backend> {
    let mut settings = config::Backend::new("app", Vec::new());
    settings.balance = balance;
    let settings = Arc::new(settings);
    let backend = Backend::new(Arc::clone(&settings));
    let specs = (0..servers).map(|index| MemberSpec {
        port_shift: None,
        host: None,
        name: format!("s{index}"),
        addr: SocketAddr::from(([10, 0, 0, 1], 1 + index)).into(),
        weight: config::Weight::default(),
        maxconn: None,
        backup: false,
        disabled: false,
        options: Arc::default(),
        drain: false,
        origin: MemberOrigin::Static,
    });
    backend.apply(settings, specs.collect(), Instant::now()).expect("there is room for a thousand servers");
    backend
}
