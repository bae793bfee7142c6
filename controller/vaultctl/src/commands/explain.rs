//! `vaultctl explain`

mod schema;

use vault_api::object::{GROUP, VERSION};

use self::schema::Node;
use crate::error::{Exit, Failure};
use crate::object::Resource;
use crate::output::Output;
use crate::reference;

/// Explain the fields of tenants and tenant classes
///
/// The text is that of the JSON schemas which editors complete by.
///
/// EXAMPLES:
///   vaultctl explain tenants
///   vaultctl explain tenant.spec.machines
///   vaultctl explain tenantclass.spec --recursive
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// TYPE, or TYPE.FIELD.FIELD…
    #[arg(value_name = "TYPE[.FIELD]")]
    what: String,

    /// All fields beneath, by name and type alone
    #[arg(long)]
    recursive: bool,
}

/// Finds the field and prints what the schema says of it.
///
/// # Errors
/// There is no such type or field.
pub(crate) fn run(args: &Args, output: &mut Output) -> anyhow::Result<Exit> {
    let text = args.what.to_lowercase();
    // The group may stand behind the type: `tenants.vaultctl.dev.spec`.
    let suffix = format!(".{GROUP}");
    let what = match text.find(&suffix) {
        Some(at) => format!("{}{}", &args.what[..at], &args.what[at + suffix.len()..]),
        None => args.what.clone(),
    };
    let mut steps = what.split('.');
    let resource = reference::resource(steps.next().unwrap_or_default())?;
    let root = match resource {
        Resource::Tenant => vault_api::schema::tenant(),
        Resource::TenantClass => vault_api::schema::tenant_class(),
        Resource::Event => {
            let message = "events are core/v1 Events of Kubernetes, which are not explained here";
            return Err(Failure::new(Exit::BadInput, message).into());
        }
    };
    let mut node = Node::root(&root);
    let mut path = resource.singular().to_owned();
    let mut last = None;
    for step in steps {
        node = node.field(step).map_err(|near| {
            let message = format!("{path} has no field {step:?}");
            let failure = Failure::new(Exit::BadInput, message);
            match near {
                Some(near) => failure.hint(format!("did you mean {near}?")),
                None => failure,
            }
        })?;
        path.push('.');
        path.push_str(step);
        last = Some(step);
    }
    output.line(&format!("GROUP:      {GROUP}"))?;
    output.line(&format!("KIND:       {}", resource.kind()))?;
    output.line(&format!("VERSION:    {VERSION}\n"))?;
    if let Some(field) = last {
        output.line(&format!("FIELD: {field} <{}>\n", node.type_name()))?;
    }
    output.text(&node.text(args.recursive))?;
    Ok(Exit::Success)
}
