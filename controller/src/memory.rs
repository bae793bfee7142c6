//! Memory that a pass needed and freed goes back to the system at once.
//!
//! ```text
//!   a pass ─▶ many small values, for less than a second ─▶ freed ─▶ nobody allocates until the next
//!
//!   purge delay 0          freed pages go back when they are freed, not when somebody allocates
//!   reclaim on free        a page that its thread gave up belongs to whoever frees from it next
//!   no huge pages          one small value that stays keeps 4 KiB, not 2 MiB
//! ```
//!
//! mimalloc is made for programs that allocate all the time. It keeps freed pages for a second and
//! gives them back only when somebody allocates again, and it asks the kernel for huge pages: a
//! controller would keep the memory of its largest pass.

use libmimalloc_sys::{mi_option_set, mi_option_t};

/// An option of mimalloc, and what the controller sets it to.
struct Setting {
    /// Its place in mimalloc's `mi_option_t`, which the bindings leave out. It is part of
    /// mimalloc's interface; a test compares what it holds with what is documented.
    option: mi_option_t,
    /// The environment variable by which an operator sets it.
    variable: &'static str,
    /// What it is set to.
    value: std::ffi::c_long,
}

/// How long freed pages are kept, in milliseconds.
const PURGE_DELAY: Setting = Setting { option: 15, variable: "MIMALLOC_PURGE_DELAY", value: 0 };

/// Whether any thread that frees a value takes over the page it is in, if its own thread gave it
/// up. Tasks move between threads, so most values are freed elsewhere than they were made; pages
/// that belong to nobody are filled and freed by nobody.
const PAGE_RECLAIM_ON_FREE: Setting =
    Setting { option: 35, variable: "MIMALLOC_PAGE_RECLAIM_ON_FREE", value: 1 };

/// By this variable an operator decides about huge pages; mimalloc reads it before `main`.
const ALLOW_HUGE_PAGES: &str = "MIMALLOC_ALLOW_THP";

/// Has freed pages given back at once, in processes whose allocator is mimalloc; elsewhere it does
/// nothing. What the operator's environment says of mimalloc's options stands.
pub(crate) fn give_back_at_once() {
    for setting in [PURGE_DELAY, PAGE_RECLAIM_ON_FREE] {
        if std::env::var_os(setting.variable).is_none() {
            set(&setting);
        }
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

#[allow(unsafe_code, reason = "mimalloc's options have no safe interface")]
fn set(setting: &Setting) {
    // SAFETY: the call takes two numbers and writes one word of mimalloc's table of options; an
    // option that it does not know it passes over. mimalloc documents that options may be set at
    // any time, from any thread.
    unsafe { mi_option_set(setting.option, setting.value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an option holds now.
    #[allow(unsafe_code, reason = "mimalloc's options have no safe interface")]
    fn now(option: mi_option_t) -> std::ffi::c_long {
        // SAFETY: the call takes a number and reads one word of mimalloc's table of options.
        unsafe { libmimalloc_sys::mi_option_get(option) }
    }

    #[test]
    fn the_options_are_those_that_are_meant_and_take_their_values() {
        let options = [PURGE_DELAY, PAGE_RECLAIM_ON_FREE];
        if std::env::vars_os().any(|(name, _)| name.as_encoded_bytes().starts_with(b"MIMALLOC_")) {
            return;
        }
        // No other option has this default.
        assert_eq!(now(PURGE_DELAY.option), 1_000);
        // This one is known by its neighbours: `generic_collect` and `page_full_retain`.
        let place = PAGE_RECLAIM_ON_FREE.option;
        assert_eq!([now(place - 1), now(place), now(place + 1)], [10_000, 0, 2]);
        give_back_at_once();
        for setting in options {
            assert_eq!(now(setting.option), setting.value, "{}", setting.variable);
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
