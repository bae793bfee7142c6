//! `get --watch`: what there is, then what changes.

use super::Args;
use crate::client::{Client, Selection};
use crate::clock;
use crate::commands::known::Known;
use crate::commands::not_found;
use crate::error::{Exit, Failure};
use crate::follow::{Change, Follow};
use crate::output::Output;
use crate::output::stream::Stream;
use crate::reference::Targets;

/// Prints until nobody reads any more.
///
/// # Errors
/// What cannot be watched, or a controller that stays away.
pub(super) async fn run(
    args: &Args,
    targets: Targets,
    client: &Client,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let (resource, reference) = match targets {
        Targets::Every(resources) if resources.len() == 1 => (resources[0], None),
        Targets::Named(mut named) if named.len() == 1 => (named[0].resource, named.pop()),
        _ => {
            let failure = Failure::new(Exit::BadInput, "only one type or one object is watched");
            return Err(failure.hint("watch each of them in a terminal of its own").into());
        }
    };
    if args.sort_by.is_some() {
        let message = "--watch and --sort-by do not go together: changes come as they happen";
        return Err(Failure::new(Exit::BadInput, message).into());
    }
    let selection = match &reference {
        Some(reference) => Selection::named(&reference.name),
        None => args.selection(),
    };
    let mut stream = Stream::new(
        resource,
        args.output.clone(),
        args.table_options(false),
        args.output_watch_events,
    );
    let mut follow = Follow::new(client, resource, selection);
    let mut known = Known::default();
    let mut is_silent = args.watch_only;
    loop {
        let change = follow.next().await?;
        if let (Change::Listed(objects), Some(reference)) = (&change, &reference)
            && objects.is_empty()
            && known.is_empty_yet()
        {
            return Err(not_found(client, reference).await.into());
        }
        let Some(news) = known.take(change, resource, output)? else { continue };
        for (event, objects) in news {
            if !is_silent {
                output.text(&stream.text(event, &objects, clock::now())?)?;
            }
        }
        is_silent = false;
        if output.is_unread() {
            return Ok(Exit::Success);
        }
    }
}
