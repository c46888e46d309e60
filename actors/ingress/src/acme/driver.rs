//! The thread that talks to authorities, to name servers and to providers of DNS.

use super::binding::AccountBinding;
use super::call;
use super::dns::{DnsError, Outside, Publisher, Visibility};
use super::http::{Connections, Conversation, Seen, chain, connections};
use super::lookup::Resolvers;
use super::preflight::{caa_identities, preflight};
use instant_acme::{Error, ExternalAccountKey};
use jaco_ingress_core::acme::{Answer, CaaWish, Call, CallFailure, PreflightFailure, Record};
use jaco_kit::Clock;
use jaco_kit_core::OpId;
use jaco_model::WallMs;
use jaco_model::spec::{Challenge, DnsProvider, SecretText};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// The longest conversation.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// What the driver is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Root certificates (PEM) of a private authority; `None` takes those of the host.
    pub roots: Option<PathBuf>,
    /// Whom to ask about names.
    pub resolvers: Resolvers,
    /// Providers of DNS-01 by name, each with the content of the secret that it names.
    pub providers: BTreeMap<String, (DnsProvider, Option<SecretText>)>,
    /// What new accounts are bound to, where the authority asks for it.
    pub binding: Option<AccountBinding>,
    /// Times of signatures.
    pub clock: Clock,
}

impl Config {
    /// A public authority, the host's name servers, and no providers.
    pub fn new(clock: Clock) -> Config {
        let resolvers = Resolvers::chosen(Vec::new());
        Config { roots: None, resolvers, providers: BTreeMap::new(), binding: None, clock }
    }
}

/// What calls share.
#[derive(Debug)]
struct Client {
    config: Config,
    publishers: BTreeMap<String, Result<Arc<Publisher>, DnsError>>,
}

/// A handle of the thread; it ends when the handle is dropped.
#[derive(Debug)]
pub struct AcmeDriver {
    calls: UnboundedSender<(OpId, WallMs, Call)>,
}

impl AcmeDriver {
    /// Starts the thread. `deliver` gets the outcome of each call, once, in any order.
    ///
    /// # Errors
    /// When the host has no thread or no sockets left.
    pub fn spawn(
        config: Config,
        deliver: impl Fn(OpId, Result<Answer, CallFailure>) + Send + Sync + 'static,
    ) -> std::io::Result<AcmeDriver> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (calls, mut orders) = unbounded_channel::<(OpId, WallMs, Call)>();
        let deliver = Arc::new(deliver);
        let client = Arc::new(Client::new(config));
        let serve = async move {
            while let Some((op, at, call)) = orders.recv().await {
                let (deliver, client) = (deliver.clone(), client.clone());
                tokio::task::spawn_local(async move {
                    let limited = tokio::time::timeout(CALL_LIMIT, client.answer(at, call));
                    let result = limited.await.unwrap_or_else(|_| {
                        Err(lost("there was no answer within a minute".to_owned()))
                    });
                    deliver(op, result);
                });
            }
        };
        std::thread::Builder::new().name("acme".to_owned()).spawn(move || {
            tokio::task::LocalSet::new().block_on(&runtime, serve);
        })?;
        Ok(AcmeDriver { calls })
    }

    /// Begins a call, in cluster time `at`. Its outcome is delivered.
    pub fn ask(&self, op: OpId, at: WallMs, call: Call) {
        if self.calls.send((op, at, call)).is_err() {
            tracing::error!(op = op.0, "certificate thread has ended");
        }
    }
}

fn lost(detail: String) -> CallFailure {
    CallFailure::Transport { detail, retry_after: None }
}

/// What all providers get of the node.
fn outside(config: &Config) -> Outside {
    Outside { resolvers: config.resolvers.clone(), webhook_roots: None, clock: config.clock }
}

fn undone(error: &DnsError) -> CallFailure {
    CallFailure::Provider { detail: error.to_string() }
}

impl Client {
    fn new(config: Config) -> Client {
        let outside = outside(&config);
        let publisher =
            |(name, (provider, secret)): (&String, &(DnsProvider, Option<SecretText>))| {
                let made = Publisher::new(provider, secret.as_ref(), &outside);
                if let Err(error) = &made {
                    tracing::error!(provider = name, %error, "a DNS provider cannot be used");
                }
                (name.clone(), made.map(Arc::new))
            };
        let publishers = config.providers.iter().map(publisher).collect();
        Client { config, publishers }
    }

    async fn answer(&self, at: WallMs, call: Call) -> Result<Answer, CallFailure> {
        match call {
            Call::Preflight { directory, account, domain, challenge } => {
                self.preflight(&directory, &account, &domain, &challenge).await
            }
            Call::Publish(record) => {
                let publisher = self.publisher(&record)?;
                let done = publisher.publish(&record.name, &record.value).await;
                done.map(|()| Answer::Told).map_err(|error| undone(&error))
            }
            Call::Unpublish(record) => {
                let publisher = self.publisher(&record)?;
                let done = publisher.remove(&record.name, &record.value).await;
                done.map(|()| Answer::Told).map_err(|error| undone(&error))
            }
            Call::Propagated(record) => self.propagated(&record).await,
            call => {
                let connections: Connections =
                    connections(self.config.roots.as_deref()).map_err(lost)?;
                let conversation = Conversation::new(connections, at);
                let binding = match &call {
                    Call::NewAccount { .. } => self.binding()?,
                    _ => None,
                };
                let run = call::run(conversation.clone(), call, binding.as_ref()).await;
                run.map_err(|error| failure(&error, conversation.seen()))
            }
        }
    }

    fn binding(&self) -> Result<Option<ExternalAccountKey>, CallFailure> {
        let signer = self.config.binding.as_ref().map(AccountBinding::signer);
        signer.transpose().map_err(|detail| CallFailure::Provider { detail })
    }

    fn publisher(&self, record: &Record) -> Result<Arc<Publisher>, CallFailure> {
        let name = &record.provider;
        if let Some(own) = &record.own {
            let made = Publisher::new(&own.0, own.1.as_ref(), &outside(&self.config));
            return made.map(Arc::new).map_err(|error| undone(&error));
        }
        let unknown =
            || CallFailure::Provider { detail: format!("no DNS provider is called {name}") };
        let made = self.publishers.get(name).ok_or_else(unknown)?;
        made.as_ref().map(Arc::clone).map_err(undone)
    }

    async fn propagated(&self, record: &Record) -> Result<Answer, CallFailure> {
        let publisher = self.publisher(record)?;
        Ok(match publisher.is_visible(&record.name, &record.value).await {
            Ok(Visibility::Everywhere) => Answer::Proven,
            Ok(Visibility::NotYet { detail }) => Answer::Waiting { retry_after: None, detail },
            Err(error) => Answer::Waiting { retry_after: None, detail: error.to_string() },
        })
    }

    async fn preflight(
        &self,
        directory: &str,
        account: &str,
        domain: &str,
        challenge: &Challenge,
    ) -> Result<Answer, CallFailure> {
        let identities = caa_identities(directory, self.config.roots.as_deref()).await;
        let identities = identities.map_err(lost)?;
        let wish = CaaWish {
            is_wildcard: domain.starts_with("*."),
            identities: &identities,
            account: Some(account),
            method: match challenge {
                Challenge::Http => "http-01",
                Challenge::Dns(_) => "dns-01",
            },
        };
        match preflight(&self.config.resolvers, domain, &wish).await {
            Ok(()) => Ok(Answer::Proven),
            Err(PreflightFailure { cause, detail }) if cause.is_transient() => {
                Err(CallFailure::Provider { detail })
            }
            Err(PreflightFailure { cause, detail }) => {
                Ok(Answer::Invalid { kind: cause.reason().to_owned(), detail })
            }
        }
    }
}

fn failure(error: &Error, seen: Seen) -> CallFailure {
    if let Some(authority) = seen.clock {
        return CallFailure::Clock { authority };
    }
    match error {
        Error::Api(problem) => CallFailure::Problem {
            kind: call::kind(problem),
            detail: problem.to_string(),
            status: problem.status.unwrap_or(seen.status),
            retry_after: seen.retry_after,
        },
        Error::Unsupported(what) => CallFailure::Problem {
            kind: "unsupported".to_owned(),
            detail: format!("the authority does not know {what}"),
            status: 400,
            retry_after: None,
        },
        // An answer that is no problem document, of a proxy for instance.
        other if seen.status == 429 => CallFailure::Problem {
            kind: "rateLimited".to_owned(),
            detail: chain(other),
            status: 429,
            retry_after: seen.retry_after,
        },
        other => {
            let detail = chain(other);
            let is_fault = seen.status >= 400;
            let retry_after = seen.retry_after.filter(|_| is_fault);
            CallFailure::Transport { detail, retry_after }
        }
    }
}
