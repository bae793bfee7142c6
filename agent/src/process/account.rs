//! Whom a command runs as: the machine's own table of users, read as text.
//!
//! ```text
//!   name or number ─▶ /etc/passwd ─▶ user, home, shell
//!                     /etc/group  ─▶ the groups that name the user
//! ```
//!
//! The C library's functions for this load modules at run time, which a static program cannot.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;

use crate::limits::ACCOUNTS_BYTES_MAX;

/// The user of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// Their name; their number, where the machine does not know them by name.
    pub(crate) name: String,
    pub(crate) user_id: u32,
    pub(crate) group_id: u32,
    /// The other groups that they are in.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
    pub(crate) shell: String,
}

/// The shell of whoever has none, as `login(1)` has it.
const DEFAULT_SHELL: &str = "/bin/sh";

impl Account {
    /// Finds a user by name or number in the machine's files. A number that they do not know has a
    /// group of the same number and no home.
    pub(crate) fn find(user: &str) -> Option<Self> {
        // A machine without the files has no named users.
        let [users, groups] =
            ["/etc/passwd", "/etc/group"].map(|path| read(path).unwrap_or_default());
        find(user, &String::from_utf8_lossy(&users), &String::from_utf8_lossy(&groups))
    }
}

/// A workload may have put anything there: neither a pipe nor a file without end keeps us.
fn read(path: &str) -> io::Result<Vec<u8>> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let mut bytes = Vec::new();
    file.take(ACCOUNTS_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn find(user: &str, users: &str, groups: &str) -> Option<Account> {
    let accounts = || users.lines().filter_map(account);
    let by_name = accounts().find(|account| account.name == user);
    let number = user.parse().ok();
    let by_number = || accounts().find(|account| Some(account.user_id) == number);
    let unknown = || {
        number.map(|number| Account {
            name: user.to_owned(),
            user_id: number,
            group_id: number,
            groups: Vec::new(),
            home: "/".to_owned(),
            shell: DEFAULT_SHELL.to_owned(),
        })
    };
    let mut account = by_name.or_else(by_number).or_else(unknown)?;
    account.groups = groups.lines().filter_map(|line| group_of(line, &account.name)).collect();
    Some(account)
}

/// One line of `/etc/passwd` (`passwd(5)`).
fn account(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let user_id = fields.nth(1)?.parse().ok()?;
    let group_id = fields.next()?.parse().ok()?;
    let home = fields.nth(1)?;
    let shell = fields.next().unwrap_or_default();
    let or = |text: &str, otherwise: &str| match text {
        "" => otherwise.to_owned(),
        text => text.to_owned(),
    };
    Some(Account {
        name: name.to_owned(),
        user_id,
        group_id,
        groups: Vec::new(),
        home: or(home, "/"),
        shell: or(shell, DEFAULT_SHELL),
    })
}

/// The number of the group in one line of `/etc/group` (`group(5)`), if it names the user.
fn group_of(line: &str, user: &str) -> Option<u32> {
    let mut fields = line.split(':');
    let number = fields.nth(2)?.parse().ok()?;
    fields.next()?.split(',').any(|member| member == user).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/bash\n# a comment\n\ndev:x:1000:1000:A Dev,,,:/home/dev:\nbroken:x:one:1::/:/bin/sh\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin";
    const GROUPS: &str =
        "root:x:0:\ndev:x:1000:\nsudo:x:27:dev,other\ndocker:x:998:dev\nodd:x:y:dev";

    fn found(user: &str) -> Option<(String, u32, u32, Vec<u32>, String, String)> {
        let account = find(user, USERS, GROUPS)?;
        let Account { name, user_id, group_id, groups, home, shell } = account;
        Some((name, user_id, group_id, groups, home, shell))
    }

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let dev = ("dev".to_owned(), 1000, 1000, vec![27, 998], "/home/dev".to_owned());
        let dev = (dev.0, dev.1, dev.2, dev.3, dev.4, "/bin/sh".to_owned());
        assert_eq!(found("dev"), Some(dev.clone()));
        assert_eq!(found("1000"), Some(dev));
        let root = found("root").expect("is there");
        assert_eq!((root.1, root.5.as_str()), (0, "/bin/bash"));
    }

    #[test]
    fn who_is_not_in_the_table_has_a_number_or_is_nobody() {
        let number = found("4242").expect("a number");
        assert_eq!(
            number,
            ("4242".to_owned(), 4242, 4242, vec![], "/".to_owned(), "/bin/sh".to_owned())
        );
        for unknown in ["", "broken", "deve", "-1", "4294967296", "# a comment"] {
            assert_eq!(found(unknown), None, "{unknown}");
        }
        assert_eq!(find("root", "", ""), None);
    }
}
