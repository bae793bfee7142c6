//! Calls that change what exists step by step: suspend, metadata, larger volumes, snapshots, and
//! the end of a secret.

use super::MachinesClient;
use super::paging::Page;
use super::wire::{ExtendVolume, ExtendedVolume, SecretSet, SetMetadata, VolumeSnapshot};
use crate::error::CallError;
use crate::http::Request;
use crate::operation::Operation;

/// The snapshots of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeSnapshots {
    /// Those that could be read.
    pub snapshots: Vec<VolumeSnapshot>,
    /// The others, as they came.
    pub undecodable: Vec<String>,
}

impl MachinesClient {
    /// Suspends a running machine: its memory is kept, and it stops running some time later.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn suspend_machine(&self, app: &str, id: &str) -> Result<(), CallError> {
        let path = ["apps", app, "machines", id, "suspend"];
        self.caller.done(Request::new(Operation::SuspendMachine, &path, id)).await
    }

    /// Sets one entry of a machine's metadata; the machine keeps its version and goes on running.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn set_metadata(
        &self,
        app: &str,
        id: &str,
        key: &str,
        value: &str,
    ) -> Result<(), CallError> {
        let path = ["apps", app, "machines", id, "metadata", key];
        let request = Request::new(Operation::SetMetadata, &path, id);
        self.caller.done(self.caller.with_body(request, &SetMetadata { value })?).await
    }

    /// Makes a volume larger; `size_gb` is its new size. The platform never makes one smaller.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn extend_volume(
        &self,
        app: &str,
        id: &str,
        size_gb: u64,
    ) -> Result<ExtendedVolume, CallError> {
        let path = ["apps", app, "volumes", id, "extend"];
        let request = Request::new(Operation::ExtendVolume, &path, id);
        self.caller.object(self.caller.with_body(request, &ExtendVolume { size_gb })?).await
    }

    /// The snapshots of a volume.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn volume_snapshots(
        &self,
        app: &str,
        id: &str,
    ) -> Result<VolumeSnapshots, CallError> {
        let path = ["apps", app, "volumes", id, "snapshots"];
        let request = Request::new(Operation::ListSnapshots, &path, id).list();
        let page: Page<VolumeSnapshot> =
            self.caller.call(&request).await?.decode(Page::of_array)?;
        Ok(VolumeSnapshots { snapshots: page.rows, undecodable: page.undecodable })
    }

    /// Begins a snapshot of a volume; it is `created` some time later. Refused (412) while another
    /// one is pending.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn create_snapshot(&self, app: &str, id: &str) -> Result<(), CallError> {
        let path = ["apps", app, "volumes", id, "snapshots"];
        self.caller.done(Request::new(Operation::CreateSnapshot, &path, id)).await
    }

    /// Removes one secret of an app; no machine restarts for it.
    ///
    /// # Errors
    /// [`CallError`]; not found if it is gone already.
    pub async fn delete_secret(&self, app: &str, name: &str) -> Result<SecretSet, CallError> {
        let path = ["apps", app, "secrets", name];
        self.caller.object(Request::new(Operation::DeleteSecret, &path, app)).await
    }
}
