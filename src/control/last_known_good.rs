//! Last known good: the servers that were applied last, one file a backend, for a start without the source.
//!
//! The file is replaced as a whole (temporary file, fsync, rename, fsync of the directory), so that it is the old set or
//! the new one, whatever happens in between. It begins with a line that names the format, its version and the checksum
//! of the rest, which is JSON: readable by people, and checked before it is believed. A file that cannot be believed is
//! set aside, never used and never in the way. Not being able to write costs nothing but the next start without etcd.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::discovery::Discovered;
use crate::config::{Address, MAX_SERVERS, Weight};

/// What is kept of one backend. Also what one process hands to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The prefix it was found under: another prefix has other servers.
    pub prefix: String,
    pub cluster_id: u64,
    pub revision: i64,
    /// Seconds since 1970, to show an age.
    pub saved_at: u64,
    pub servers: Vec<SavedServer>,
}

/// One server of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedServer {
    pub name: String,
    pub addr: String,
    pub weight: u16,
    pub maxconn: Option<u32>,
    pub backup: bool,
    /// Lease of its key; 0: none.
    pub lease: i64,
}

/// Why there is no last known good set.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is damaged ({why}); it is kept as {aside}")]
    Damaged { path: PathBuf, why: Damage, aside: PathBuf },
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("it does not begin as such a file does")]
    NoHeader,
    #[error("its version is {0}, which this program does not know")]
    Version(String),
    #[error("its checksum is wrong")]
    Checksum,
    #[error("{0}")]
    Content(String),
}

/// The set could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}")]
pub struct SaveError {
    pub path: PathBuf,
    pub source: io::Error,
}

impl Saved {
    /// `servers` as [`Discovery::saved`](super::discovery::Discovery::saved) gives them.
    pub fn new(
        prefix: &str,
        cluster_id: u64,
        revision: i64,
        saved_at: u64,
        servers: Vec<(String, Discovered, i64)>,
    ) -> Self {
        let servers = servers.into_iter().map(SavedServer::from).collect();
        let prefix = prefix.to_owned();
        Self { prefix, cluster_id, revision, saved_at, servers }
    }

    /// The servers as [`Discovery::resume`](super::discovery::Discovery::resume) takes them.
    pub fn servers(&self) -> Result<Vec<(String, Discovered, i64)>, Damage> {
        if self.servers.len() > 2 * MAX_SERVERS {
            return Err(Damage::Content("it has too many servers".to_owned()));
        }
        self.servers.iter().map(SavedServer::read).collect()
    }

    /// The bytes of a file, or of a message to the next process.
    pub fn encode(&self) -> Vec<u8> {
        let body = serde_json::to_vec_pretty(self).expect("numbers, texts and lists can be written as JSON");
        let sum = crc32fast::hash(&body);
        [format!("{MAGIC} {VERSION} {sum:08x}\n").into_bytes(), body].concat()
    }

    /// Reads what [`encode`](Self::encode) wrote; believes nothing.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damage> {
        let end = bytes.iter().position(|b| *b == b'\n').ok_or(Damage::NoHeader)?;
        let (header, body) = (&bytes[..end], &bytes[end + 1..]);
        let header = std::str::from_utf8(header).map_err(|_| Damage::NoHeader)?;
        let [MAGIC, version, sum] = header.split(' ').collect::<Vec<_>>()[..] else {
            return Err(Damage::NoHeader);
        };
        if version != VERSION {
            return Err(Damage::Version(version.chars().take(20).collect()));
        }
        if sum != format!("{:08x}", crc32fast::hash(body)) {
            return Err(Damage::Checksum);
        }
        let saved: Self = serde_json::from_slice(body).map_err(|error| Damage::Content(error.to_string()))?;
        saved.servers()?;
        Ok(saved)
    }

    /// The set of `backend` in `state_dir`. `None`: there is none yet. A damaged file is set aside, and said so.
    pub fn load(state_dir: &Path, backend: &str) -> Result<Option<Self>, LoadError> {
        let path = path_of(state_dir, backend);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LoadError::Read { path, source }),
        };
        let why = match Self::decode(&bytes) {
            Ok(saved) => return Ok(Some(saved)),
            Err(why) => why,
        };
        let aside = path.with_extension("damaged");
        // On a read-only disk it stays where it is, and is refused again next time.
        match fs::rename(&path, &aside) {
            Ok(()) => Err(LoadError::Damaged { path, why, aside }),
            Err(_) => Err(LoadError::Damaged { aside: path.clone(), path, why }),
        }
    }

    /// Replaces the set of `backend` in `state_dir`. Blocks on the disk.
    pub fn save(&self, state_dir: &Path, backend: &str) -> Result<(), SaveError> {
        let path = path_of(state_dir, backend);
        // In an upgrade two processes may write at once: each its own.
        let temporary = path.with_extension(format!("new-{}", std::process::id()));
        replace(state_dir, &temporary, &path, &self.encode()).map_err(|source| {
            // What was half written must not fill the disk; whether it can be removed changes nothing.
            fs::remove_file(&temporary).ok();
            SaveError { path, source }
        })
    }
}

impl SavedServer {
    fn read(&self) -> Result<(String, Discovered, i64), Damage> {
        let bad = |why: String| Damage::Content(format!("server {}: {why}", self.name));
        let addr: Address = self.addr.parse().map_err(|error| bad(format!("{error}")))?;
        let weight = Weight::new(self.weight).ok_or_else(|| bad(format!("weight {} is too large", self.weight)))?;
        let server = Discovered { addr, weight, maxconn: self.maxconn, backup: self.backup };
        Ok((self.name.clone(), server, self.lease))
    }
}

impl From<(String, Discovered, i64)> for SavedServer {
    fn from((name, server, lease): (String, Discovered, i64)) -> Self {
        Self {
            name,
            addr: server.addr.to_string(),
            weight: server.weight.get(),
            maxconn: server.maxconn,
            backup: server.backup,
            lease,
        }
    }
}

fn path_of(state_dir: &Path, backend: &str) -> PathBuf {
    state_dir.join(format!("{backend}.servers"))
}

fn replace(dir: &Path, temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    // The rename itself is only on the disk once the directory is.
    File::open(dir)?.sync_all()
}

const MAGIC: &str = "lb-servers";
const VERSION: &str = "1";

#[cfg(test)]
mod tests;
