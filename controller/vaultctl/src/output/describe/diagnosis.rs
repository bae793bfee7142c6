//! How machines that are not as wanted ended, and what they said last.
//!
//! ```text
//!   Machine acme-box-0:   stopped
//!     EXIT       CODE   SIGNAL   WHY
//!     2m ago     137    9        out of memory, starts again
//!     LOG
//!     12:00:03   panicked at main.rs:7
//! ```

use std::fmt::Write as _;

use jiff::Timestamp;

use super::super::table::{clean, render};
use super::super::tables::since;
use super::{Trouble, empty};
use crate::client::{MachineDiagnosis, MachineExit};

const EXIT: &[&str] = &["EXIT", "CODE", "SIGNAL", "WHY"];
/// As many lines of a log as fit on a screen beside the rest; the newest ones.
const MAX_LOG_LINES: usize = 25;
/// As many exits as show whether a machine ends again and again; the newest ones.
const MAX_EXITS: usize = 5;

/// Tells it, if there is something to tell.
pub(super) fn tell(text: &mut String, trouble: &Trouble, now: Timestamp) {
    match trouble {
        Trouble::None => {}
        Trouble::Unknown(why) => {
            text.push_str(&empty("Diagnosis", &format!("<unknown> ({})", clean(why))));
        }
        Trouble::Known(diagnosis) => {
            for machine in &diagnosis.machines {
                tell_machine(text, machine, now);
            }
        }
    }
}

fn tell_machine(text: &mut String, machine: &MachineDiagnosis, now: Timestamp) {
    // Writing into a string cannot fail.
    let id = if machine.id.is_empty() { String::new() } else { format!(" ({})", machine.id) };
    let heading = format!("Machine {}{id}: {}", machine.name, machine.state);
    writeln!(text, "{}", clean(&heading)).ok();
    if let Some(trouble) = &machine.trouble {
        writeln!(text, "  not all could be read: {}", clean(trouble)).ok();
    }
    if !machine.exits.is_empty() {
        let newest = &machine.exits[machine.exits.len().saturating_sub(MAX_EXITS)..];
        let rows: Vec<Vec<String>> = newest.iter().map(|exit| exit_row(exit, now)).collect();
        for line in render(EXIT, &rows).lines() {
            writeln!(text, "  {line}").ok();
        }
    }
    if !machine.log.is_empty() {
        writeln!(text, "  LOG").ok();
        let newest = &machine.log[machine.log.len().saturating_sub(MAX_LOG_LINES)..];
        for line in newest {
            writeln!(text, "  {}   {}", clean(&line.at), clean(line.message.trim_end())).ok();
        }
    }
}

fn exit_row(exit: &MachineExit, now: Timestamp) -> Vec<String> {
    let number = |number: Option<i64>| number.map(|one| one.to_string()).unwrap_or_default();
    let mut why = Vec::new();
    if exit.oom_killed {
        why.push("out of memory");
    }
    if exit.requested_stop {
        why.push("it was asked to stop");
    }
    if exit.restarting {
        why.push("starts again");
    }
    vec![
        format!("{} ago", since(Some(&exit.at), now)),
        number(exit.exit_code),
        number(exit.signal),
        why.join(", "),
    ]
}
