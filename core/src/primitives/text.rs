//! In JSON and configuration files, hashes, keys and addresses are the texts people see.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{Address, Hash, PublicKey};

macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

as_text!(Address, Hash, PublicKey);
