//! System calls on BPF maps that aya does not have, or has in a way that does not do here: taking many
//! entries out of a hash map at once (`BPF_MAP_LOOKUP_AND_DELETE_BATCH`, Linux 5.6), and reading the
//! values of all CPUs. All that is `unsafe` about them is here.
#![expect(unsafe_code, reason = "bpf(2) reads and writes through pointers in its argument")]

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr,
};

use aya::Pod;

/// `enum bpf_cmd` (`include/uapi/linux/bpf.h`).
#[derive(Clone, Copy)]
#[repr(i32)]
pub(super) enum Command {
    LookupElement = 1,
    QueryPrograms = 16,
    LookupAndDeleteBatch = 25,
}

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

/// The member of `union bpf_attr` for single elements.
#[repr(C)]
struct ElementAttr {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// # Errors
/// The kernel's.
///
/// # Safety
/// Every pointer in `attr` is to memory of the size that the command and the map have the kernel read or
/// write there.
pub(super) unsafe fn bpf<T>(command: Command, attr: &mut T) -> io::Result<()> {
    // SAFETY: `attr` lives through the call and is of the size that is passed; for what it points to, the
    // caller vouches.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as i32, ptr::from_mut(attr), size_of::<T>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Where a walk through a hash map goes on: the number of a bucket.
type Position = u32;

/// A walk that takes entries out of a hash map, as many at once as there is room for.
pub(super) struct Taking<K, V> {
    position: Option<Position>,
    keys: Vec<K>,
    values: Vec<V>,
}

impl<K: Pod + Default + PartialEq, V: Pod + Default> Taking<K, V> {
    /// A walk from the first bucket on, with room for so many entries.
    pub(super) fn with_room(entries: usize) -> Self {
        let keys = vec![K::default(); entries];
        let values = vec![V::default(); entries];
        Self { position: None, keys, values }
    }

    /// Makes room for twice as many entries.
    pub(super) fn double_room(&mut self) {
        let entries = 2 * self.keys.len();
        self.keys.resize(entries, K::default());
        self.values.resize(entries, V::default());
    }

    /// One call: takes entries out of the map and hands them to `each`.
    ///
    /// # Errors
    /// The kernel's, after what it handed out has been handed on. ENOENT is the end. ENOSPC says that there
    /// is no room for a whole bucket. After any other error but EFAULT, the walk can go on where it was
    /// (`__htab_map_lookup_and_delete_batch` in `kernel/bpf/hashtab.c`, Linux 6.18).
    pub(super) fn take(
        &mut self,
        map: BorrowedFd<'_>,
        mut each: impl FnMut(K, V),
    ) -> io::Result<()> {
        // With EFAULT the kernel has deleted what it copied and does not say how much that is. A default
        // key is none of a flow: so the keys themselves tell.
        self.keys.fill(K::default());
        let from = self.position;
        let mut next: Position = from.unwrap_or_default();
        let mut attr = BatchAttr {
            in_batch: from.as_ref().map_or(0, |from| ptr::from_ref(from) as u64),
            out_batch: ptr::from_mut(&mut next) as u64,
            keys: self.keys.as_mut_ptr() as u64,
            values: self.values.as_mut_ptr() as u64,
            count: u32::try_from(self.keys.len()).unwrap_or(u32::MAX),
            map_fd: map.as_raw_fd().cast_unsigned(),
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: positions are of the size that a hash map has them, and live through the call; keys and
        // values are of the sizes that the map was made with, `count` of each, and any bytes are one.
        let result = unsafe { bpf(Command::LookupAndDeleteBatch, &mut attr) };
        for (key, value) in self.keys.iter().zip(&self.values) {
            if *key == K::default() {
                break;
            }
            each(*key, *value);
        }
        self.position = Some(next);
        result
    }
}

/// The values of a per-CPU map at this key, one for each possible CPU, and perhaps more that are all 0.
///
/// aya makes its buffer as large as `/sys/devices/system/cpu/possible` says, which may be missing or be
/// another machine's; the kernel writes for as many CPUs as it has. The buffer here has room for as many
/// as the kernel's own CPU masks have.
///
/// # Errors
/// The kernel's; nothing is known then. ENOENT is that there is nothing at this key.
pub(super) fn per_cpu_values<V: Pod + Default>(
    map: BorrowedFd<'_>,
    key: u32,
) -> io::Result<Vec<V>> {
    const { assert!(size_of::<V>().is_multiple_of(8), "the kernel rounds each value up to 8 octets") };
    let mut values = vec![V::default(); possible_cpus()?];
    let mut attr = ElementAttr {
        map_fd: map.as_raw_fd().cast_unsigned(),
        pad: 0,
        key: ptr::from_ref(&key) as u64,
        value: values.as_mut_ptr() as u64,
        flags: 0,
    };
    // SAFETY: the key is of 4 octets, as it is in the maps that this is for; there is room for a value of each CPU that there can be, and
    // any bytes are one.
    unsafe { bpf(Command::LookupElement, &mut attr)? };
    Ok(values)
}

/// CPUs that there can be at most: as many as the kernel's CPU masks have bits (`nr_cpu_ids`, in whole
/// words), of which `sched_getaffinity(2)` returns the size.
fn possible_cpus() -> io::Result<usize> {
    /// More than `NR_CPUS` of any kernel.
    const MASK: usize = 1 << 14;
    let mut mask = vec![0_u8; MASK];
    // SAFETY: the mask lives through the call and is of the size that is passed.
    let octets =
        unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, mask.len(), mask.as_mut_ptr()) };
    let octets = usize::try_from(octets).map_err(|_negative| io::Error::last_os_error())?;
    Ok(octets * 8)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn there_are_at_least_as_many_possible_cpus_as_we_may_run_on() {
        let possible = possible_cpus().expect("a number");
        assert!(possible >= thread::available_parallelism().expect("a number").get());
        assert_eq!(possible % 64, 0);
    }
}
