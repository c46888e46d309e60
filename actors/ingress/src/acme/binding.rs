//! External account binding (RFC 8555 §7.3.4): proof that an account at the authority is that of a
//! customer whom it knows by other means.

use super::base64;
use instant_acme::ExternalAccountKey;
use jaco_model::spec::SecretText;

/// What the authority gave the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountBinding {
    /// Id of the key.
    pub key_id: String,
    /// The HMAC key, base64url; `None` when it could not be read.
    pub key: Option<SecretText>,
}

impl AccountBinding {
    /// What the client signs with.
    ///
    /// # Errors
    /// For people, without the key.
    pub(super) fn signer(&self) -> Result<ExternalAccountKey, String> {
        let id = &self.key_id;
        let absent = || format!("the key {id} of the external account binding is not there");
        let key = base64::decode(self.key.as_ref().ok_or_else(absent)?.reveal().trim());
        let broken = || format!("the key {id} of the external account binding is not base64url");
        let key = key.filter(|key| !key.is_empty()).ok_or_else(broken)?;
        Ok(ExternalAccountKey::new(id.clone(), &key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_cannot_be_used_is_told_and_not_shown() {
        let with = |key: Option<&str>| {
            let key = key.map(SecretText::new);
            AccountBinding { key_id: "kid-1".to_owned(), key }
        };
        assert!(with(Some("Zm9v-_8\n")).signer().is_ok());
        assert!(!format!("{:?}", with(Some("Zm9v-_8"))).contains("Zm9v"));
        for (key, part) in
            [(None, "is not there"), (Some(""), "base64url"), (Some("a b"), "base64url")]
        {
            let told = with(key).signer().err().unwrap();
            assert!(told.contains("kid-1") && told.contains(part), "{told}");
        }
    }
}
