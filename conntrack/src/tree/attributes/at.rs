//! setxattrat(2) and its like, which Linux has had since 6.13: an attribute of a name in a directory
//! that is open, in one system call. Neither rustix nor libc has functions for them.

use std::{
    ffi::CStr,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use libc::{AT_SYMLINK_NOFOLLOW, c_int, c_long};
use rustix::io::{Errno, Result};

// The same on every architecture that we build for (the kernel's scripts/syscall.tbl).
const SYS_SETXATTRAT: c_long = 463;
const SYS_GETXATTRAT: c_long = 464;
const SYS_REMOVEXATTRAT: c_long = 466;

/// The kernel's `struct xattr_args` (include/uapi/linux/xattr.h).
#[repr(C, align(8))]
struct Arguments {
    value: u64,
    size: u32,
    flags: u32,
}

const _: () = assert!(size_of::<Arguments>() == 16);

/// Whether this kernel has them, and nothing keeps us from calling them.
pub(super) fn are_there(directory: BorrowedFd<'_>) -> bool {
    // There is no file without a name.
    set(directory, c"", c"user.conntrack.probe", b"") == Err(Errno::NOENT)
}

pub(super) fn set(
    directory: BorrowedFd<'_>,
    name: &CStr,
    attribute: &CStr,
    value: &[u8],
) -> Result<()> {
    let arguments = Arguments { value: value.as_ptr() as u64, size: size(value)?, flags: 0 };
    call(SYS_SETXATTRAT, directory, name, attribute, &arguments).map(drop)
}

/// The number of octets that were written to the start of `value`.
pub(super) fn get(
    directory: BorrowedFd<'_>,
    name: &CStr,
    attribute: &CStr,
    value: &mut [u8],
) -> Result<usize> {
    let size = size(value)?;
    let arguments = Arguments { value: value.as_mut_ptr() as u64, size, flags: 0 };
    call(SYS_GETXATTRAT, directory, name, attribute, &arguments)
}

pub(super) fn remove(directory: BorrowedFd<'_>, name: &CStr, attribute: &CStr) -> Result<()> {
    let none = Arguments { value: 0, size: 0, flags: 0 };
    call(SYS_REMOVEXATTRAT, directory, name, attribute, &none).map(drop)
}

fn size(value: &[u8]) -> Result<u32> {
    u32::try_from(value.len()).map_err(|_too_long| Errno::TOOBIG)
}

#[expect(unsafe_code, reason = "no crate has these system calls")]
fn call(
    number: c_long,
    directory: BorrowedFd<'_>,
    name: &CStr,
    attribute: &CStr,
    arguments: &Arguments,
) -> Result<usize> {
    let flags: c_int = AT_SYMLINK_NOFOLLOW;
    // SAFETY: the descriptor is open, both names end with NUL, and `arguments` is what the kernel
    // takes it for; its value is as long as it says: of a slice that the caller has borrowed, mutably
    // where the kernel writes to it. removexattrat(2) looks at neither of the last two.
    let answer = unsafe {
        libc::syscall(
            number,
            directory.as_raw_fd(),
            name.as_ptr(),
            flags,
            attribute.as_ptr(),
            &raw const *arguments,
            size_of::<Arguments>(),
        )
    };
    usize::try_from(answer).map_err(|_negative| last_error())
}

fn last_error() -> Errno {
    let error = std::io::Error::last_os_error();
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
