//! Object storage, as the controller of a world is told of it.

use vault_emulator::DEFAULT_ORG;

use super::World;

impl World {
    /// The environment that gives the controller the emulator's admin key; nothing while the platform
    /// does not run.
    pub(super) fn storage_environment(&self) -> Vec<(&'static str, String)> {
        let access = self.emulator.as_ref().and_then(|emulator| emulator.storage(DEFAULT_ORG));
        let Some(access) = access else { return Vec::new() };
        vec![
            ("AWS_ACCESS_KEY_ID", access.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", access.secret_access_key.expose().to_owned()),
            ("AWS_ENDPOINT_URL_S3", access.endpoint.clone()),
            ("AWS_ENDPOINT_URL_IAM", access.endpoint.clone()),
            ("AWS_REGION", access.region.to_owned()),
        ]
    }
}
