//! How the C library's allocator treats large blocks.

/// Has blocks of a mebibyte and more given back to the system as soon as they are freed. The GNU C library otherwise keeps
/// them among others up to 32 MiB, where what is free between them stays taken: the memory of a process that trains was up
/// to a third more than what it had in use. For the start of a program; does nothing with other libraries.
pub fn give_back_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const M_TRIM_THRESHOLD: i32 = -1;
        const M_MMAP_THRESHOLD: i32 = -3;
        unsafe extern "C" {
            fn mallopt(parameter: i32, value: i32) -> i32;
        }
        // SAFETY: `mallopt(3)` takes these two with any value that is not negative, and is safe to call from any thread.
        // What it returns says whether it was heeded; nothing depends on that.
        unsafe {
            mallopt(M_MMAP_THRESHOLD, 1 << 20);
            mallopt(M_TRIM_THRESHOLD, 16 << 20);
        }
    }
}

/// Gives what is free to the system, as far as whole pages are. Does nothing with other libraries.
pub(crate) fn give_back_free_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> i32;
        }
        // SAFETY: `malloc_trim(3)` takes any number and is safe to call from any thread; it touches only what is free.
        unsafe {
            malloc_trim(0);
        }
    }
}
