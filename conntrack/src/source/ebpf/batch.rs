//! `BPF_MAP_LOOKUP_AND_DELETE_BATCH` on a hash map (Linux 5.6): takes many entries out of a map with
//! one system call. aya has no call for it; the one system call here is all that is `unsafe`.
#![expect(unsafe_code, reason = "bpf(2) reads and writes through pointers in its argument")]

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use aya::Pod;

/// Entries that are asked for at once; grown where a bucket of the map has more.
const ENTRIES: usize = 4096;

/// `enum bpf_cmd` (`include/uapi/linux/bpf.h`).
const LOOKUP_AND_DELETE_BATCH: libc::c_int = 25;

/// The `batch` member of `union bpf_attr` (`include/uapi/linux/bpf.h`).
#[repr(C)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Where a walk goes on: the number of a hash map's bucket.
type Position = u32;

/// Takes all entries out of a hash map and hands them to `each`.
///
/// An entry that comes in while this goes on may be taken or left for the next time.
///
/// # Errors
/// The kernel's; what was handed out by then is out of the map.
pub(super) fn take_all<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    mut each: impl FnMut(K, V),
) -> io::Result<()> {
    let (mut keys, mut values) = (Vec::with_capacity(ENTRIES), Vec::with_capacity(ENTRIES));
    let mut position = None;
    loop {
        let step = take_some(map, &mut position, &mut keys, &mut values);
        for (key, value) in keys.drain(..).zip(values.drain(..)) {
            each(key, value);
        }
        match step.map_err(|error| error.raw_os_error()) {
            Ok(()) | Err(Some(libc::EINTR)) => {}
            Err(Some(libc::ENOENT)) => return Ok(()),
            Err(Some(libc::ENOSPC)) => {
                keys.reserve(2 * keys.capacity());
                values.reserve(keys.capacity());
            }
            Err(code) => return Err(io::Error::from_raw_os_error(code.unwrap_or(libc::EIO))),
        }
    }
}

/// One call: takes as many entries as the vectors have room for, from `position` on. ENOENT says that
/// it was the last, ENOSPC that there is no room for a whole bucket.
fn take_some<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    position: &mut Option<Position>,
    keys: &mut Vec<K>,
    values: &mut Vec<V>,
) -> io::Result<()> {
    let room = keys.capacity().min(values.capacity());
    let from = *position;
    let mut next: Position = 0;
    let mut attr = BatchAttr {
        in_batch: from.as_ref().map_or(0, |from| std::ptr::from_ref(from) as u64),
        out_batch: std::ptr::from_mut(&mut next) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: u32::try_from(room).unwrap_or(u32::MAX),
        map_fd: map.as_raw_fd().cast_unsigned(),
        elem_flags: 0,
        flags: 0,
    };
    // SAFETY: `attr` lives through the call and is of the size that is passed; its pointers are to
    // `from` and `next`, which do too, and to vectors with room for `count` keys and values of the
    // sizes that the map was made with.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            LOOKUP_AND_DELETE_BATCH,
            std::ptr::from_mut(&mut attr),
            size_of::<BatchAttr>(),
        )
    };
    let error = (result < 0).then(io::Error::last_os_error);
    // Only an error that is about the entries leaves a count of entries.
    let is_counted = match error.as_ref().and_then(io::Error::raw_os_error) {
        None => true,
        Some(code) => code == libc::ENOENT,
    };
    let taken = if is_counted { room.min(attr.count as usize) } else { 0 };
    // SAFETY: the kernel has written `count` keys and values, which is no more than there is room for,
    // and any bytes are a value of a `Pod`.
    unsafe {
        keys.set_len(taken);
        values.set_len(taken);
    }
    if let Some(error) = error {
        return Err(error);
    }
    *position = Some(next);
    Ok(())
}
