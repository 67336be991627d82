//! Large pages for large tables.
//!
//! A look-up lands anywhere in tens of megabytes, so with pages of 4 KiB nearly every one also misses the address
//! translation cache, which in a virtual machine costs more than the data. The kernel's usual setting gives large pages
//! to those who ask.

/// Tables below this stay as they are, bytes.
const WORTH_ASKING: usize = 4 * 1024 * 1024;

/// A vector with room for that many items, in large pages where the kernel has them to give. Asked before the room is
/// written to, because pages are given at the first write.
pub fn roomy<T>(items: usize) -> Vec<T> {
    let room: Vec<T> = Vec::with_capacity(items);
    #[cfg(target_os = "linux")]
    ask(room.as_ptr().cast(), room.capacity() * size_of::<T>());
    room
}

#[cfg(target_os = "linux")]
fn ask(start: *const u8, bytes: usize) {
    const PAGE: usize = 4096;
    if bytes < WORTH_ASKING {
        return;
    }
    let ahead = start.align_offset(PAGE);
    let whole_pages = bytes.saturating_sub(ahead) / PAGE * PAGE;
    // SAFETY: the range lies within one live allocation and the advice changes neither content nor access rights. A
    // kernel that cannot follow it says so; the table works all the same.
    unsafe { libc::madvise(start.wrapping_add(ahead).cast_mut().cast(), whole_pages, libc::MADV_HUGEPAGE) };
}
