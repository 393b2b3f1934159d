//! What kind of network interface a name stands for.

use std::{
    fs, io,
    path::{Path, PathBuf},
    string::String,
};

/// `ARPHRD_CAN`: the type of a CAN interface.
const TYPE_CAN: &str = "280";
/// The mtu of an interface that takes CAN FD frames (`CANFD_MTU`); a classic one has 16.
const FD_MTU: u32 = 72;

/// Whether it is a virtual CAN interface, which no car hangs on.
///
/// # Errors
/// There is no interface with this name.
pub fn is_virtual(interface: &str) -> io::Result<bool> {
    let is_can = attribute(interface, "type")? == TYPE_CAN;
    Ok(is_can && Path::new("/sys/devices/virtual/net").join(interface).exists())
}

/// Whether it takes CAN FD frames.
///
/// # Errors
/// There is no interface with this name.
pub fn is_fd(interface: &str) -> io::Result<bool> {
    let is_can = attribute(interface, "type")? == TYPE_CAN;
    let mtu: u32 = attribute(interface, "mtu")?.parse().map_err(io::Error::other)?;
    Ok(is_can && mtu >= FD_MTU)
}

/// Whether there is an interface with this name, of whatever type.
pub fn exists(interface: &str) -> bool {
    folder(interface).is_some_and(|folder| folder.exists())
}

/// `None` if the text cannot be the name of an interface, so that it never leads elsewhere in the file system.
fn folder(interface: &str) -> Option<PathBuf> {
    let possible = !interface.is_empty() && !interface.starts_with('.') && !interface.contains('/');
    possible.then(|| Path::new("/sys/class/net").join(interface))
}

fn attribute(interface: &str, name: &str) -> io::Result<String> {
    let missing =
        || io::Error::new(io::ErrorKind::NotFound, std::format!("there is no network interface '{interface}'"));
    let folder = folder(interface).ok_or_else(missing)?;
    match fs::read_to_string(folder.join(name)) {
        Ok(text) => Ok(text.trim_end().into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_virtual_but_no_can() {
        assert!(exists("lo"));
        assert!(!is_virtual("lo").unwrap());
        assert!(!is_fd("lo").unwrap());
    }

    #[test]
    fn names_that_are_no_interface() {
        for name in ["", ".", "..", "../net/lo", "no-such-if0", "lo/../lo", "a\0b"] {
            assert!(!exists(name), "{name:?}");
            assert!(is_virtual(name).is_err(), "{name:?}");
        }
        let error = is_fd("no-such-if0").unwrap_err();
        assert_eq!(std::string::ToString::to_string(&error), "there is no network interface 'no-such-if0'");
    }
}
