//! What an operator carries to a new node: whom to trust, and the right to join once.

use std::fmt;
use std::str::FromStr;

use jaco_kit::Seeds;

use crate::error::Error;
use crate::pki::base32;
use crate::pki::encoding::{hex, sha256};

const PREFIX: &str = "JACO1";

/// `JACO1-<digest>-<secret>`, both in lowercase base32 of 52 and 26 characters.
///
/// Displaying it gives the whole token, which is shown once and never logged; debugging it does not
/// show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// SHA-256 of the SubjectPublicKeyInfo of the cluster's root.
    pub digest: [u8; 32],
    /// Proves the right to join; the cluster keeps only its hash.
    pub secret: [u8; 16],
}

impl JoinToken {
    /// A token with a fresh secret for the cluster whose root has this `digest`.
    ///
    /// # Errors
    /// When the kernel gives no randomness.
    pub fn create(digest: [u8; 32]) -> Result<JoinToken, Error> {
        Ok(JoinToken { digest, secret: Seeds.bytes().map_err(Error::Random)? })
    }

    /// SHA-256 of the secret in hexadecimal: what the cluster stores.
    pub fn secret_hash(&self) -> String {
        hex(&sha256(&self.secret))
    }

    /// SHA-256, in hexadecimal, of a secret in the text form of a token.
    ///
    /// # Errors
    /// [`BadToken::Secret`] if the text is no secret.
    pub fn hash_of_secret(text: &str) -> Result<String, BadToken> {
        let secret: [u8; 16] = base32::decode(text).ok_or(BadToken::Secret)?;
        Ok(hex(&sha256(&secret)))
    }

    /// The secret in the text form of a token, to be sent to a verified member.
    pub fn secret_text(&self) -> String {
        base32::encode(&self.secret)
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}-{}-{}", base32::encode(&self.digest), self.secret_text())
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = hex(&self.digest);
        f.debug_struct("JoinToken").field("digest", &digest).finish_non_exhaustive()
    }
}

/// Why a text is not a join token. Never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// It does not have the three parts.
    #[error("a join token looks like JACO1-<52 characters>-<26 characters>")]
    Shape,
    /// It is of another version.
    #[error("a join token starts with JACO1; this one is of another version")]
    Version,
    /// The middle part is not a digest.
    #[error("the digest of a join token has 52 characters of a-z and 2-7; this one is damaged")]
    Digest,
    /// The last part is not a secret.
    #[error("the secret of a join token has 26 characters of a-z and 2-7; this one is damaged")]
    Secret,
}

impl FromStr for JoinToken {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<JoinToken, BadToken> {
        let mut parts = text.split('-');
        let (Some(prefix), Some(digest), Some(secret), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(BadToken::Shape);
        };
        if prefix != PREFIX {
            let is_newer = prefix.strip_prefix("JACO").is_some_and(|n| n.parse::<u32>().is_ok());
            return Err(if is_newer { BadToken::Version } else { BadToken::Shape });
        }
        Ok(JoinToken {
            digest: base32::decode(digest).ok_or(BadToken::Digest)?,
            secret: base32::decode(secret).ok_or(BadToken::Secret)?,
        })
    }
}
