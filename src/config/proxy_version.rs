//! `send_proxy`: the versions of the PROXY protocol.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    V1,
    V2,
}

impl ProxyVersion {
    pub(super) const WORDS: [(&str, Option<Self>); 3] =
        [("v1", Some(Self::V1)), ("v2", Some(Self::V2)), ("none", None)];
}
