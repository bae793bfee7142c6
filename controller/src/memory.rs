//! Memory that a pass needed and freed goes back to the system at once.
//!
//! ```text
//!   a pass ─▶ many small values, for less than a second ─▶ freed ─▶ nobody allocates until the next
//!
//!   purge delay 0          freed pages go back when they are freed, not when somebody allocates
//!   no huge pages          one small value that stays keeps 4 KiB, not 2 MiB
//!   collect after a pass   a thread that has nothing to do takes in what others freed of its pages
//!   one arena for C        SQLite's pages lie together, whichever thread read them
//! ```
//!
//! mimalloc is made for programs that allocate all the time. It keeps freed pages for a second and
//! gives them back only when somebody allocates again, and it asks the kernel for huge pages: a
//! controller would keep the memory of its largest pass.
//!
//! What C libraries allocate, here SQLite, comes from the C library's own allocator. glibc gives
//! each thread an arena; reads of the store wander over the runtime's threads, and each arena would
//! keep fragments of one small cache: 9 MB, where one arena needs 3.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use libmimalloc_sys::{mi_collect, mi_option_set, mi_option_t};

/// `mi_option_purge_delay` of mimalloc's `mi_option_t`, which the bindings leave out. Its place is
/// part of mimalloc's interface; a test compares what it holds with what is documented.
const PURGE_DELAY: mi_option_t = 15;

/// How long freed pages are kept, in milliseconds.
const PURGE_DELAY_MS: std::ffi::c_long = 0;

/// By this variable an operator decides how long.
const PURGE_DELAY_VARIABLE: &str = "MIMALLOC_PURGE_DELAY";

/// By this variable an operator decides about huge pages; mimalloc reads it before `main`.
const ALLOW_HUGE_PAGES: &str = "MIMALLOC_ALLOW_THP";

/// Has freed pages given back at once, in processes whose allocator is mimalloc; elsewhere it does
/// nothing. What the operator's environment says of mimalloc's options stands.
pub(crate) fn give_back_at_once() {
    if std::env::var_os(PURGE_DELAY_VARIABLE).is_none() {
        set(PURGE_DELAY, PURGE_DELAY_MS);
    }
}

/// Does without huge pages from now on, in this process and all that it starts: mimalloc asks for
/// them for all of its memory, and a process that is idle most of the time has nothing of them but
/// their size. What the operator's environment says of it stands.
///
/// For processes that are a controller and nothing else: whoever starts other people's programs
/// would decide for those as well.
pub(crate) fn do_without_huge_pages() {
    if std::env::var_os(ALLOW_HUGE_PAGES).is_some() {
        return;
    }
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay allowed: more memory is used");
    }
}

/// By this variable an operator decides how many arenas glibc makes; glibc reads it before `main`.
#[cfg(target_env = "gnu")]
const ARENA_MAX: &str = "MALLOC_ARENA_MAX";

/// Has all threads take what C libraries allocate from one arena, in this process. What the
/// operator's environment says of it stands.
///
/// For processes whose own values come from another allocator: all others would wait for each
/// other. To be called before there are threads.
#[cfg(target_env = "gnu")]
pub(crate) fn keep_one_arena() {
    if std::env::var_os(ARENA_MAX).is_none() && !set_arenas(1) {
        tracing::debug!("arenas stay as many as threads: more memory is used");
    }
}

/// Other C libraries than glibc have one arena.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn keep_one_arena() {}

/// Answers whether glibc took the number.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "glibc's options have no safe interface")]
fn set_arenas(arenas: std::ffi::c_int) -> bool {
    // SAFETY: the call takes two numbers and writes one word of glibc's table of options, under
    // glibc's own lock.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) == 1 }
}

/// How many passes came to their end.
static PASSES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The pass after which this thread collected last.
    static COLLECTED: Cell<u64> = const { Cell::new(0) };
}

/// Says that a pass came to its end: much of what it needed is free now.
pub(crate) fn pass_ended() {
    PASSES.fetch_add(1, Ordering::Relaxed);
}

/// For a thread that has nothing to do: once after each pass it takes in what other threads freed
/// of its pages, and gives back those that are empty. Nobody but the thread itself can do so.
#[allow(unsafe_code, reason = "mimalloc's collection has no safe interface")]
pub(crate) fn collect_if_pass_ended() {
    let passes = PASSES.load(Ordering::Relaxed);
    // While the thread ends, its variables are gone; mimalloc collects then by itself.
    let known = COLLECTED.try_with(|collected| collected.replace(passes));
    if known.is_ok_and(|known| known != passes) {
        // SAFETY: the call frees pages of this thread in which nothing is in use, and nothing else;
        // in a process with another allocator there are none.
        unsafe { mi_collect(true) }
    }
}

#[allow(unsafe_code, reason = "mimalloc's options have no safe interface")]
fn set(option: mi_option_t, value: std::ffi::c_long) {
    // SAFETY: the call takes two numbers and writes one word of mimalloc's table of options; an
    // option that it does not know it passes over. mimalloc documents that options may be set at
    // any time, from any thread.
    unsafe { mi_option_set(option, value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long freed pages are kept now, in milliseconds.
    #[allow(unsafe_code, reason = "mimalloc's options have no safe interface")]
    fn purge_delay_ms() -> std::ffi::c_long {
        // SAFETY: the call takes a number and reads one word of mimalloc's table of options.
        unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) }
    }

    #[test]
    fn the_option_is_the_one_that_is_meant_and_takes_its_value() {
        if std::env::var_os(PURGE_DELAY_VARIABLE).is_none() {
            // No other option has this default.
            assert_eq!(purge_delay_ms(), 1_000);
            give_back_at_once();
            assert_eq!(purge_delay_ms(), PURGE_DELAY_MS);
        }
    }

    #[test]
    fn a_thread_collects_once_after_each_pass() {
        // Tests run on threads of their own, and others may end passes meanwhile.
        let collected = || COLLECTED.get();
        pass_ended();
        let passes = PASSES.load(Ordering::Relaxed);
        assert!(collected() < passes);
        collect_if_pass_ended();
        assert!(collected() >= passes);
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn glibc_takes_the_number_of_arenas() {
        if std::env::var_os(ARENA_MAX).is_none() {
            assert!(set_arenas(1));
        }
    }

    #[test]
    fn huge_pages_are_refused_for_the_process() {
        if std::env::var_os(ALLOW_HUGE_PAGES).is_none() {
            do_without_huge_pages();
            assert!(rustix::thread::transparent_huge_pages_are_disabled().unwrap());
        }
    }
}
