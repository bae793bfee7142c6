//! From a tenant and its class to what is really wanted: the two merged, complete and consistent.
//!
//! `machines[]` and `volumes[]` merge by `name`, maps by key (a machine's config recursively), and
//! all else is replaced; the tenant wins. The class's entries come first, in the class's order,
//! then the tenant's new ones. Placeholders stay: they differ per machine
//! ([`crate::template::substitute_config`]).
//!
//! Problems point into the tenant's document; where the faulty value came from the class, they
//! point at `spec.class` and name class and field.

mod shared;
mod storage;
mod suspend;
mod tokens;
mod vars;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::check::at::At;
use crate::check::words::shorten;
use crate::names::{DNS_LABEL_LENGTH_MAX, did_you_mean};
use crate::problem::{FieldPath, Problem};
pub use storage::ResolvedBucket;
pub use tokens::ResolvedToken;

use crate::tenant::{
    AppSetting, DeletionPolicy, MachineGroup, MachineState, Relocate, SecretEntry, TenantClassSpec,
    TenantSpec, VolumeTemplate,
};

/// A tenant and its class in one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResolvedSpec {
    /// The slug of the Fly organization; the controller's own if absent.
    pub org: Option<String>,
    /// The app: the tenant's, or else the class's; derived from the tenant's identity if absent.
    pub app: Option<AppSetting>,
    /// What the placeholders `{{vars.NAME}}` stand for: the tenant's over the class's.
    pub vars: BTreeMap<String, String>,
    /// The app secrets, besides those that the controller sets by itself: the tenant's, or else the
    /// class's.
    pub secrets: Vec<SecretEntry>,
    /// The deploy tokens, in the same order as machine groups.
    pub tokens: Vec<ResolvedToken>,
    /// The buckets, in the same order.
    pub buckets: Vec<ResolvedBucket>,
    /// The machine groups: the class's first, then the tenant's new ones.
    pub machines: Vec<ResolvedGroup>,
    /// The volume templates, in the same order.
    pub volumes: Vec<ResolvedVolume>,
}

/// A machine group with nothing left open.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedGroup {
    /// Unique within the tenant.
    pub name: String,
    /// A Fly region code.
    pub region: String,
    /// How many machines, numbered from 0.
    pub count: u32,
    /// Whether they run.
    pub state: MachineState,
    /// Whether they and their volumes may be moved to another region by a snapshot.
    pub relocate: bool,
    /// Fly's machine config, with placeholders, and with `mounts` as written: its `volume` is the
    /// name of a template, not yet the id of a volume.
    pub config: Map<String, Value>,
    /// The config's mount, if it has one.
    pub mount: Option<ResolvedMount>,
}

/// The mount of a machine group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedMount {
    /// Index into [`ResolvedSpec::volumes`].
    pub volume: usize,
    /// Where in the machine; begins with `/`. As written, with placeholders.
    pub path: String,
}

/// A volume template with nothing left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedVolume {
    /// Unique within the tenant.
    pub name: String,
    /// Size in gigabytes.
    pub size_gb: u32,
    /// A Fly region code, equal to that of each machine that mounts it; the machine's if absent.
    pub region: Option<String>,
    /// What happens to a volume when its machine is no longer wanted.
    pub deletion_policy: DeletionPolicy,
}

/// Merges a checked tenant into its checked class.
///
/// `class` is the class that `spec.class` names, with its name. A tenant that names a class has a
/// problem if it is not given.
///
/// # Errors
/// All problems that only the merged whole shows.
pub fn resolve(
    name: &str,
    spec: &TenantSpec,
    class: Option<(&str, &TenantClassSpec)>,
) -> Result<ResolvedSpec, Vec<Problem>> {
    if let (Some(missing), None) = (&spec.class, class) {
        return Err(vec![missing_class(missing, [], false)]);
    }
    let empty = TenantClassSpec::default();
    let class_spec = class.map_or(&empty, |(_, class)| class);
    let mut vars = class_spec.vars.clone();
    vars.extend(spec.vars.clone());
    let app = app_of(spec, Some(class_spec));
    let mut resolution = Resolution {
        tenant: name,
        app_is_shared: app.is_some_and(AppSetting::is_shared),
        vars: &vars,
        relocate: spec.relocate.or(class_spec.relocate),
        class: class.map(|(name, _)| name),
        volumes: merged(&spec.volumes, &class_spec.volumes, |volume| &volume.name),
        problems: Vec::new(),
    };
    let volumes = resolution.resolve_volumes();
    let machines = merged(&spec.machines, &class_spec.machines, |group| &group.name)
        .iter()
        .filter_map(|group| resolution.resolve_group(group))
        .collect();
    let tokens = resolution.resolve_tokens(spec.tokens.as_ref(), class_spec.tokens.as_ref());
    let secrets = if spec.secrets.is_empty() { &class_spec.secrets } else { &spec.secrets };
    let buckets =
        resolution.resolve_buckets(spec.storage.as_ref(), class_spec.storage.as_ref(), secrets);
    if !resolution.problems.is_empty() {
        return Err(resolution.problems);
    }
    let org = spec.org.clone().or_else(|| class_spec.org.clone());
    let (app, secrets) = (app.cloned(), secrets.clone());
    Ok(ResolvedSpec { org, app, vars, secrets, tokens, buckets, machines, volumes })
}

/// The app that a tenant names, itself or by its class.
#[must_use]
pub fn app_of<'a>(
    tenant: &'a TenantSpec,
    class: Option<&'a TenantClassSpec>,
) -> Option<&'a AppSetting> {
    tenant.app.as_ref().or_else(|| class?.app.as_ref())
}

/// The problem of a tenant whose class does not exist, or has errors of its own (`is_refused`).
pub(crate) fn missing_class<'a>(
    class: &str,
    known: impl IntoIterator<Item = &'a str>,
    is_refused: bool,
) -> Problem {
    let path = FieldPath::default().field("spec").field("class");
    let shown = shorten(class);
    Problem::invalid(
        path,
        if is_refused {
            format!("the tenant class `{shown}` has errors of its own")
        } else {
            format!("there is no tenant class `{shown}`{}", did_you_mean(class, known))
        },
    )
}

/// A map merged into another by key, recursively; what `over` sets wins.
fn merge_maps(base: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(Value::Object(base)), Value::Object(over)) => merge_maps(base, over),
            (Some(slot), value) => *slot = value.clone(),
            (None, value) => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

/// The entry of a list as the tenant has it (with its index there), as the class has it, or both.
struct Merged<'a, T> {
    own: Option<(usize, &'a T)>,
    class: Option<&'a T>,
}

fn merged<'a, T>(own: &'a [T], class: &'a [T], name: fn(&T) -> &String) -> Vec<Merged<'a, T>> {
    let find = |list: &'a [T], wanted: &T| {
        list.iter().enumerate().find(|(_, entry)| name(entry) == name(wanted))
    };
    let mut entries: Vec<Merged<'a, T>> =
        class.iter().map(|entry| Merged { own: find(own, entry), class: Some(entry) }).collect();
    entries.extend(
        own.iter()
            .enumerate()
            .filter(|(_, entry)| find(class, entry).is_none())
            .map(|entry| Merged { own: Some(entry), class: None }),
    );
    entries
}

impl<'a, T> Merged<'a, T> {
    /// The tenant's value of a field, or else the class's.
    fn pick<V: ?Sized + 'a>(&self, field: impl Fn(&'a T) -> Option<&'a V>) -> Option<&'a V> {
        self.own.and_then(|(_, own)| field(own)).or_else(|| self.class.and_then(field))
    }

    /// Whether the tenant sets a field.
    fn own_has<V: ?Sized + 'a>(&self, field: impl Fn(&'a T) -> Option<&'a V>) -> bool {
        self.own.is_some_and(|(_, own)| field(own).is_some())
    }

    fn entry(&self) -> Option<&'a T> {
        self.own.map(|(_, own)| own).or(self.class)
    }
}

struct Resolution<'a> {
    tenant: &'a str,
    class: Option<&'a str>,
    app_is_shared: bool,
    vars: &'a BTreeMap<String, String>,
    relocate: Option<Relocate>,
    volumes: Vec<Merged<'a, VolumeTemplate>>,
    problems: Vec<Problem>,
}

impl<'a> Resolution<'a> {
    fn resolve_volumes(&mut self) -> Vec<ResolvedVolume> {
        let volumes = std::mem::take(&mut self.volumes);
        let resolved = volumes
            .iter()
            .filter_map(|volume| {
                let name = &volume.entry()?.name;
                let size_gb = volume.pick(|volume| volume.size_gb.as_ref()).copied();
                if size_gb.is_none() {
                    let place = Place { list: "volumes", own: volume.own.map(|(index, _)| index) };
                    let message = format!("volume `{name}` needs `sizeGb`");
                    self.missing(&place, "sizeGb", message);
                }
                Some(ResolvedVolume {
                    name: name.clone(),
                    // Without a size there is a problem, and so no result that could show this.
                    size_gb: size_gb.unwrap_or_default(),
                    region: volume.pick(|volume| volume.region.as_ref()).cloned(),
                    deletion_policy: volume
                        .pick(|volume| volume.deletion_policy.as_ref())
                        .copied()
                        .unwrap_or_default(),
                })
            })
            .collect();
        self.volumes = volumes;
        resolved
    }

    fn resolve_group(&mut self, group: &Merged<'a, MachineGroup>) -> Option<ResolvedGroup> {
        let name = &group.entry()?.name;
        let place = Place { list: "machines", own: group.own.map(|(index, _)| index) };
        let region = group.pick(|group| group.region.as_deref());
        if region.is_none() {
            self.missing(&place, "region", format!("machine group `{name}` needs a `region`"));
        }
        let count = group.pick(|group| group.count.as_ref()).copied().unwrap_or(1);
        self.check_machine_name(&place, name, count);

        let mut config = group.class.map(|class| class.config.clone()).unwrap_or_default();
        if let Some((_, own)) = group.own {
            if config.is_empty() {
                config = own.config.clone();
            } else {
                merge_maps(&mut config, &own.config);
            }
        }
        self.check_image(&place, name, &config);
        self.check_vars(&place, group.own.map(|(_, own)| &own.config), &config);
        let state = group.pick(|group| group.state.as_ref()).copied().unwrap_or_default();
        if state == MachineState::Suspended {
            self.check_suspend(&place, group, &config);
        }
        if self.app_is_shared {
            self.check_shared(&place, group, &config);
        }
        let relocate = group.pick(|group| group.relocate.as_ref()).copied().or(self.relocate);
        let mount = self.resolve_mount(&place, group, region, &config);
        Some(ResolvedGroup {
            name: name.clone(),
            region: region?.to_owned(),
            count,
            state,
            relocate: relocate == Some(Relocate::Snapshot),
            config,
            mount,
        })
    }

    fn check_machine_name(&mut self, place: &Place, group: &str, count: u32) {
        let Some(last) = count.checked_sub(1) else {
            return;
        };
        let digits = last.checked_ilog10().unwrap_or_default() as usize + 1;
        let length = self.tenant.len() + group.len() + digits + "--".len();
        if length > DNS_LABEL_LENGTH_MAX {
            let message = format!(
                "the machine name `{}-{group}-{last}` would have {length} characters, Fly takes \
                 {DNS_LABEL_LENGTH_MAX}: shorten the name of the tenant or of the group",
                self.tenant
            );
            let problem = self.blame(place, place.own.is_some(), &["name"], message);
            self.problems.push(problem);
        }
    }

    fn check_image(&mut self, place: &Place, name: &str, config: &Map<String, Value>) {
        let is_set = |member: &str| config.get(member).is_some_and(|value| !value.is_null());
        if !is_set("image") && !is_set("containers") {
            let message = format!("machine group `{name}` needs an image");
            self.missing_in(place, &["config", "image"], message);
        }
    }

    fn resolve_mount(
        &mut self,
        place: &Place,
        group: &Merged<'a, MachineGroup>,
        machine_region: Option<&str>,
        config: &Map<String, Value>,
    ) -> Option<ResolvedMount> {
        let mount = config.get("mounts")?.get(0)?;
        let is_own = group.own_has(|group| group.config.get("mounts"));
        let (Some(Value::String(volume)), Some(Value::String(path))) =
            (mount.get("volume"), mount.get("path"))
        else {
            let message = "a mount needs `volume` and `path`, both text".to_owned();
            let problem = self.blame(place, is_own, &["config", "mounts"], message);
            self.problems.push(problem);
            return None;
        };
        let named = |entry: &Merged<'_, VolumeTemplate>| {
            entry.entry().is_some_and(|entry| entry.name == *volume)
        };
        let Some(index) = self.volumes.iter().position(named) else {
            let known = self.volumes.iter().filter_map(|volume| volume.entry());
            let hint = did_you_mean(volume, known.map(|volume| volume.name.as_str()));
            let message = format!("the mounted volume `{}` is not declared{hint}", shorten(volume));
            let problem = self.blame(place, is_own, &["config", "mounts", "0", "volume"], message);
            self.problems.push(problem);
            return None;
        };
        self.check_volume_region(place, group, machine_region, index);
        Some(ResolvedMount { volume: index, path: path.clone() })
    }

    fn check_volume_region(
        &mut self,
        place: &Place,
        group: &Merged<'a, MachineGroup>,
        machine_region: Option<&str>,
        volume: usize,
    ) {
        let Some(volume) = self.volumes.get(volume) else {
            return;
        };
        let volume_region = volume.pick(|volume| volume.region.as_deref());
        let (Some(wanted), Some(found)) = (machine_region, volume_region) else {
            return;
        };
        if wanted == found {
            return;
        }
        let volume_name = volume.entry().map_or("", |volume| volume.name.as_str());
        let group_name = group.entry().map_or("", |group| group.name.as_str());
        let message = format!(
            "volume `{volume_name}` is in region `{found}`, but machine group `{group_name}`, \
             which mounts it, is in `{wanted}`"
        );
        let volume_place = Place { list: "volumes", own: volume.own.map(|(index, _)| index) };
        let volume_is_own = volume.own_has(|volume| volume.region.as_deref());
        let group_is_own = group.own_has(|group| group.region.as_deref());
        let problem = if volume_is_own || !group_is_own {
            self.blame(&volume_place, volume_is_own, &["region"], message)
        } else {
            self.blame(place, true, &["region"], message)
        };
        self.problems.push(problem);
    }

    fn missing(&mut self, place: &Place, field: &str, message: String) {
        self.missing_in(place, &[field], message);
    }

    /// A field that neither has. The tenant is to blame if it names the entry at all.
    fn missing_in(&mut self, place: &Place, fields: &[&str], message: String) {
        let problem = self.blame(place, place.own.is_some(), fields, message);
        self.problems.push(Problem::required(problem.path, problem.message));
    }

    /// A problem at the tenant's own value, or else at the word that brought the class in.
    fn blame(&self, place: &Place, is_own: bool, fields: &[&str], message: String) -> Problem {
        let root = At::ROOT;
        let spec = root.field("spec");
        if let (true, Some(index)) = (is_own, place.own) {
            let entry = list_path(place.list).index(index);
            let path = fields.iter().fold(entry, |path, field| {
                field.parse().map_or_else(|_| path.field(field), |index| path.index(index))
            });
            return Problem::invalid(path, message);
        }
        let Some(class) = self.class else {
            return spec.invalid(message);
        };
        let field = fields.join(".").replace(".0", "[0]");
        let list = place.list;
        let message = format!("{message} (in class `{class}`, spec.{list}[].{field})");
        spec.field("class").invalid(message)
    }
}

/// The path of a list of a spec, which may lie deeper, as `tokens.deploy` does.
fn list_path(list: &str) -> FieldPath {
    let spec = FieldPath::default().field("spec");
    list.split('.').fold(spec, |path, field| path.field(field))
}

/// An entry of one of the lists of a spec; `own` is its index in the tenant's document.
struct Place {
    list: &'static str,
    own: Option<usize>,
}

#[cfg(test)]
mod tests;
