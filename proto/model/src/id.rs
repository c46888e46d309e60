//! Identities as types, so that a node can never be passed where a service belongs.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps a text that the caller has checked already.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id!(
    /// A UUID made once by `cluster init`.
    ClusterId
);
text_id!(
    /// 128 random bits as 32 hex digits; never used again after the node is removed.
    NodeId
);
text_id!(
    /// A node's hostname: the human key, unique among members.
    NodeName
);
text_id!(
    /// A deployment's name; rules in [`crate::name`].
    DeploymentName
);
text_id!(
    /// A compose service's name.
    ServiceName
);
text_id!(
    /// `<deployment>-<service>-<index>`, for global services `<deployment>-<service>-<hostname>`.
    ReplicaId
);
text_id!(
    /// Who asked for a change: a token's name, `local`, `bootstrap` or `system`.
    Identity
);

/// One container ever: which life of a replica this is. Starts at 1 and only grows.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// The number of one state of a deployment's files. Starts at 1.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One generation of one replica; also the name of its container: `shop-web-0.g3`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    /// The slot this instance fills.
    pub replica: ReplicaId,
    /// Which life of the slot.
    pub generation: Generation,
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.g{}", self.replica, self.generation.0))
    }
}

/// The text is not `<replica id>.g<generation>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnInstanceId;

impl fmt::Display for NotAnInstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an instance id; expected <replica>.g<generation>")
    }
}

impl std::error::Error for NotAnInstanceId {}

impl FromStr for InstanceId {
    type Err = NotAnInstanceId;

    fn from_str(text: &str) -> Result<Self, NotAnInstanceId> {
        let (replica, generation) = text.rsplit_once(".g").ok_or(NotAnInstanceId)?;
        let generation = generation.parse().map_err(|_| NotAnInstanceId)?;
        Ok(InstanceId { replica: ReplicaId::new(replica), generation: Generation(generation) })
    }
}

/// Written as text, so that it can be a key of a JSON object.
impl Serialize for InstanceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for InstanceId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// 128 bits chosen by the client; the same id never takes effect twice. Prints as 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u128);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for RequestId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(RequestId)
    }
}

impl Serialize for RequestId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_id_survives_a_round_trip() {
        let id: InstanceId = "shop-web-0.g3".parse().unwrap();
        assert_eq!(id.replica.as_str(), "shop-web-0");
        assert_eq!(id.generation, Generation(3));
        assert_eq!(id.to_string(), "shop-web-0.g3");
    }

    #[test]
    fn a_service_name_with_a_dot_does_not_confuse_the_generation() {
        let id: InstanceId = "shop-a.g1-0.g12".parse().unwrap();
        assert_eq!(id.replica.as_str(), "shop-a.g1-0");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "shop-web-0", "shop-web-0.g", "shop-web-0.gx"] {
            assert_eq!(text.parse::<InstanceId>(), Err(NotAnInstanceId), "{text}");
        }
    }
}
