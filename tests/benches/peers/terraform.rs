//! `terraform plan` of as many `terraform_data` objects as there are tenants, all as they should be.
//!
//! The provider is built in: nothing is asked over any network, which favours terraform. The state
//! is what `terraform apply` wrote for one object, repeated: an apply of 5,000 takes minutes. That
//! `plan` finds no difference shows that it is taken for what it is.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fleet::{body, name};
use crate::measure::children_cpu_ms;

/// A folder with config and state.
pub(crate) struct Terraform {
    folder: TempDir,
}

impl Terraform {
    /// Makes the folder; `None` if there is no terraform.
    pub(crate) fn new(objects: usize) -> anyhow::Result<Option<Self>> {
        let version = Command::new("terraform").arg("version").stderr(Stdio::null()).output();
        let Ok(version) = version else { return Ok(None) };
        println!("{}", String::from_utf8_lossy(&version.stdout).lines().next().unwrap_or_default());
        let terraform = Self { folder: tempfile::tempdir()? };
        terraform.configure(1)?;
        terraform.run(&["init", "-input=false"], 0)?;
        terraform.run(&["apply", "-input=false", "-auto-approve"], 0)?;
        terraform.repeat(objects)?;
        terraform.configure(objects)?;
        Ok(Some(terraform))
    }

    /// Plans, and finds nothing to do; the CPU time of it, in milliseconds.
    pub(crate) fn plan(&self) -> anyhow::Result<u64> {
        let before = children_cpu_ms()?;
        self.run(&["plan", "-input=false", "-detailed-exitcode"], 0)?;
        Ok(children_cpu_ms()? - before)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn configure(&self, objects: usize) -> anyhow::Result<()> {
        let mut input = body();
        input["name"] = json!("${format(\"tenant-%05d\", count.index)}");
        let config = json!({
            "resource": { "terraform_data": { "tenant": { "count": objects, "input": input } } },
        });
        Ok(fs::write(self.path().join("main.tf.json"), config.to_string())?)
    }

    /// Writes the state of the one object as that of all.
    fn repeat(&self, objects: usize) -> anyhow::Result<()> {
        let path = self.path().join("terraform.tfstate");
        let mut state: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        let instances = state["resources"][0]["instances"].as_array_mut().context("a state")?;
        let one = instances.first().context("an object in the state")?.to_string();
        let id = instances[0]["attributes"]["id"].as_str().context("an id")?.to_owned();
        *instances = (0..objects)
            .map(|number| {
                let text = one.replace(&name(0), &name(number));
                // The first part of an id has eight digits.
                let text = text.replace(&id, &format!("{number:08x}{}", &id[8..]));
                let mut instance: Value = serde_json::from_str(&text)?;
                instance["index_key"] = number.into();
                Ok(instance)
            })
            .collect::<serde_json::Result<_>>()?;
        Ok(fs::write(&path, state.to_string())?)
    }

    fn run(&self, arguments: &[&str], code: i32) -> anyhow::Result<()> {
        let output = Command::new("terraform")
            .args(arguments)
            .current_dir(self.path())
            .env("CHECKPOINT_DISABLE", "1")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.code() == Some(code), "terraform {arguments:?}: {text}{error}");
        Ok(())
    }
}
