//! The takeover socket of a supervisor that is named by its pid, as `haproxy -sf PID` does: `PID.sock` in a directory
//! of the user.

use std::env;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::supervisor::stderr::print;
use crate::supervisor::takeover::socket::{Claimed, TakeoverSocket};
use crate::sys::local::{self, LocalKind};

/// The socket of the process with this pid, if it is an `lb` of this user or root.
pub(crate) fn path_of(pid: u32) -> Option<PathBuf> {
    folders()
        .into_iter()
        .map(|folder| folder.join(file(pid)))
        .filter(|path| TakeoverSocket::is_trustworthy(path))
        .find(|path| local::connect(path, LocalKind::Seqpacket).is_ok())
}

/// Listens for a successor. Without a place for it the supervisor serves all the same.
pub(crate) fn claim() -> Option<(PathBuf, TakeoverSocket)> {
    let mut refusal = String::new();
    for path in folders().into_iter().map(|folder| folder.join(file(std::process::id()))) {
        match TakeoverSocket::claim(&path) {
            Ok(Claimed::Ours(socket)) => {
                socket.sweep();
                return Some((path, socket));
            }
            // The same pid in another namespace.
            Ok(Claimed::Answered(_)) => refusal = format!("another lb answers at {}", path.display()),
            Err(error) => refusal = error.to_string(),
        }
    }
    print(format!("no lb can take over from this one by its pid (-sf): {refusal}"));
    None
}

/// The path for this pid beside one for another pid; `None`: it is none for a pid.
pub(crate) fn own_path_beside(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| folders().iter().any(|one| one == folder))?;
    Some(folder.join(file(std::process::id())))
}

fn file(pid: u32) -> String {
    format!("{pid}.sock")
}

fn folders() -> Vec<PathBuf> {
    let user = geteuid();
    let own = match user.is_root() {
        true => Some(PathBuf::from("/run")),
        false => env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute()),
    };
    let own = own.map(|folder| folder.join("lb-takeover"));
    own.into_iter().chain([format!("/tmp/lb-takeover-{user}").into()]).collect()
}
