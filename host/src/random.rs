//! Bytes that nobody can guess.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// So many from the operating system, 256 at most.
///
/// # Errors
/// It gives none, or fewer.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    match getrandom(&mut bytes, GetRandomFlags::empty())? {
        filled if filled == N => Ok(bytes),
        filled => Err(io::Error::other(format!("the system gave {filled} random bytes"))),
    }
}
