//! Network interfaces by name and number: the scope of a link-local address.

use std::ffi::CString;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_indextoname, if_nameindex, if_nametoindex};

/// The number of the interface of this name, or of this number where there is one.
pub(crate) fn index_of(scope: &str) -> Option<u32> {
    let by_number = || {
        scope.parse::<i32>().ok().and_then(|index| u32::try_from(index).ok()).filter(|index| name_of(*index).is_some())
    };
    if_nametoindex(scope).ok().or_else(by_number)
}

pub(crate) fn name_of(index: u32) -> Option<String> {
    // The wrapper of nix gives an empty name for an error.
    let name = if_indextoname(index).ok().and_then(|name| CString::into_string(name).ok());
    name.filter(|name| !name.is_empty())
}

/// The names of all: those that are up first, and of them the loopback interface last.
pub(crate) fn names() -> Vec<String> {
    let Ok(all) = if_nameindex() else {
        return Vec::new();
    };
    let up = |flags: InterfaceFlags| flags.contains(InterfaceFlags::IFF_UP);
    let up: Vec<_> = getifaddrs().into_iter().flatten().filter(|address| up(address.flags)).collect();
    let mut names: Vec<_> = all.iter().map(|interface| interface.name().to_string_lossy().into_owned()).collect();
    names.sort_by_key(|name| (!up.iter().any(|address| address.interface_name == *name), name == "lo"));
    names
}
