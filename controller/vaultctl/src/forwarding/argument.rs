//! What a forward is on the command line. Pure data.
//!
//! ```text
//!   [BIND:]PORT:HOST:HOSTPORT        [::1]:8080:[fd00::7]:80    brackets around IPv6
//!          PORT                      is PORT:localhost:PORT
//!   LOCAL.sock:HOST:HOSTPORT         a path has a slash in it, or ends in .sock
//!   [BIND:]PORT:/path/in/machine     begins with a slash
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use vault_client::protocol::message::Destination;

/// One forward: where to listen, and what connections there are forwarded to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    /// Here.
    pub(super) local: Local,
    /// In the machine, or as seen from it.
    pub(super) destination: Destination,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Local {
    /// A TCP port, the same at each of these addresses.
    Tcp {
        /// At least one. Of several, some may be missing on this computer.
        addresses: Vec<IpAddr>,
        /// 0 takes a free one.
        port: u16,
    },
    /// A unix socket, which is made.
    Unix(PathBuf),
}

impl FromStr for Forward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(':') {
            return Err(
                "begins with a colon; write *:PORT:HOST:PORT to listen at all addresses, and \
                        IPv6 in brackets: [::1]:PORT:HOST:PORT"
                    .to_owned(),
            );
        }
        let (first, rest) = element(text)?;
        if is_path(first) {
            let rest = rest.ok_or_else(|| missing(text))?;
            return Ok(Self { local: Local::Unix(first.into()), destination: destination(rest)? });
        }
        if !is_number(first) {
            let rest = rest.ok_or_else(|| format!("{first:?} is no port; write PORT:HOST:PORT"))?;
            let addresses = bind_addresses(first)?;
            let (number, rest) = element(rest)?;
            let port = port(number).map_err(|error| {
                format!("{error}; after the address {first} comes PORT:HOST:PORT")
            })?;
            let rest = rest.ok_or_else(|| missing(text))?;
            return Ok(Self {
                local: Local::Tcp { addresses, port },
                destination: destination(rest)?,
            });
        }
        let port = port(first)?;
        let local = Local::Tcp { addresses: vec![Ipv4Addr::LOCALHOST.into()], port };
        let destination = match rest {
            Some(rest) => destination(rest)?,
            None if port == 0 => {
                return Err("port 0 is any free one; say to what: 0:localhost:PORT".to_owned());
            }
            None => Destination::Tcp { host: "localhost".to_owned(), port },
        };
        Ok(Self { local, destination })
    }
}

impl fmt::Display for Local {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { addresses, port } => {
                let shown: Vec<String> = addresses
                    .iter()
                    .map(|address| SocketAddr::from((*address, *port)).to_string())
                    .collect();
                formatter.write_str(&shown.join(", "))
            }
            Self::Unix(path) => write!(formatter, "{}", path.display()),
        }
    }
}

/// What stands before the first colon, without its brackets, and what stands after it.
fn element(text: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(inside) = text.strip_prefix('[') {
        let (address, rest) =
            inside.split_once(']').ok_or_else(|| format!("a bracket is not closed in {text:?}"))?;
        if address.parse::<Ipv6Addr>().is_err() {
            return Err(format!("[{address}] is no IPv6 address; only those stand in brackets"));
        }
        return match rest.strip_prefix(':') {
            Some(rest) => Ok((address, Some(rest))),
            None if rest.is_empty() => Ok((address, None)),
            None => Err(format!("after [{address}] comes a colon")),
        };
    }
    match text.split_once(':') {
        Some((first, rest)) => Ok((first, Some(rest))),
        None => Ok((text, None)),
    }
}

fn destination(text: &str) -> Result<Destination, String> {
    if text.starts_with('/') {
        return Ok(Destination::Unix { path: text.as_bytes().to_vec().into() });
    }
    if text.is_empty() {
        return Err(
            "says nothing of where to forward to; write HOST:PORT after the colon".to_owned()
        );
    }
    let (host, number) = element(text)?;
    let Some(number) = number else {
        return Err(match is_number(host) {
            true => format!("the host is missing before {host}; write localhost:{host}"),
            false => format!("the port of {host:?} is missing; write {text}:PORT"),
        });
    };
    if host.is_empty() {
        return Err(format!(
            "the host is missing before {text:?}; write HOST:PORT, and IPv6 in \
                            brackets"
        ));
    }
    match port(number)? {
        0 => Err(format!("port 0 of {host} cannot be connected to")),
        port => Ok(Destination::Tcp { host: host.to_owned(), port }),
    }
}

fn bind_addresses(text: &str) -> Result<Vec<IpAddr>, String> {
    match text {
        "localhost" => Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
        "*" => Ok(vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]),
        _ => Ok(vec![text.parse().map_err(|_| {
            format!(
                "{text:?} is nothing to listen at; write an address of this computer, localhost, * \
                 or a PORT, and a ./path with a slash for a socket"
            )
        })?]),
    }
}

fn port(text: &str) -> Result<u16, String> {
    if is_number(text) {
        return text.parse().map_err(|_| format!("{text} is no port; they end at 65535"));
    }
    match text.contains(':') {
        true => Err(format!("{text:?} is no port; write IPv6 in brackets: [::1]:80")),
        false => Err(format!("{text:?} is no port")),
    }
}

fn missing(text: &str) -> String {
    format!(
        "says nothing of where to forward to; write {text}:HOST:PORT, or {text}:/path of a socket"
    )
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_path(text: &str) -> bool {
    text.contains('/') || text.ends_with(".sock")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How each is understood: `LOCAL -> DESTINATION`.
    #[test]
    fn forwards_are_understood() {
        for (text, understood) in [
            ("8080", "127.0.0.1:8080 -> localhost:8080"),
            ("8080:localhost:80", "127.0.0.1:8080 -> localhost:80"),
            ("0:db.internal:5432", "127.0.0.1:0 -> db.internal:5432"),
            ("8080:[fd00::7]:80", "127.0.0.1:8080 -> [fd00::7]:80"),
            ("[::1]:8080:localhost:80", "[::1]:8080 -> localhost:80"),
            ("[::1]:8080:[::1]:80", "[::1]:8080 -> [::1]:80"),
            ("127.0.0.2:8080:10.0.0.1:80", "127.0.0.2:8080 -> 10.0.0.1:80"),
            ("localhost:8080:localhost:80", "127.0.0.1:8080, [::1]:8080 -> localhost:80"),
            ("*:8080:localhost:80", "0.0.0.0:8080, [::]:8080 -> localhost:80"),
            ("8080:/run/app.sock", "127.0.0.1:8080 -> /run/app.sock"),
            ("8080:/run/a:b", "127.0.0.1:8080 -> /run/a:b"),
            ("*:8080:/run/app.sock", "0.0.0.0:8080, [::]:8080 -> /run/app.sock"),
            ("docker.sock:/var/run/docker.sock", "docker.sock -> /var/run/docker.sock"),
            ("./local:localhost:80", "./local -> localhost:80"),
            ("/tmp/pg.sock:db:5432", "/tmp/pg.sock -> db:5432"),
        ] {
            let forward: Forward = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(format!("{} -> {}", forward.local, forward.destination), understood);
        }
    }

    /// Each error says what to write.
    #[test]
    fn slips_are_told_with_what_to_write() {
        for (text, words) in [
            ("", "is no port; write PORT:HOST:PORT"),
            ("http", "is no port; write PORT:HOST:PORT"),
            ("0", "say to what: 0:localhost:PORT"),
            ("65536", "they end at 65535"),
            ("8080:80", "write localhost:80"),
            ("8080:db", "write db:PORT"),
            ("8080:db:", "\"\" is no port"),
            ("8080:db:http", "\"http\" is no port"),
            ("8080:db:0", "cannot be connected to"),
            ("8080:db:70000", "they end at 65535"),
            ("8080:db:80:90", "write IPv6 in brackets"),
            ("8080:fd00::7:80", "write IPv6 in brackets"),
            ("8080:::1:80", "IPv6 in brackets"),
            ("8080:", "write HOST:PORT after the colon"),
            ("8080:[db]:80", "no IPv6 address"),
            ("8080:[::1:80", "not closed"),
            ("8080:[::1]80", "comes a colon"),
            ("8080:[::1]", "write [::1]:PORT"),
            ("::1:8080:localhost:80", "[::1]:PORT:HOST:PORT"),
            (":8080:localhost:80", "*:PORT:HOST:PORT"),
            ("[::1]:8080", "write [::1]:8080:HOST:PORT"),
            ("example.org:8080:localhost:80", "localhost, * or a PORT"),
            ("localhost:db:80", "after the address localhost comes PORT:HOST:PORT"),
            ("app.sock", "write app.sock:HOST:PORT"),
            ("app.sock:80", "write localhost:80"),
        ] {
            let error = text.parse::<Forward>().expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
