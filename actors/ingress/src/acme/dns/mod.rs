//! Answers to DNS-01 challenges (RFC 8555 §8.4): published, looked for, removed.
//!
//! A [`Publisher`] carries out what a [`DnsProvider`] describes. Its calls may be repeated, also by
//! another node: publishing what is there and removing what is not does nothing.

mod exec;
mod place;
mod rfc2136;
mod webhook;

use super::lookup::{self, LookupError, Resolvers};
use exec::Exec;
use hickory_proto::rr::{Name, RData, RecordType};
use jaco_kit::Clock;
use jaco_model::spec::{DnsMethod, DnsProvider, SecretText};
use rfc2136::Rfc2136;
use std::path::PathBuf;
use webhook::Webhook;

/// Seconds that others may keep a record of ours.
const TTL: u32 = 60;

/// What publishers need of the node.
#[derive(Clone, Debug)]
pub struct Outside {
    /// Whom to ask where a provider names nobody.
    pub resolvers: Resolvers,
    /// Root certificates (PEM) that webhooks are checked with; `None` takes those of the host.
    pub webhook_roots: Option<PathBuf>,
    /// Times of signatures.
    pub clock: Clock,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// The provider's settings cannot work; a repetition does not help.
    #[error("{0}")]
    Settings(String),
    /// Names could not be looked up.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The provider does not answer, or not in time.
    #[error("{0}")]
    Away(String),
    /// The provider says no.
    #[error("{0}")]
    Refused(String),
}

/// Whether a record is where the authority will look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// All authoritative servers show it.
    Everywhere,
    /// At least one does not.
    NotYet {
        /// Which, and what it says, for people.
        detail: String,
    },
}

/// The name of the record for a domain, which may be a wildcard.
pub fn challenge_name(domain: &str) -> String {
    format!("_acme-challenge.{}", domain.strip_prefix("*.").unwrap_or(domain))
}

/// One provider, ready for use.
#[derive(Debug)]
pub struct Publisher {
    method: Method,
    resolvers: Resolvers,
    follow_cname: bool,
}

#[derive(Debug)]
enum Method {
    Rfc2136(Box<Rfc2136>),
    Webhook(Box<Webhook>),
    Exec(Exec),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Present,
    Cleanup,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Action::Present => "present",
            Action::Cleanup => "cleanup",
        }
    }
}

impl Publisher {
    /// Takes a provider and the content of the secret that it names.
    ///
    /// # Errors
    /// `DnsError::Settings` when the provider or its secret cannot be used.
    pub fn new(
        provider: &DnsProvider,
        secret: Option<&SecretText>,
        outside: &Outside,
    ) -> Result<Publisher, DnsError> {
        let resolvers = match provider.resolvers.is_empty() {
            true => outside.resolvers.clone(),
            false => Resolvers::Listed(provider.resolvers.clone()),
        };
        let method = match &provider.method {
            DnsMethod::Rfc2136 { server, zone, key_name, algorithm, .. } => {
                let missing = || DnsError::Settings(format!("the key {key_name} is not there"));
                let secret = secret.ok_or_else(missing)?;
                let zone = zone.as_deref().map(lookup::name).transpose()?;
                let key = rfc2136::signer(key_name, *algorithm, secret)?;
                let server = server.clone();
                Method::Rfc2136(Box::new(Rfc2136 { server, zone, key, clock: outside.clock }))
            }
            DnsMethod::Webhook { url, .. } => {
                let roots = outside.webhook_roots.as_deref();
                Method::Webhook(Box::new(Webhook::new(url, secret, roots)?))
            }
            DnsMethod::Exec { command } => Method::Exec(Exec::new(command)?),
        };
        Ok(Publisher { method, resolvers, follow_cname: provider.follow_cname })
    }

    /// Adds a TXT record with this value, beside others of the name.
    ///
    /// # Errors
    /// When it could not be added; it may be there all the same.
    pub async fn publish(&self, name: &str, value: &str) -> Result<(), DnsError> {
        self.change(Action::Present, name, value).await
    }

    /// Removes the TXT record with this value, and no other.
    ///
    /// # Errors
    /// When it could not be removed; it may be gone all the same.
    pub async fn remove(&self, name: &str, value: &str) -> Result<(), DnsError> {
        self.change(Action::Cleanup, name, value).await
    }

    /// Asks every authoritative server of the zone, and the one that updates are sent to. Of a zone
    /// for which no servers are found the resolvers are asked instead.
    ///
    /// # Errors
    /// When a name cannot be looked up at all.
    pub async fn is_visible(&self, name: &str, value: &str) -> Result<Visibility, DnsError> {
        let name = self.place(name).await?;
        let mut servers = place::authoritative(&self.resolvers, &name).await?;
        if let Method::Rfc2136(updates) = &self.method {
            let primary = updates.server(&self.resolvers).await?;
            if !servers.contains(&primary) {
                servers.insert(0, primary);
            }
        }
        let recursive = servers.is_empty();
        if recursive {
            servers = self.resolvers.servers();
        }
        if servers.is_empty() {
            return Err(LookupError::NoServer.into());
        }
        for server in servers {
            let detail = match lookup::ask(server, &name, RecordType::TXT, recursive).await {
                Ok(answer) if answer.answers.iter().any(|one| is_text(&one.data, value)) => {
                    continue;
                }
                Ok(_) => {
                    format!("name server {server} does not show it at {}", lookup::text(&name))
                }
                Err(error) => error.to_string(),
            };
            return Ok(Visibility::NotYet { detail });
        }
        Ok(Visibility::Everywhere)
    }

    async fn change(&self, action: Action, name: &str, value: &str) -> Result<(), DnsError> {
        let name = self.place(name).await?;
        match &self.method {
            Method::Rfc2136(updates) => updates.change(action, &self.resolvers, &name, value).await,
            Method::Webhook(webhook) => webhook.call(action, &lookup::text(&name), value).await,
            Method::Exec(exec) => exec.call(action, &lookup::text(&name), value).await,
        }
    }

    /// Where the record belongs.
    async fn place(&self, name: &str) -> Result<Name, DnsError> {
        let name = lookup::name(name)?;
        match self.follow_cname {
            true => place::canonical(&self.resolvers, name).await,
            false => Ok(name),
        }
    }
}

/// Whether a record has just this text, in one piece or several.
fn is_text(data: &RData, value: &str) -> bool {
    matches!(data, RData::TXT(text) if text.txt_data.concat() == value.as_bytes())
}
