//! Source: what is read from one, in the words of etcd v3. Nothing here is understood yet.

/// One key of a listing, or of a put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kv {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub mod_revision: i64,
    /// 0: none.
    pub lease: i64,
}

/// The whole prefix at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    pub cluster_id: u64,
    pub revision: i64,
    pub kvs: Vec<Kv>,
}

/// One change of one key. The lease of a deleted key is the one of its last put, which the view remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Put(Kv),
    Delete { key: Vec<u8>, mod_revision: i64 },
}

/// Why watching cannot continue from the revision seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Relist {
    #[error("nothing was listed yet")]
    First,
    #[error("the cluster is another one (id {now:x}, before {before:x})")]
    OtherCluster { before: u64, now: u64 },
    #[error("the revision went back from {before} to {now}")]
    Backwards { before: i64, now: i64 },
}

impl Event {
    pub(super) fn mod_revision(&self) -> i64 {
        match self {
            Self::Put(kv) => kv.mod_revision,
            Self::Delete { mod_revision, .. } => *mod_revision,
        }
    }
}
