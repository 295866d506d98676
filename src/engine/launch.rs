//! What `lb run` was asked to do: where the configuration comes from, and where the admin socket is.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{self, Loaded, Problems};
use crate::sys::process::contents;

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub(crate) enum ConfigSource {
    Files {
        /// At least one.
        paths: Vec<PathBuf>,
        skip_refused: bool,
    },
    /// The supervisor has read the file once and keeps what it held.
    Kept { name: PathBuf, text: Arc<File>, skip_refused: bool },
    /// `--bind` and `--server`: one frontend and one backend.
    Flags { binds: Vec<String>, servers: Vec<String> },
}

/// The options of `lb engine`.
#[derive(Debug, Clone)]
pub(crate) struct LaunchOptions {
    pub source: ConfigSource,
    /// Admin socket given on the command line; takes precedence over the configuration's.
    pub socket: Option<PathBuf>,
    /// Where the admin socket may be when neither names a place.
    pub usual_sockets: Vec<PathBuf>,
}

impl ConfigSource {
    /// Reads the configuration as it is now.
    pub(crate) fn read(&self) -> Result<Loaded, Problems> {
        match self {
            Self::Files { paths, skip_refused } => config::load_files(paths, *skip_refused),
            Self::Kept { name, text, skip_refused } => {
                config::load_bytes(&name.display().to_string(), &contents(text).unwrap_or_default(), *skip_refused)
            }
            Self::Flags { binds, servers } => {
                config::from_flags(binds, servers).map(|config| Loaded { config, notices: Vec::new() })
            }
        }
    }
}
