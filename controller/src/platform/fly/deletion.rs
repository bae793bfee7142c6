//! What an app holds, by every answer that the platform has to the question.

use vault_cloud::error::CallError;
use vault_cloud::machines::MachinesClient;

use super::departing;
use crate::platform::AppContents;

/// Asks for the app itself, and for the lists of what it holds. Counts and lists may disagree; the
/// larger of the two counts, for what is deleted on the word of the smaller one is gone.
pub(super) async fn app_contents(
    client: &MachinesClient,
    app: &str,
) -> Result<Option<AppContents>, CallError> {
    let found = match client.app(app).await {
        Ok(found) => found,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let machines = client.count_app_machines(app).await?;
    let list = client.list_app_volumes(app).await?;
    let certificates = client.count_certificates(app).await?;
    let addresses = client.count_addresses(app).await?;
    let going = list.volumes.iter().filter(|volume| departing(volume)).count() as u64;
    let listed = (list.volumes.len() + list.undecodable.len()) as u64;
    let counted = found.volume_count.unwrap_or(0).max(listed);
    Ok(Some(AppContents {
        // Without one nobody can say whose it is; no organization is called so.
        organization: found.organization.map_or_else(String::new, |owner| owner.slug),
        machines: machines.max(found.machine_count.unwrap_or(0)),
        volumes: counted.saturating_sub(going),
        certificates,
        addresses,
    }))
}
