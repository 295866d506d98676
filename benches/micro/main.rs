//! The parts of `lb` by themselves: the time of a pick, a message through the relay, a hand-off record and a discovery
//! change. `cargo bench --bench micro -- [--quick] [FILTER]`; see criterion for the other options.
//!
//! These show the effect of a change on one part. `--bench compare` compares `lb` with other balancers.

mod fold;
mod handoff;
mod pick;
mod pool;
mod relay;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .configure_from_args();
    pick::bench(&mut criterion);
    relay::bench(&mut criterion);
    handoff::bench(&mut criterion);
    fold::bench(&mut criterion);
    criterion.final_summary();
}
