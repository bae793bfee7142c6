//! `vaultctl get`

mod watch;

use crate::cli::Globals;
use crate::client::{CHUNK_SIZE, Selection};
use crate::clock;
use crate::commands::select::{Groups, every, named};
use crate::error::{Exit, Failure};
use crate::object::Object;
use crate::output::format::Format;
use crate::output::order::SortKey;
use crate::output::table::Columns;
use crate::output::tables::{TableOptions, table};
use crate::output::{Output, Shape};
use crate::reference::{self, Targets};

/// Show tenants, tenant classes and events
///
/// Without a name all objects of a type are shown. The types are `tenants` (`tn`), `tenantclasses`
/// (`tc`) and `events` (`ev`), singular or plural; `all` means tenants and classes.
///
/// `-o json` and `-o yaml` give the object itself if one was named, else a List. JSONPath templates
/// and custom columns are kubectl's. With --watch, rows and documents follow as things change; a
/// watch that breaks off is taken up again.
///
/// EXAMPLES:
///   vaultctl get tenants
///   vaultctl get tenants -l tier=pro,'region in (ord,lhr)' -o wide --show-labels
///   vaultctl get tenants --watch
///   vaultctl get tenant acme -o yaml
///   vaultctl get tenant/acme tenantclass/dev-box -o name
///   vaultctl get tenants -o jsonpath='{range .items[*]}{.metadata.name}{"\n"}{end}'
///   vaultctl get tenants -o custom-columns=NAME:.metadata.name,CLASS:.spec.class
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// TYPE, TYPE NAME… or TYPE/NAME…
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,

    /// The form of the output: table, wide, json, yaml, name, jsonpath=TEMPLATE,
    /// jsonpath-file=FILE, custom-columns=NAME:PATH,… or custom-columns-file=FILE
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    output: Format,

    /// Only objects with these labels: key=value, key!=value, key, !key, 'key in (a,b)'; all of
    /// them must hold
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,

    /// Only objects with these fields: metadata.name=acme, for events involvedObject.name=acme
    #[arg(long, value_name = "SELECTOR")]
    field_selector: Option<String>,

    /// Go on with what changes, until interrupted
    #[arg(short, long)]
    watch: bool,

    /// Only what changes from now on
    #[arg(long)]
    watch_only: bool,

    /// With each change, what has happened: ADDED, MODIFIED or DELETED
    #[arg(long)]
    output_watch_events: bool,

    /// The labels as a last column
    #[arg(long)]
    show_labels: bool,

    /// The values of these labels as columns; may be repeated
    #[arg(short = 'L', long, value_name = "LABEL", value_delimiter = ',')]
    label_columns: Vec<String>,

    /// The field to sort by: .metadata.creationTimestamp
    #[arg(long, value_name = "PATH")]
    sort_by: Option<SortKey>,

    /// How many objects to read at a time; 0 for all at once
    #[arg(long, value_name = "COUNT", default_value_t = CHUNK_SIZE)]
    chunk_size: u32,

    /// Leave out the names of the columns
    #[arg(long)]
    no_headers: bool,

    /// It is no error if a named object is not there
    #[arg(long)]
    ignore_not_found: bool,
}

impl Args {
    fn selection(&self) -> Selection {
        Selection { labels: self.selector.clone(), fields: self.field_selector.clone() }
    }

    fn watches(&self) -> bool {
        self.watch || self.watch_only
    }

    fn table_options(&self, with_kind: bool) -> TableOptions {
        TableOptions {
            wide: matches!(self.output, Format::Table { wide: true }),
            no_headers: self.no_headers,
            with_kind,
            show_labels: self.show_labels,
            label_columns: self.label_columns.clone(),
        }
    }
}

/// Reads and prints.
pub(crate) async fn run(
    args: Args,
    globals: &Globals,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let targets = reference::parse(&args.what)?;
    let has_selector = args.selection() != Selection::default();
    if has_selector && matches!(targets, Targets::Named(_)) {
        let failure = Failure::new(Exit::BadInput, "names and a selector do not go together");
        return Err(failure.into());
    }
    if args.watches() {
        return watch::run(&args, targets, &globals.client()?, output).await;
    }
    match targets {
        Targets::Every(resources) => {
            let client = globals.client()?;
            let groups = every(&client, &resources, &args.selection(), args.chunk_size).await?;
            print(&args, output, groups, Shape::Many)?;
            Ok(Exit::Success)
        }
        Targets::Named(references) => {
            let shape = match references.len() {
                1 => Shape::One,
                _ => Shape::Many,
            };
            let client = globals.client()?;
            let (groups, exit) = named(&client, &references, args.ignore_not_found, output).await?;
            // What was found is shown even if something else is missing.
            if groups.iter().any(|(_, objects)| !objects.is_empty()) {
                print(&args, output, groups, shape)?;
            }
            Ok(exit)
        }
    }
}

fn print(args: &Args, output: &mut Output, mut groups: Groups, shape: Shape) -> anyhow::Result<()> {
    let is_data = !matches!(args.output, Format::Table { .. });
    if is_data {
        let mut objects: Vec<Object> =
            groups.into_iter().flat_map(|(_, objects)| objects).collect();
        if let Some(key) = &args.sort_by {
            key.sort(&mut objects)?;
        }
        return match &args.output {
            Format::Data(format) => output.objects(format, &objects, shape),
            Format::Custom(custom) => {
                let mut columns = Columns::default();
                let text = custom.render(&mut columns, !args.no_headers, &objects);
                Ok(output.text(&text)?)
            }
            Format::Table { .. } => Ok(()),
        };
    }
    let options = args.table_options(groups.len() > 1);
    let now = clock::now();
    let mut separator = "";
    for (resource, objects) in &mut groups {
        if objects.is_empty() {
            output.note(&format!("No {} found.", resource.plural()));
            continue;
        }
        if let Some(key) = &args.sort_by {
            key.sort(objects)?;
        }
        let text = table(*resource, objects, &options, now);
        output.text(&format!("{separator}{text}"))?;
        separator = "\n";
    }
    Ok(())
}
