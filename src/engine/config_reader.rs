//! Reads the configuration apart from the control thread: a fifo without a writer or a mount that hangs holds up whatever
//! reads from it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::config::{Config, Loaded};
use crate::engine::launch::ConfigSource;

/// Reads one at a time; what hangs is left behind, up to [`MAX_LEFT`] threads.
#[derive(Debug, Default)]
pub(super) struct ConfigReader {
    /// Each thread that reads has a duplicate.
    reading: Arc<()>,
    /// What an haproxy.cfg asks for that is done otherwise here; said once, and again when it is new.
    said: Arc<Mutex<BTreeSet<String>>>,
}

impl ConfigReader {
    /// Begins to read. The future is ready after [`READ_LIMIT`] at the latest.
    pub(super) fn read(&self, source: &ConfigSource) -> impl Future<Output = Result<Box<Config>, String>> + 'static {
        let started = self.start(source.clone());
        async move {
            match timeout(READ_LIMIT, started?).await {
                Ok(Ok(read)) => read,
                // A panic of the thread.
                Ok(Err(_)) => Err("a bug of lb: it panicked, and stderr has the place".to_owned()),
                Err(_) => Err(format!(
                    "the file could not be read within {} s; is it a pipe without a writer, or on a mount that hangs?",
                    READ_LIMIT.as_secs()
                )),
            }
        }
    }

    /// Says the notices that are new. `aloud`: on stderr; the engine before this one has said them otherwise.
    pub(super) fn settle(&self, loaded: Loaded, aloud: bool) -> Config {
        say_new(&self.said, &loaded, aloud);
        loaded.config
    }

    fn start(&self, source: ConfigSource) -> Result<oneshot::Receiver<Result<Box<Config>, String>>, String> {
        if Arc::strong_count(&self.reading) > MAX_LEFT {
            return Err(format!("{MAX_LEFT} earlier attempts to read the file still hang; mend its mount"));
        }
        let (reading, said) = (Arc::clone(&self.reading), Arc::clone(&self.said));
        let (answer, read) = oneshot::channel();
        let thread = thread::Builder::new().name("lb-config".to_owned()).spawn(move || {
            let _reading = reading;
            let config = source.read().map_err(|problems| problems.to_string()).map(|loaded| {
                say_new(&said, &loaded, true);
                Box::new(loaded.config)
            });
            // An error: it came too late.
            answer.send(config).ok();
        });
        thread.map(|_| read).map_err(|error| format!("cannot start a thread that reads the file: {error}"))
    }
}

fn say_new(said: &Mutex<BTreeSet<String>>, loaded: &Loaded, aloud: bool) {
    let notices: BTreeSet<_> = loaded.notices.iter().map(ToString::to_string).collect();
    let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
    for notice in loaded.notices.iter().map(ToString::to_string).filter(|notice| aloud && !said.contains(notice)) {
        tracing::warn!("{notice}");
    }
    *said = notices;
}

const READ_LIMIT: Duration = Duration::from_secs(5);
const MAX_LEFT: usize = 4;
