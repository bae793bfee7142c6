//! The processes that this program can be beside the agent, by the name that it is started under.

use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use crate::process::stage;
use crate::provision::unpacking;
use crate::workload::{init, keeper};

/// Is one of the agent's helpers, if the program was started as one: a program that serves as agent calls
/// this before anything else, and ends with what it returns.
#[must_use]
pub fn helper() -> Option<ExitCode> {
    let name = std::env::args_os().next()?;
    let name = name.as_bytes();
    if name == stage::NAME.to_bytes() {
        Some(stage::main())
    } else if name == keeper::NAME.to_bytes() {
        Some(keeper::main())
    } else if name == init::NAME.to_bytes() {
        Some(init::main())
    } else if name == unpacking::NAME.to_bytes() {
        Some(unpacking::main())
    } else {
        None
    }
}
