//! Heritage: the new engine's part until sessions come: the state of the old one, and the counts that go to and fro
//! while either of them may have to answer.

use super::peer_link::{PeerLink, PeerLinkError};
use super::returns::Returns;
use super::{import, places};
use crate::config::Config;
use crate::engine::listeners::Listeners;
use crate::engine::pools::Pools;
use crate::engine::supervisor_link::PeerEnd;

/// What a new engine has from the old one.
#[derive(Debug, Default)]
pub(in crate::engine) struct Heritage {
    /// The state is imported; sessions may come once it serves.
    pub(super) link: Option<PeerLink>,
    /// The old one may have to continue.
    returns: Option<Returns>,
    /// The old one has counts that it has answered with and this one has not.
    awaits_counts: bool,
}

impl Heritage {
    /// Lets the old one know the counts that are about to be answered with.
    pub(in crate::engine) fn report_counts(&mut self, listeners: &Listeners, pools: &Pools) {
        if let Some(returns) = &mut self.returns
            && returns.report(listeners, pools).is_err()
        {
            // The old engine is no more, or hands over already.
            self.returns = None;
        }
    }

    /// Whether the counts are not complete yet that the old one has answered with.
    pub(in crate::engine) fn awaits_counts(&self) -> bool {
        self.awaits_counts
    }

    /// Answers without them.
    pub(in crate::engine) fn expect_no_counts(&mut self) {
        self.awaits_counts = false;
    }

    /// Takes over the state of the old one. The servers of `config` must be there already. For the start:
    /// it takes seconds.
    pub(in crate::engine) async fn import(
        &mut self,
        end: PeerEnd,
        config: &Config,
        listeners: &Listeners,
        pools: &mut Pools,
    ) -> Result<(), PeerLinkError> {
        let mut link = PeerLink::new(end)?;
        match import::import(&mut link, config, listeners, pools).await {
            Ok(agreed) => {
                self.awaits_counts = agreed.counts_return();
                self.returns = self.awaits_counts.then(|| Returns::new(link.sender(), listeners, pools));
                self.link = Some(link);
            }
            // The supervisor ends an engine that hangs, and this one is to serve in its place.
            Err(error) if !matches!(error, PeerLinkError::Silent) && link.is_dead().await => {
                tracing::warn!("hand-off: {error}: serving without the state of the engine before this one");
                places::release(listeners, pools);
                import::begin_without(config, pools).await;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// No counts go either way any more.
    pub(super) fn settle(&mut self) {
        (self.returns, self.awaits_counts) = (None, false);
    }
}
