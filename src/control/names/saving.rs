//! The table's file in `state_dir`: written whenever the table has changed, and again until that succeeds.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::saved::SavedNames;
use crate::control::state_file::{SaveRetry, StateFile};

/// Where the table is kept, and what is to be written there.
#[derive(Debug)]
pub(super) struct NamesFile {
    content: watch::Sender<FileContent>,
}

/// Content of the file. Of several changes the last one is written.
#[derive(Debug, Clone, Default)]
pub(super) struct FileContent {
    /// `None`: nothing is kept.
    dir: Option<PathBuf>,
    bytes: Vec<u8>,
}

impl NamesFile {
    /// It is kept nowhere yet. The other end is for [`keep`].
    pub(super) fn new() -> (Self, watch::Receiver<FileContent>) {
        let (content, written) = watch::channel(FileContent::default());
        (Self { content }, written)
    }

    pub(super) fn keep_in(&self, dir: Option<PathBuf>) {
        self.content.send_if_modified(|content| {
            let moved = content.dir != dir;
            content.dir = dir;
            moved && !content.bytes.is_empty()
        });
    }

    pub(super) fn load(&self) -> Option<SavedNames> {
        let dir = self.content.borrow().dir.clone()?;
        let file = StateFile { dir: &dir, name: NAME, kind: KIND };
        file.load(SavedNames::decode).unwrap_or_else(|error| {
            tracing::warn!("last known addresses of host names: {error}");
            None
        })
    }

    pub(super) fn write(&self, table: &SavedNames) {
        let bytes = table.encode();
        self.content.send_if_modified(|content| {
            let changed = content.bytes != bytes;
            content.bytes = bytes;
            changed
        });
    }
}

/// Writes what changes, off this thread: a disk may stall for seconds. Returns when the other end is gone.
pub(super) async fn keep(mut content: watch::Receiver<FileContent>) {
    let mut retry = SaveRetry::default();
    loop {
        tokio::select! {
            changed = content.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = retry.due() => {}
        }
        let FileContent { dir, bytes } = content.borrow_and_update().clone();
        let Some(dir) = dir else { continue };
        let save = move || StateFile { dir: &dir, name: NAME, kind: KIND }.save(&bytes);
        if let Ok(outcome) = spawn_blocking(save).await {
            retry.after("last known addresses of host names", outcome);
        }
        sleep(PAUSE).await;
    }
}

/// No backend can have this name.
const NAME: &str = "@names";
const KIND: &str = "addresses";
/// Between two writes: the answers for many names may change all the time.
const PAUSE: Duration = Duration::from_secs(1);
