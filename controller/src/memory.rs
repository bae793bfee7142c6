//! Memory that a pass needed and freed goes back to the system at once.
//!
//! A pass over many tenants needs much memory for less than a second, and then nobody allocates
//! until the next one. mimalloc keeps freed pages for a second and gives them back only when
//! somebody allocates again: without this, a controller keeps the memory of its largest pass.

use libmimalloc_sys::{mi_option_set, mi_option_t};

/// `mi_option_purge_delay` of mimalloc's `mi_option_t`, which the bindings leave out. Its place is
/// part of mimalloc's interface; a test compares what it holds with what is documented.
const PURGE_DELAY: mi_option_t = 15;

/// How long freed pages are kept, in milliseconds.
const PURGE_DELAY_MS: std::ffi::c_long = 0;

/// Has freed pages given back at once, in processes whose allocator is mimalloc; elsewhere it does
/// nothing. An environment variable `MIMALLOC_PURGE_DELAY` of the operator stands.
#[allow(unsafe_code, reason = "mimalloc's options have no safe interface")]
pub(crate) fn give_back_at_once() {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_some() {
        return;
    }
    // SAFETY: the call takes two numbers and writes one word of mimalloc's table of options; an
    // option that it does not know it passes over. mimalloc documents that options may be set at
    // any time, from any thread.
    unsafe { mi_option_set(PURGE_DELAY, PURGE_DELAY_MS) }
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
        if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
            // No other option has this default.
            assert_eq!(purge_delay_ms(), 1_000);
            give_back_at_once();
            assert_eq!(purge_delay_ms(), PURGE_DELAY_MS);
        }
    }
}
