//! Which file systems of the host a machine's root is made of; pure.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// What a machine gets anew instead of the host's.
pub(super) const REPLACED: [&str; 5] = ["/proc", "/sys", "/dev", "/tmp", "/run"];

/// Views of the kernel rather than files; nothing a machine should see of its host.
const PSEUDO: [&str; 20] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "sysfs",
    "tracefs",
];

/// The mount points below `/` that hold files of the host, parents before their children.
/// `mountinfo` is the text of `/proc/self/mountinfo` (proc(5)).
pub(super) fn mount_points(mountinfo: &str) -> Vec<PathBuf> {
    // Of several mounts on one point only the last is seen, and it stands last.
    let mut topmost = BTreeMap::new();
    for line in mountinfo.lines() {
        let point = line.split(' ').nth(4);
        let kind = line.split_once(" - ").and_then(|(_, rest)| rest.split(' ').next());
        if let (Some(point), Some(kind)) = (point, kind) {
            topmost.insert(unescape(point), kind);
        }
    }
    let is_file_tree = |point: &PathBuf, kind: &&str| {
        point != Path::new("/") && !is_replaced(point) && !PSEUDO.contains(kind)
    };
    topmost.retain(|point, kind| is_file_tree(point, kind));
    topmost.into_keys().collect()
}

/// Whether the path lies in one of the trees that a machine gets anew.
pub(super) fn is_replaced(path: &Path) -> bool {
    REPLACED.iter().any(|replaced| path.starts_with(replaced))
}

/// The kernel writes blanks and backslashes of a path as `\` and three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match escaped.filter(|_| *first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
25 24 0:23 / /dev/shm rw,relatime shared:4 - tmpfs tmpfs rw,size=24684084k
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 8:1 / /srv/disk/nested rw - xfs /dev/sdb rw
31 27 8:1 / /srv/disk rw - xfs /dev/sdb rw
32 27 8:2 / /mnt/my\\040files rw master:1 - ext4 /dev/sdc rw
33 27 8:2 / /covered rw - ext4 /dev/sdc rw
34 33 0:40 / /covered rw - proc proc rw
35 27 0:41 / /tmp/build rw - ext4 /dev/sdd rw
36 27 254:0 /etc/hosts /etc/hosts rw - ext4 /dev/vda rw
a line that is cut
";

    #[test]
    fn real_file_systems_are_found_parents_first() {
        let expected = ["/etc/hosts", "/mnt/my files", "/srv/disk", "/srv/disk/nested"];
        assert_eq!(mount_points(MOUNTINFO), expected.map(PathBuf::from));
    }

    #[test]
    fn escapes_are_read_as_the_kernel_writes_them() {
        assert_eq!(unescape("/a\\134b\\040c"), Path::new("/a\\b c"));
        assert_eq!(unescape("/ends\\04"), Path::new("/ends\\04"));
        assert_eq!(unescape("/no\\999"), Path::new("/no\\999"));
    }
}
