//! Shows what happens, and knows when it is over.

use std::collections::BTreeSet;
use std::io;

use tokio::sync::broadcast::error::RecvError;
use vault_controller::events::Event;
use vault_controller::run::Controller;
use vault_controller::view::View;

use super::display::{Display, Source};
use super::{Args, show};
use crate::output::Output;

/// How `dev` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Every tenant is Ready, or the user said stop.
    Ready,
    /// Every tenant of a good document is Ready, but there are bad ones.
    ReadyButBad,
    /// `--timeout` passed first.
    TimedOut,
}

/// Where the folder's tenants stand.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    ready: usize,
    total: usize,
    /// The tenant to name in examples; none without tenants.
    example: Option<String>,
    waiting_for: BTreeSet<String>,
    problems: usize,
}

impl Standing {
    /// `None` until the folder was read and a pass has looked at what it says.
    fn of(view: &View) -> Option<Self> {
        let folder =
            view.folder.as_ref().filter(|_| view.passes > 0 && view.troubles.is_empty())?;
        let waiting_for: BTreeSet<String> =
            folder.tenants.difference(&view.ready).cloned().collect();
        Some(Self {
            ready: folder.tenants.len() - waiting_for.len(),
            example: folder.tenants.first().cloned(),
            total: folder.tenants.len(),
            waiting_for,
            problems: folder.problems.len(),
        })
    }

    fn is_ready(&self) -> bool {
        self.waiting_for.is_empty()
    }
}

/// Shows each change until `dev` is over.
pub(super) async fn follow(
    args: &Args,
    controller: &mut Controller,
    output: &mut Output,
) -> anyhow::Result<Ending> {
    let source = Source {
        context_file: args.data_dir.join("config.yaml"),
        url: controller.url().to_owned(),
    };
    let display = Display::new(source, output);
    let ending = until_over(args, controller, &display, output).await;
    display.close().await;
    ending
}

async fn until_over(
    args: &Args,
    controller: &mut Controller,
    display: &Display,
    output: &mut Output,
) -> anyhow::Result<Ending> {
    let mut events = controller.events();
    let mut view = controller.view();
    let timeout = tokio::time::sleep(args.timeout);
    tokio::pin!(timeout);
    let mut greeted = false;
    loop {
        // All arms are cancel-safe: none takes anything before it is chosen.
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Ok(event) => say(&event, display, output)?,
                Err(RecvError::Lagged(missed)) => {
                    display.line(output, &format!("({missed} changes are not shown)"))?;
                }
                Err(RecvError::Closed) => return Ok(Ending::Ready),
            },
            changed = view.changed() => {
                if changed.is_err() {
                    return Ok(Ending::Ready);
                }
                let Some(standing) = Standing::of(&view.borrow_and_update()) else { continue };
                display.sum(format!("{} of {} tenants Ready", standing.ready, standing.total));
                if standing.is_ready() && !greeted {
                    greeted = true;
                    drain(&mut events, display, output)?;
                    greet(args, &standing, display, output)?;
                }
                if standing.is_ready() && args.once {
                    return Ok(match standing.problems {
                        0 => Ending::Ready,
                        _ => Ending::ReadyButBad,
                    });
                }
            }
            ended = controller.ended() => {
                ended?;
                return Ok(Ending::Ready);
            }
            () = &mut timeout, if args.once => {
                let text = match Standing::of(&view.borrow()) {
                    Some(standing) => still_waiting(&standing),
                    None => "the folder has not been taken in yet".to_owned(),
                };
                display.line(output, &format!("gave up after {:?}: {text}", args.timeout))?;
                return Ok(Ending::TimedOut);
            }
            () = stop_signal() => {
                display.line(output, "stopping")?;
                return Ok(Ending::Ready);
            }
        }
    }
}

fn still_waiting(standing: &Standing) -> String {
    let names: Vec<&str> = standing.waiting_for.iter().map(String::as_str).collect();
    format!("not Ready: {}", names.join(", "))
}

/// Prints what happened before the view that is being looked at.
fn drain(
    events: &mut tokio::sync::broadcast::Receiver<Event>,
    display: &Display,
    output: &mut Output,
) -> io::Result<()> {
    while let Ok(event) = events.try_recv() {
        say(&event, display, output)?;
    }
    Ok(())
}

fn say(event: &Event, display: &Display, output: &mut Output) -> io::Result<()> {
    let mark = if event.warning { "! " } else { "" };
    // A bad manifest's place must begin its line, so that editors and scripts find it.
    let line = match (event.tenant.as_str(), event.reason.as_str()) {
        (_, "Manifest" | "BadManifest") => event.message.clone(),
        ("", _) => format!("{mark}{}", event.message),
        (tenant, "Ready") => format!("{tenant}: Ready ({})", event.message),
        (tenant, _) => format!("{tenant}: {mark}{}", event.message),
    };
    display.line(output, &line)
}

fn greet(
    args: &Args,
    standing: &Standing,
    display: &Display,
    output: &mut Output,
) -> io::Result<()> {
    let mut lines = vec![String::new()];
    let bad = match standing.problems {
        0 => String::new(),
        1 => "; 1 problem above".to_owned(),
        count => format!("; {count} problems above"),
    };
    lines.push(match standing.total {
        0 => format!("The folder declares no tenant{bad}."),
        1 => format!("The tenant is Ready{bad}."),
        total => format!("All {total} tenants are Ready{bad}."),
    });
    if !args.once {
        let context = match show(&args.data_dir).as_str() {
            ".vaultctl" => String::new(),
            data_dir => format!("VAULTCTL_CONFIG={data_dir}/config.yaml "),
        };
        let data_dir = show(&args.data_dir);
        let folder = show(&args.manifests);
        lines.push(String::new());
        lines.push("Try, in another terminal:".to_owned());
        // As it was called: on a fresh machine it is not on the path.
        let program = std::env::args().next().unwrap_or_else(|| "vaultctl".to_owned());
        lines.push(format!("  {context}{program} get tenants -o wide"));
        if let Some(tenant) = &standing.example {
            lines.push(format!("  {context}{program} connect {tenant}"));
            lines.push(format!("  {context}{program} exec {tenant} -- uname -a"));
            lines.push(format!("  {context}{program} describe tenant {tenant}"));
        }
        lines.push(format!("  {context}{program} diff --plan -f {folder}"));
        lines.push(format!("  kubectl --kubeconfig {data_dir}/kubeconfig get tenants -w"));
        lines.push(format!("Edit a manifest in {folder}: the change is carried out at once."));
        lines.push("Ctrl-C stops everything; the next start goes on from here.".to_owned());
    }
    for line in lines {
        display.line(output, &line)?;
    }
    Ok(())
}

async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};

    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    // Both arms are cancel-safe: a signal is not lost, because another one is waited for.
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}
