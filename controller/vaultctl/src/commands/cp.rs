//! `vaultctl cp`
//!
//! ```text
//!   SOURCE… DESTINATION ──▶ which side is the machine's ──▶ one connection ──▶ one copy per source
//! ```

mod place;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount};
use tokio::time::{Instant, interval, timeout};
use vault_client::protocol::message::CopyOptions;
use vault_client::{Connection, Copied, CopyError, LocalTarget, MachineTarget, Meter};

use self::place::{Job, Plan, name_of};
use crate::cli::Globals;
use crate::conversation::OWN_FAILURE;
use crate::ends::Ends;
use crate::error::describe;
use crate::output::{Output, Progress};
use crate::poll::{Deadline, parse_limit};
use crate::reach::{FAREWELL, Reached, Way};

/// How often the line that tells how far it has come is written anew.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// What a copy that failed exits with, as `scp` and `cp` do.
const FAILED: u8 = 1;

/// Copy files into a tenant's machine, or out of it
///
/// Either all sources or the destination are in one machine: TENANT:PATH, or TENANT/GROUP-INDEX:PATH. A
/// PATH there that is not absolute begins at root's home folder. A file here whose name has a colon is
/// written ./a:b.
///
/// As with scp, a destination that is a folder gets the sources into it, else the one source takes its
/// name. The content of a folder without the folder is copied by SOURCE/. with -r. Links in a source
/// are followed; at the destination they are replaced, and never written through. A file that is
/// replaced hands on its mode and owner.
///
/// A file appears under its name when it is whole. With --resume what was copied until a failure stays
/// beside it, and the next cp --resume continues it, if what is there is still the front of the file.
///
/// The exit code is 0 if everything was copied, 1 if something was not, and 255 if the machine cannot be
/// reached. What is neither a file nor a folder is passed over, and told.
///
/// EXAMPLES:
///   vaultctl cp notes.txt acme:
///   vaultctl cp -r -p src acme:/srv
///   vaultctl cp --resume acme:/data/dump.sql .
///   vaultctl cp globex/web-1:/var/log/a.log globex/web-1:/var/log/b.log logs/
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// What to copy, and then where to
    #[arg(required = true, num_args = 2.., value_name = "SOURCE… DESTINATION")]
    places: Vec<OsString>,

    /// Copy folders, too, with everything in them
    #[arg(short, long)]
    recursive: bool,

    /// Keep modes, whatever the umask, and the times of the last change
    #[arg(short, long)]
    preserve: bool,

    /// Continue what an earlier copy left, and keep what this one leaves
    #[arg(long)]
    resume: bool,

    /// How long to try to reach the machine; 0 tries once
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = parse_limit)]
    connect_timeout: Duration,
}

/// Copies, and answers with the exit code.
///
/// # Errors
/// The arguments make no copy.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<ExitCode> {
    let plan = Plan::new(&args.places)?;
    let options = CopyOptions {
        recursive: args.recursive,
        preserve: args.preserve,
        resume: args.resume,
        into_folder: plan.sources.len() > 1,
    };
    // Before anything is started, so that no signal leaves half a file.
    let mut ends = Ends::new()?;
    let (way, connection) = match reach(&plan, args.connect_timeout, globals, output).await {
        Ok(reached) => reached,
        Err(error) => {
            output.note(&describe(&error));
            return Ok(ExitCode::from(OWN_FAILURE));
        }
    };
    // Both arms are cancel-safe: a copy that is dropped takes back what is not whole.
    let code = tokio::select! {
        code = all(&plan, &connection, options, output) => code,
        () = ends.next() => FAILED,
    };
    connection.close();
    // The last word is a courtesy.
    drop(timeout(FAREWELL, way.wait_idle()).await);
    Ok(ExitCode::from(code))
}

async fn reach(
    plan: &Plan,
    connect_timeout: Duration,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<(Way, Connection)> {
    let way = Way::new(&plan.machine, globals)?;
    let progress = output.progress(&format!("connecting to {}", plan.machine));
    let Reached { connection, note } =
        way.connection(Deadline::after(connect_timeout), &progress).await?;
    drop(progress);
    if let Some(note) = note {
        output.note(&note);
    }
    Ok((way, connection))
}

/// One source after another: one that fails keeps no other from being copied, unless the machine is gone.
async fn all(
    plan: &Plan,
    connection: &Connection,
    options: CopyOptions,
    output: &mut Output,
) -> u8 {
    let mut code = 0;
    for job in plan.jobs() {
        let meter = Arc::new(Meter::default());
        let progress = output.progress(&job.shown());
        let copied = told(&job, &meter, &progress, one(&job, connection, options, &meter)).await;
        drop(progress);
        match copied {
            Ok(Copied { skipped: 0, .. }) => {}
            Ok(copied) => {
                code = FAILED;
                let first = copied.first_skipped.unwrap_or_default();
                output.note(&format!(
                    "{}: {} things were passed over that are neither files nor folders, or lead nowhere; \
                     the first is {first}",
                    job.shown(),
                    copied.skipped
                ));
            }
            Err(error) => {
                output.note(&describe(&anyhow::Error::from(error).context(job.shown())));
                if connection.is_closed() {
                    return OWN_FAILURE;
                }
                code = FAILED;
            }
        }
    }
    code
}

async fn one(
    job: &Job<'_>,
    connection: &Connection,
    options: CopyOptions,
    meter: &Arc<Meter>,
) -> Result<Copied, CopyError> {
    let meter = Arc::clone(meter);
    match *job {
        Job::Upload { from, to } => {
            let name = name_of(from.as_os_str().as_bytes());
            let to = MachineTarget { path: to.to_vec(), name };
            connection.upload(absolute(from), to, options, meter).await
        }
        Job::Download { from, to } => {
            let to = LocalTarget { path: absolute(to), name: name_of(from) };
            connection.download(from.to_vec(), to, options, meter).await
        }
    }
}

/// A path that stays what it is when something changes the working folder. One that is empty stays
/// empty, and is then not found.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Says how far it has come while it goes on.
async fn told<T>(
    job: &Job<'_>,
    meter: &Meter,
    progress: &Progress,
    copy: impl Future<Output = T>,
) -> T {
    let began = Instant::now();
    let mut turns = interval(TELL_EVERY);
    tokio::pin!(copy);
    loop {
        // Both arms are cancel-safe: the copy is only looked at.
        tokio::select! {
            copied = &mut copy => return copied,
            _ = turns.tick() => {
                let (bytes, milliseconds) = (meter.bytes(), began.elapsed().as_millis().max(1));
                let per_second = u128::from(bytes) * 1_000 / milliseconds;
                progress.say(format!(
                    "{}: {} files, {} of {}, {}/s",
                    job.shown(),
                    HumanCount(meter.files()),
                    BinaryBytes(bytes),
                    BinaryBytes(meter.expected()),
                    BinaryBytes(u64::try_from(per_second).unwrap_or(u64::MAX)),
                ));
            }
        }
    }
}
