//! How far a machine is kept apart from its host.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The strongest isolation that this host allows, found out by trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Isolation {
    /// As root: own mount, PID, IPC and UTS namespaces, and a root that overlays the host's.
    Namespaces,
    /// Not as root: the same inside a user namespace.
    UserNamespaces,
    /// A process group, nothing more.
    PlainProcess,
}

/// One sentence for people; it names what is *not* isolated.
impl fmt::Display for Isolation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Namespaces => {
                "machines have their own mounts, processes, IPC and hostname; NOT isolated: the \
                 network, CPU and memory are the host's, and root in a machine is root, so it is \
                 no wall against hostile code"
            }
            Self::UserNamespaces => {
                "machines have their own mounts, processes, IPC and hostname in a user namespace; \
                 NOT isolated: the network, CPU and memory are the host's, private_ip is an \
                 address in 127.0.0.0/8, and files that belong to other users cannot be changed"
            }
            Self::PlainProcess => {
                "NOTHING IS ISOLATED: machines are plain processes of this user, they see and can \
                 change the host's files and processes, volumes are NOT mounted at their paths \
                 (there is no /data), hostname is not set and private_ip is an address in \
                 127.0.0.0/8; a machine still ends as a whole"
            }
        })
    }
}
