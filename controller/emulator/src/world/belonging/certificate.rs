//! Certificates of hostnames. Nothing is issued and no DNS is asked: a hostname waits for its
//! configuration for ever, unless it brings a certificate of its own.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Belonging, Kind, Thing};
use crate::world::World;
use crate::world::error::Refusal;

/// Longest hostname, as in DNS.
const HOSTNAME_BYTES_MAX: usize = 253;
/// Longest label of one.
const LABEL_BYTES_MAX: usize = 63;

/// What is known of a hostname.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The platform was asked to get one.
    pub acme: bool,
    /// One was brought.
    pub custom: bool,
}

impl World {
    /// Asks for a hostname's certificate, or takes one.
    ///
    /// # Errors
    /// [`Refusal::Unprocessable`] for what is no hostname, or is asked for twice.
    pub fn add_certificate(
        &mut self,
        now: Timestamp,
        app: &str,
        hostname: &str,
        custom: bool,
    ) -> Result<Belonging, Refusal> {
        self.open_app(app)?;
        let hostname = spelled(hostname);
        if !is_hostname(&hostname) {
            return Err(Refusal::Unprocessable("Hostname is invalid".to_owned()));
        }
        let mut certificate = match self.belonging(app, Kind::Certificate, &hostname) {
            Ok(Belonging { thing: Thing::Certificate(known), .. }) => *known,
            _ => Certificate::default(),
        };
        if !custom && certificate.acme {
            let text = "Hostname already exists on this app".to_owned();
            return Err(Refusal::Unprocessable(text));
        }
        certificate.acme |= !custom;
        certificate.custom |= custom;
        self.set_belonging(now, app, &hostname, Thing::Certificate(certificate))
    }

    /// A hostname of an app; how it is spelled does not matter.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn certificate(&self, app: &str, hostname: &str) -> Result<&Belonging, Refusal> {
        self.belonging(app, Kind::Certificate, &spelled(hostname))
    }

    /// Removes a hostname with all that it has.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn remove_certificate(&mut self, app: &str, hostname: &str) -> Result<(), Refusal> {
        self.remove_belonging(app, Kind::Certificate, &spelled(hostname))
    }

    /// Takes the platform's or the brought certificate from a hostname; what is left of it. A
    /// hostname without either goes.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] if it has none of that kind.
    pub fn drop_certificate(
        &mut self,
        now: Timestamp,
        (app, hostname): (&str, &str),
        custom: bool,
    ) -> Result<Belonging, Refusal> {
        let missing = Refusal::NotFound("certificate");
        let hostname = spelled(hostname);
        let known = self.certificate(app, &hostname)?.clone();
        let Thing::Certificate(mut certificate) = known.thing else { return Err(missing) };
        let wanted = if custom { &mut certificate.custom } else { &mut certificate.acme };
        if !std::mem::take(wanted) {
            return Err(missing);
        }
        if certificate == Certificate::default() {
            self.remove_certificate(app, &hostname)?;
            return Ok(Belonging { thing: Thing::Certificate(certificate), ..known });
        }
        self.set_belonging(now, app, &hostname, Thing::Certificate(certificate))
    }
}

/// The one spelling under which a hostname is kept: case means nothing in DNS.
fn spelled(hostname: &str) -> String {
    hostname.trim().to_ascii_lowercase()
}

fn is_hostname(text: &str) -> bool {
    let text = text.strip_prefix("*.").unwrap_or(text);
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= HOSTNAME_BYTES_MAX && text.contains('.') && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::testing::{at, world};

    #[test]
    fn a_hostname_has_what_it_was_given() {
        let mut world = world(false);
        for bad in ["", "one", "a..b", "-a.b", "a.b/c", "ü.de"] {
            let refused = world.add_certificate(at(0), "app", bad, false);
            assert!(matches!(refused, Err(Refusal::Unprocessable(_))), "{bad}");
        }
        world.add_certificate(at(0), "app", "Web.example.com", false).expect("added");
        assert!(world.add_certificate(at(0), "app", "web.example.com", false).is_err());
        let both = world.add_certificate(at(0), "app", "web.example.com", true).expect("added");
        assert_eq!(both.thing, Thing::Certificate(Certificate { acme: true, custom: true }));
        let target = ("app", "WEB.example.com");
        assert_eq!(world.certificate("app", target.1), Ok(&both));
        let left = world.drop_certificate(at(0), target, true).expect("dropped");
        assert_eq!(left.thing, Thing::Certificate(Certificate { acme: true, custom: false }));
        assert!(world.drop_certificate(at(0), target, true).is_err());
        world.drop_certificate(at(0), target, false).expect("dropped");
        world.add_certificate(at(0), "app", target.1, false).expect("added");
        world.remove_certificate("app", target.1).expect("removed");
        assert_eq!(world.belongings("app", Kind::Certificate).count(), 0);
    }
}
