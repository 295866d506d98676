//! What `lb run` was asked to do: where the configuration comes from, and where the admin socket is.

use std::path::PathBuf;

use crate::config::{self, Config, Problems};

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub(crate) enum ConfigSource {
    File(PathBuf),
    /// `--bind` and `--server`: one frontend and one backend.
    Flags {
        binds: Vec<String>,
        servers: Vec<String>,
    },
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
    pub(crate) fn read(&self) -> Result<Config, Problems> {
        match self {
            Self::File(path) => config::load(path),
            Self::Flags { binds, servers } => config::from_flags(binds, servers),
        }
    }
}
