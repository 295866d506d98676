//! The events during the load, and their times.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::error::DemoError;
use super::load::Load;
use super::report::Live;
use super::stage::DemoStage;
use crate::config::AdminState;

#[derive(Debug, Clone, Copy)]
enum DemoEvent {
    Kill(&'static str),
    Return(&'static str),
    Drain(&'static str),
    Ready(&'static str),
    Upgrade,
}

/// Steps, with their times in hundredths of the whole.
const SCRIPT: [(u32, DemoEvent); 5] = [
    (25, DemoEvent::Kill("bert")),
    (50, DemoEvent::Return("bert")),
    (55, DemoEvent::Drain("carl")),
    (70, DemoEvent::Ready("carl")),
    (75, DemoEvent::Upgrade),
];

/// Plays the script for `whole`, and shows the state once a second.
pub(super) async fn play(
    stage: &mut DemoStage,
    load: &Load,
    live: &mut Live,
    whole: Duration,
) -> Result<(), DemoError> {
    let begin = Instant::now();
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once, when there is nothing to show yet.
    seconds.tick().await;
    let mut steps = SCRIPT.iter().peekable();
    loop {
        let next = steps.peek().map_or(whole, |(when, _)| whole * *when / 100);
        tokio::select! {
            () = sleep_until(begin + next) => match steps.next() {
                Some((_, step)) => live.event(&step.take(stage).await?),
                None => return Ok(()),
            },
            _ = seconds.tick() => live.show(begin.elapsed(), load).await,
            error = stage.balancer_ended() => return Err(error),
        }
    }
}

impl DemoEvent {
    /// Carries it out; returns its description.
    async fn take(self, stage: &mut DemoStage) -> Result<String, DemoError> {
        Ok(match self {
            Self::Kill(name) => format!("{name} is killed (SIGKILL to pid {})", stage.kill_server(name).await?),
            Self::Return(name) => {
                stage.return_server(name).await?;
                format!("{name} is back")
            }
            Self::Drain(name) => {
                stage.administer(name, AdminState::Drain).await?;
                format!("{name} is drained (lb server drain demo/{name})")
            }
            Self::Ready(name) => {
                stage.administer(name, AdminState::Ready).await?;
                format!("{name} is ready again (lb server ready demo/{name})")
            }
            Self::Upgrade => format!("the balancer is replaced (lb upgrade): {}", stage.upgrade().await?),
        })
    }
}
