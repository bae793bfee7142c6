//! Logs: for people on a terminal, one JSON object per line otherwise.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging to standard error. `RUST_LOG` chooses what is logged; `default` is what stands
/// for it if it is not set. `NO_COLOR` is honoured.
pub fn start(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let terminal = std::io::stderr().is_terminal();
    let color = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(color);
    let started = match terminal {
        true => builder.compact().try_init(),
        false => builder.json().flatten_event(true).try_init(),
    };
    // Somebody else's subscriber is as good as ours; a test harness may have set one.
    drop(started);
}
