//! Secrets and configs that routes refer to: certificates with keys, names with passwords, pages;
//! and what providers of DNS sign with.
//!
//! Only the client can read their files. It learns here which it needs, and sends their content
//! beside the documents; the server finds it there.

use super::cx::{Cx, Spot};
use super::objects::{Declared, Kind, ObjectSource};
use super::route_access;
use super::route_options::PAGE_MAX;
use crate::{Problem, Reason};
use jaco_model::ErrorCode;
use jaco_model::spec::SecretText;
use std::collections::BTreeMap;

/// What routes took and still need.
pub(super) struct RouteSecrets<'a> {
    /// Content by name, as far as it is known.
    known: &'a BTreeMap<String, SecretText>,
    configs: &'a BTreeMap<String, String>,
    /// Content that goes into the spec.
    pub(super) used: BTreeMap<String, SecretText>,
    /// What the client has to read.
    pub(super) wanted: BTreeMap<String, ObjectSource>,
    /// The same of configs.
    pub(super) wanted_configs: BTreeMap<String, ObjectSource>,
}

impl<'a> RouteSecrets<'a> {
    pub(super) fn new(
        known: &'a BTreeMap<String, SecretText>,
        configs: &'a BTreeMap<String, String>,
    ) -> RouteSecrets<'a> {
        let (used, wanted, wanted_configs) = Default::default();
        RouteSecrets { known, configs, used, wanted, wanted_configs }
    }

    /// The text of a config that is a page.
    pub(super) fn page(
        &mut self,
        cx: &mut Cx,
        objects: &Declared,
        name: &Spot<String>,
    ) -> Option<String> {
        if !objects.require(cx, Kind::Config, &name.value, &name.place) {
            return None;
        }
        let text = match objects.source_of(Kind::Config, &name.value) {
            None => {
                cx.later(&name.place, "an external config");
                return None;
            }
            Some(ObjectSource::Content(text)) => text.clone(),
            Some(source) => {
                self.wanted_configs.insert(name.value.clone(), source.clone());
                self.configs.get(&name.value).cloned()?
            }
        };
        if text.len() > PAGE_MAX {
            let message = format!("config \"{}\": a page has at most 64 KiB", name.value);
            cx.fail(&name.place, Reason::Range, message);
        }
        Some(text)
    }

    /// A PEM chain and its key, for the spec.
    pub(super) fn certificate(&mut self, cx: &mut Cx, objects: &Declared, name: &Spot<String>) {
        let Some(text) = self.content(cx, objects, name) else { return };
        if let Err(reason) = check_pem(text.reveal()) {
            let message = format!("secret \"{}\" is no certificate: {reason}", name.value);
            let problem =
                Problem::new(ErrorCode::CertInvalid, name.place.at, &name.place.path, message);
            return cx.push(problem.with("secret", &name.value).with("reason", reason));
        }
        self.used.insert(name.value.clone(), text);
    }

    /// What a provider of DNS needs, for the spec.
    pub(super) fn credentials(&mut self, cx: &mut Cx, objects: &Declared, name: &Spot<String>) {
        let Some(text) = self.content(cx, objects, name) else { return };
        if text.reveal().trim().is_empty() {
            let message = format!("secret \"{}\" is empty", name.value);
            return cx.fail(&name.place, Reason::Format, message);
        }
        self.used.insert(name.value.clone(), text);
    }

    /// Names and hashes of a password file.
    pub(super) fn users(
        &mut self,
        cx: &mut Cx,
        objects: &Declared,
        name: &Spot<String>,
    ) -> Option<BTreeMap<String, String>> {
        let text = self.content(cx, objects, name)?;
        match route_access::password_file(text.reveal()) {
            Ok(users) => Some(users),
            Err(line) => {
                let message = format!(
                    "secret \"{}\", line {line}: expected name:hash with a bcrypt or argon2id hash",
                    name.value
                );
                cx.fail(&name.place, Reason::Format, message);
                None
            }
        }
    }

    fn content(
        &mut self,
        cx: &mut Cx,
        objects: &Declared,
        name: &Spot<String>,
    ) -> Option<SecretText> {
        if !objects.require(cx, Kind::Secret, &name.value, &name.place) {
            return None;
        }
        match objects.source_of(Kind::Secret, &name.value) {
            None => cx.later(&name.place, "an external secret"),
            Some(ObjectSource::Content(text)) => return Some(SecretText::new(text.clone())),
            Some(source) => {
                self.wanted.insert(name.value.clone(), source.clone());
            }
        }
        self.known.get(&name.value).cloned()
    }
}

/// Certificates, then one key. Whether they belong together is for the server to see.
fn check_pem(text: &str) -> Result<(), &'static str> {
    let labels: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"))
        .filter(|label| *label != "EC PARAMETERS")
        .collect();
    let keys = ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"];
    match labels.split_last() {
        None => Err("it has no PEM block; write the chain, then the key"),
        Some((key, chain)) if keys.contains(key) => {
            if chain.is_empty() {
                Err("it has no certificate before the key")
            } else if chain.iter().any(|label| *label != "CERTIFICATE") {
                Err("there is something else than certificates before the key")
            } else {
                Ok(())
            }
        }
        Some(_) => Err("the last PEM block is no unencrypted key"),
    }
}
