//! Who the machine is inside: its name, its address, and what its root may do.

use std::fs;
use std::io;

use rustix::thread::{
    CapabilitySet, capability_is_in_bounding_set, remove_capability_from_bounding_set,
};

use super::isolation::Isolation;
use super::message::Description;
use super::{doing, say};

/// What root inside a machine may not do, because no namespace of ours keeps it from the host: its
/// network, clock, kernel, devices and audit. The rest stays, so that an agent can mount and change
/// roots; that leaves ways out for a determined root, as `Isolation` says.
const WITHHELD: [CapabilitySet; 18] = [
    CapabilitySet::AUDIT_CONTROL,
    CapabilitySet::AUDIT_READ,
    CapabilitySet::BPF,
    CapabilitySet::BLOCK_SUSPEND,
    // Opens files by handle, which on the volume's file system reaches those outside the volume.
    CapabilitySet::DAC_READ_SEARCH,
    CapabilitySet::MAC_ADMIN,
    CapabilitySet::MAC_OVERRIDE,
    CapabilitySet::MKNOD,
    CapabilitySet::NET_ADMIN,
    CapabilitySet::NET_BROADCAST,
    // Reads what the controller and the emulator say to each other on the loopback interface.
    CapabilitySet::NET_RAW,
    CapabilitySet::PERFMON,
    CapabilitySet::SYS_BOOT,
    CapabilitySet::SYSLOG,
    CapabilitySet::SYS_MODULE,
    CapabilitySet::SYS_RAWIO,
    CapabilitySet::SYS_TIME,
    CapabilitySet::WAKE_ALARM,
];

/// Takes from this process and its children what root inside a machine may not do.
pub(super) fn withhold() -> io::Result<()> {
    for capability in WITHHELD {
        // A kernel that does not know it cannot grant it either.
        if capability_is_in_bounding_set(capability).unwrap_or(false) {
            let removed = remove_capability_from_bounding_set(capability);
            doing("withhold a capability", removed)?;
        }
    }
    Ok(())
}

/// Takes on the machine's identity; to be called inside its root.
pub(super) fn assume(description: &Description) -> io::Result<()> {
    let hostname = &description.hostname;
    doing("set the hostname", rustix::system::sethostname(hostname.as_bytes()))?;
    if description.isolation == Isolation::Namespaces {
        write_names(description).unwrap_or_else(|error| {
            // A host without /etc, or with one that links elsewhere: the machine runs all the same.
            say(format_args!("cannot write the machine's name to /etc: {error}"));
        });
        withhold()?;
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    Ok(())
}

fn write_names(description: &Description) -> io::Result<()> {
    let hostname = &description.hostname;
    fs::write("/etc/hostname", format!("{hostname}\n"))?;
    let Some(address) = description.private_ip else {
        return Ok(());
    };
    let mut hosts = match fs::read_to_string("/etc/hosts") {
        Ok(hosts) => hosts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    if !hosts.is_empty() && !hosts.ends_with('\n') {
        hosts.push('\n');
    }
    // Fly's name for a machine's own address.
    hosts.push_str(&format!("{address} {hostname} fly-local-6pn\n"));
    fs::write("/etc/hosts", hosts)
}
