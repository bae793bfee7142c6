//! The platform's address: checked once, before a token is ever sent to it.

use std::net::IpAddr;

use reqwest::Url;

use super::ClientError;

/// Ends of names that exist within Fly's private networks only.
const PRIVATE_SUFFIXES: [&str; 2] = [".internal", ".flycast"];

/// Reads `http://HOST[:PORT]` or `https://HOST[:PORT]`.
pub(super) fn parse(text: &str) -> Result<Url, ClientError> {
    // Of what is refused only scheme, host and port are shown: a password may be in the rest.
    let refused =
        |shown: &str, reason: String| ClientError::BaseUrl { url: shown.to_owned(), reason };
    let url = Url::parse(text).map_err(|error| refused("…", error.to_string()))?;
    let reason = if !matches!(url.scheme(), "http" | "https") {
        return Err(refused(
            &format!("{}:…", url.scheme()),
            "it is neither http nor https".to_owned(),
        ));
    } else if !url.username().is_empty() || url.password().is_some() {
        "it holds a user or a password, but the token is given apart"
    } else if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        "something follows its host and port, but the API owns the root of its port"
    } else {
        return Ok(url);
    };
    Err(refused(&url.origin().ascii_serialization(), reason.to_owned()))
}

/// Whether the token would go in clear over a network that anybody may listen to.
pub(super) fn is_exposed(base: &Url) -> bool {
    base.scheme() == "http" && !base.host_str().is_some_and(is_private)
}

/// Refuses plain http to anywhere but this machine.
pub(super) fn check_is_closed(base: &Url) -> Result<(), ClientError> {
    let host = base.host_str().unwrap_or_default();
    let address: Result<IpAddr, _> = host.trim_start_matches('[').trim_end_matches(']').parse();
    let here = address.map_or(host == "localhost", |address| address.is_loopback());
    if base.scheme() == "https" || here {
        return Ok(());
    }
    Err(ClientError::BaseUrl {
        url: base.origin().ascii_serialization(),
        reason: "plain http is for this machine only: keys come in its answers".to_owned(),
    })
}

fn is_private(host: &str) -> bool {
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(IpAddr::V4(address)) => {
            address.is_loopback() || address.is_private() || address.is_link_local()
        }
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
        Err(_) => {
            host == "localhost" || PRIVATE_SUFFIXES.iter().any(|suffix| host.ends_with(suffix))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_text_is_exposed_outside_of_private_networks_only() {
        for (url, exposed) in [
            ("https://api.machines.dev", false),
            ("http://api.machines.dev", true),
            ("http://_api.internal:4280", false),
            ("http://localhost:8080", false),
            ("http://127.0.0.1:8080", false),
            ("http://10.1.2.3", false),
            ("http://[::1]:8080", false),
            ("http://[fdaa:0:18::3]:4280", false),
            ("http://8.8.8.8", true),
            ("http://[2001:db8::1]", true),
            ("http://internal.example.com", true),
        ] {
            assert_eq!(is_exposed(&parse(url).unwrap()), exposed, "{url}");
        }
    }

    #[test]
    fn storage_is_closed_beyond_this_machine() {
        for (url, closed) in [
            ("https://fly.storage.tigris.dev", true),
            ("http://127.0.0.1:9000", true),
            ("http://[::1]:9000", true),
            ("http://localhost:9000", true),
            ("http://10.1.2.3", false),
            ("http://localhost.example.com", false),
            ("http://127.0.0.1.example.com", false),
            ("http://storage.internal", false),
        ] {
            assert_eq!(check_is_closed(&parse(url).unwrap()).is_ok(), closed, "{url}");
        }
    }

    #[test]
    fn what_is_refused_shows_no_password() {
        for (url, shown) in [
            ("", "…"),
            ("api.machines.dev", "…"),
            ("ftp://user:hunter2@host", "ftp:…"),
            ("unix:user:hunter2", "unix:…"),
            ("https://user:hunter2@host:1", "https://host:1"),
            ("https://host/v1?token=hunter2", "https://host"),
        ] {
            let Err(ClientError::BaseUrl { url: seen, .. }) = parse(url) else { panic!("{url}") };
            assert_eq!(seen, shown);
        }
    }
}
