//! What belongs to an app beside machines, volumes and secrets, and acts on nothing here: addresses,
//! certificates, network policies, deploy tokens. They are kept so that clients which
//! need them can go on; no traffic flows through them.

pub mod address;
pub mod certificate;
pub mod policy;
pub mod token;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::address::Assignment;
use self::certificate::Certificate;
use self::policy::Policy;
use self::token::DeployToken;
use crate::world::World;
use crate::world::error::Refusal;
use crate::world::table::Row;

/// Things of one kind per app: far above any use, and a bound on what lists carry.
const THINGS_MAX: usize = 200;

/// Something of an app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Belonging {
    /// The app's name.
    pub app: String,
    /// The organization's slug.
    pub org: String,
    /// The name, unique within the app and kind.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
    /// What it is.
    pub thing: Thing,
    /// App, kind and name in one: the row's key.
    key: String,
}

/// What an app can have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thing {
    /// An address, named by itself.
    Address(Assignment),
    /// A certificate, named by its host.
    Certificate(Certificate),
    /// A network policy, named by its id.
    Policy(Policy),
    /// A deploy token, named by its id.
    Token(DeployToken),
}

/// The kinds of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// See [`Thing::Address`].
    Address,
    /// See [`Thing::Certificate`].
    Certificate,
    /// See [`Thing::Policy`].
    Policy,
    /// See [`Thing::Token`].
    Token,
}

impl Kind {
    /// What people call it.
    const fn noun(self) -> &'static str {
        match self {
            Self::Address => "ip assignment",
            Self::Certificate => "certificate",
            Self::Policy => "network policy",
            Self::Token => "token",
        }
    }
}

impl Thing {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Address(_) => Kind::Address,
            Self::Certificate(_) => Kind::Certificate,
            Self::Policy(_) => Kind::Policy,
            Self::Token(_) => Kind::Token,
        }
    }
}

impl Row for Belonging {
    fn key(&self) -> &str {
        &self.key
    }

    fn org(&self) -> &str {
        &self.org
    }

    fn group(&self) -> &str {
        &self.app
    }

    fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    fn deadline(&self) -> Option<Timestamp> {
        match &self.thing {
            Thing::Token(token) => Some(token.expires_at),
            _ => None,
        }
    }

    fn handle(&self) -> Option<String> {
        match &self.thing {
            Thing::Token(token) => Some(token.digest.clone()),
            _ => None,
        }
    }
}

fn row_key(app: &str, kind: Kind, name: &str) -> String {
    format!("{app}/{}/{name}", kind.noun())
}

impl World {
    /// Writes a thing of an app; one of that kind and name is replaced.
    ///
    /// # Errors
    /// [`Refusal::AppNotFound`], [`Refusal::LimitReached`].
    pub fn set_belonging(
        &mut self,
        now: Timestamp,
        app: &str,
        name: &str,
        thing: Thing,
    ) -> Result<Belonging, Refusal> {
        let org = self.open_app(app)?.org.clone();
        let kind = thing.kind();
        let key = row_key(app, kind, name);
        let before = self.belongings.row(&key).map(|before| before.created_at);
        if before.is_none() {
            self.check_room_for_things(app, kind, 1)?;
        }
        let updated_at = self.ids.stamp(now);
        let belonging = Belonging {
            app: app.to_owned(),
            org,
            name: name.to_owned(),
            created_at: before.unwrap_or(updated_at),
            updated_at,
            thing,
            key,
        };
        self.belongings.insert(belonging.clone());
        Ok(belonging)
    }

    /// Whether an app may have so many more things of a kind.
    pub(crate) fn check_room_for_things(
        &self,
        app: &str,
        kind: Kind,
        more: usize,
    ) -> Result<(), Refusal> {
        if self.belongings(app, kind).count() + more > THINGS_MAX {
            return Err(Refusal::LimitReached(kind.noun()));
        }
        Ok(())
    }

    /// An app's things of one kind, by name.
    pub fn belongings<'a>(&'a self, app: &str, kind: Kind) -> impl Iterator<Item = &'a Belonging> {
        self.belongings.group(app).filter(move |belonging| belonging.thing.kind() == kind)
    }

    /// One thing of an app.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn belonging(&self, app: &str, kind: Kind, name: &str) -> Result<&Belonging, Refusal> {
        let found = self.belongings.row(&row_key(app, kind, name));
        // Apps have no slashes in their names, so no other app's key reads the same.
        found.ok_or_else(|| Refusal::NotFound(kind.noun()))
    }

    /// Removes one thing of an app.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn remove_belonging(&mut self, app: &str, kind: Kind, name: &str) -> Result<(), Refusal> {
        self.open_app(app)?;
        let removed = self.belongings.remove(&row_key(app, kind, name));
        removed.map(|_| ()).ok_or_else(|| Refusal::NotFound(kind.noun()))
    }

    /// The end of a thing's time.
    pub(crate) fn belonging_due(&mut self, key: &str) {
        self.belongings.remove(key);
    }

    /// Forgets all things of an app that is gone.
    pub(crate) fn forget_belongings(&mut self, app: &str) {
        let keys: Vec<String> =
            self.belongings.group(app).map(|belonging| belonging.key.clone()).collect();
        for key in keys {
            self.belongings.remove(&key);
        }
    }
}
