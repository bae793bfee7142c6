//! Secret keys: what the platform signs with and never shows.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A secret key of an app.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretKey {
    /// One of the names of the supported types.
    pub kind: String,
    /// The key itself.
    #[serde(with = "encoded")]
    pub value: Zeroizing<Vec<u8>>,
    /// What others may know of it; empty for keys that are shared.
    pub public_key: Vec<u8>,
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "[{} key]", self.kind)
    }
}

/// For the journal: base64.
mod encoded {
    use data_encoding::BASE64;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use zeroize::Zeroizing;

    pub(super) fn serialize<S: Serializer>(
        bytes: &Zeroizing<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(BASE64.encode(bytes)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Zeroizing<Vec<u8>>, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = BASE64.decode(text.as_bytes());
        bytes.map(Zeroizing::new).map_err(|_| D::Error::custom("a key is not base64"))
    }
}
