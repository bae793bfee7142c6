//! `vaultctl events`

use std::str::FromStr;

use clap::ValueEnum;

use crate::cli::Globals;
use crate::client::{Client, events_of};
use crate::clock;
use crate::commands::known::{DELETED, Known};
use crate::error::Exit;
use crate::follow::Follow;
use crate::object::{Object, Reference, Resource};
use crate::output::events::in_order;
use crate::output::format::Format;
use crate::output::stream::Stream;
use crate::output::table::Columns;
use crate::output::tables::{TableOptions, table};
use crate::output::{Output, Shape};
use crate::reference::{self, Targets};

/// Show what happened to tenants
///
/// The newest event comes last. Events that say the same are one, with how often it happened and
/// since when. The controller keeps the newest 20,000.
///
/// EXAMPLES:
///   vaultctl events
///   vaultctl events --for tenant/acme --watch
///   vaultctl events --types Warning
///   vaultctl events --for tenant/acme -o json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Only what happened to this object
    #[arg(long = "for", value_name = "TYPE/NAME")]
    of: Option<One>,

    /// Only events of these types
    #[arg(long, value_name = "TYPE", value_delimiter = ',', ignore_case = true)]
    types: Vec<Type>,

    /// Go on with what happens, until interrupted
    #[arg(short, long)]
    watch: bool,

    /// The form of the output, as with `get`: table, wide, json, yaml, name, jsonpath=TEMPLATE or
    /// custom-columns=NAME:PATH,…
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    output: Format,

    /// Leave out the names of the columns
    #[arg(long)]
    no_headers: bool,
}

/// Whether an event is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
enum Type {
    /// As it should be
    Normal,
    /// Someone should look at it
    Warning,
}

/// One object, by type and name.
#[derive(Clone, Debug)]
struct One(Reference);

impl FromStr for One {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match reference::parse(&[text.to_owned()]) {
            Ok(Targets::Named(mut named)) if named.len() == 1 => Ok(Self(named.remove(0))),
            _ if !text.contains('/') => {
                Err("say which one: TYPE/NAME, such as tenant/acme".to_owned())
            }
            Ok(_) => Err("one object can be named".to_owned()),
            Err(failure) => Err(failure.to_string()),
        }
    }
}

/// Reads and prints.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let client = globals.client()?;
    let of = args.of.as_ref().map(|one| &one.0);
    let options = TableOptions {
        wide: matches!(args.output, Format::Table { wide: true }),
        no_headers: args.no_headers,
        ..TableOptions::default()
    };
    if args.watch {
        return watch(&args, &client, options, output).await;
    }
    let mut events = in_order(client.events(of).await?.items);
    events.retain(|event| is_of(event, &args.types));
    match &args.output {
        Format::Data(format) => output.objects(format, &events, Shape::Many)?,
        _ if events.is_empty() => output.note("No events found."),
        Format::Table { .. } => {
            output.text(&table(Resource::Event, &events, &options, clock::now()))?;
        }
        Format::Custom(custom) => {
            let mut columns = Columns::default();
            output.text(&custom.render(&mut columns, !args.no_headers, &events))?;
        }
    }
    Ok(Exit::Success)
}

/// Prints what there is, then each event as it happens or happens again.
async fn watch(
    args: &Args,
    client: &Client,
    options: TableOptions,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let of = args.of.as_ref().map(|one| &one.0);
    let mut follow = Follow::new(client, Resource::Event, events_of(of));
    let mut stream = Stream::new(Resource::Event, args.output.clone(), options, false);
    let mut known = Known::default();
    while !output.is_unread() {
        let change = follow.next().await?;
        let Some(news) = known.take(change, Resource::Event, output)? else { continue };
        for (kind, events) in news {
            // The controller keeps so many and no more; that one went is no news.
            if kind == DELETED {
                continue;
            }
            let mut events = in_order(events);
            events.retain(|event| is_of(event, &args.types));
            output.text(&stream.text(kind, &events, clock::now())?)?;
        }
    }
    Ok(Exit::Success)
}

/// Whether an event has one of these types; without types, any.
fn is_of(event: &Object, types: &[Type]) -> bool {
    let found = event.text("/type").unwrap_or_default();
    let word = |one: &Type| match one {
        Type::Normal => "Normal",
        Type::Warning => "Warning",
    };
    types.is_empty() || types.iter().any(|one| word(one) == found)
}
