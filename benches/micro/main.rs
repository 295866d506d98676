//! The parts of `lb` by themselves: what a pick, a message through the relay, a hand-off record and a discovery change
//! take. `cargo bench --bench micro -- [--quick] [FILTER]`; see criterion for the other options.
//!
//! These tell what a change does to one part. How `lb` compares with others is told by `--bench compare`.

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
