//! One call: a conversation with the authority from its directory to the answer.

use super::http::Conversation;
use super::{ari, certificate, pending};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, CertificateIdentifier, ChallengeStatus,
    ChallengeType, Error, ExternalAccountKey, Identifier, NewAccount, NewOrder, Order, OrderStatus,
    Problem,
};
use jaco_ingress_core::acme::{AccountRef, Answer, Call};
use jaco_model::spec::SecretText;
use std::time::Duration;

const URN: &str = "urn:ietf:params:acme:error:";
/// Rounds of a request before it waits; the client itself tries three times in each.
const NONCE_ROUNDS: u32 = 2;
/// The first wait; the next are longer.
const NONCE_WAIT: Duration = Duration::from_millis(250);

/// What an answer lacks.
fn odd(text: String) -> Error {
    Error::Other(text.into())
}

/// The last part of a problem's URN.
pub(super) fn kind(problem: &Problem) -> String {
    let urn = problem.r#type.as_deref().unwrap_or_default();
    urn.strip_prefix(URN).unwrap_or(urn).to_owned()
}

/// Repeats a request whose nonce is refused, after a few tries with waits between them.
pub(super) async fn patient<T>(
    mut request: impl AsyncFnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let mut round = 0;
    loop {
        match request().await {
            Err(Error::Api(problem)) if kind(&problem) == "badNonce" => {
                round += 1;
                if round >= NONCE_ROUNDS {
                    tokio::time::sleep(NONCE_WAIT * (1 << (round - NONCE_ROUNDS).min(4))).await;
                }
            }
            other => return other,
        }
    }
}

/// `binding` is for accounts that are made.
pub(super) async fn run(
    conversation: Conversation,
    call: Call,
    binding: Option<&ExternalAccountKey>,
) -> Result<Answer, Error> {
    let seen = conversation.clone();
    let retry_after = || seen.seen().retry_after;
    match call {
        Call::NewKey => certificate::new_key().map(Answer::Key).map_err(odd),
        Call::Clock { directory } => conversation.get(&directory).await.map(|_| Answer::Told),
        Call::RenewalInfo { directory, chain } => ari::ask(&conversation, &directory, &chain).await,
        Call::NewAccount { directory, contact } => {
            new_account(&conversation, &directory, &contact, binding).await
        }
        Call::NewOrder { account, account_url, domain, replaces, look } => {
            let account = restore(&conversation, &account).await?;
            if look {
                let found = pending::find(&conversation, &account, &account_url, &domain).await?;
                if let Some(url) = found {
                    return Ok(Answer::Order { url });
                }
            }
            new_order(&conversation, &account, domain, replaces).await
        }
        Call::Challenge { account, order, dns } => {
            let (mut order, kind) = (open(&conversation, &account, &order).await?, by(dns));
            challenge(&mut order, kind, false).await
        }
        Call::Tell { account, order, dns } => {
            let (mut order, kind) = (open(&conversation, &account, &order).await?, by(dns));
            challenge(&mut order, kind, true).await
        }
        Call::Poll { account, order } => {
            let mut order = open(&conversation, &account, &order).await?;
            match order.state().status {
                OrderStatus::Ready | OrderStatus::Processing | OrderStatus::Valid => {
                    Ok(Answer::Proven)
                }
                OrderStatus::Pending => Ok(waiting(retry_after())),
                OrderStatus::Invalid => why(&mut order).await,
            }
        }
        Call::Finalize { account, order, domain, key } => {
            let mut order = open(&conversation, &account, &order).await?;
            if order.state().status == OrderStatus::Ready {
                let request = certificate::request(&domain, &key).map_err(odd)?;
                patient(async || order.finalize_csr(&request).await).await?;
            }
            match order.state().status {
                OrderStatus::Invalid => why(&mut order).await,
                OrderStatus::Valid => {
                    let chain = patient(async || order.certificate().await).await?;
                    let chain = chain.ok_or(Error::Str("certificate"))?;
                    let checked = certificate::checked(chain, &domain, &key);
                    Ok(checked.unwrap_or_else(|detail| Answer::Invalid {
                        kind: "mismatch".to_owned(),
                        detail,
                    }))
                }
                _ => Ok(waiting(retry_after())),
            }
        }
        Call::Preflight { .. } | Call::Publish(_) | Call::Propagated(_) | Call::Unpublish(_) => {
            Err(Error::Str("authority"))
        }
    }
}

fn waiting(retry_after: Option<Duration>) -> Answer {
    Answer::Waiting { retry_after, detail: String::new() }
}

fn by(dns: bool) -> ChallengeType {
    if dns { ChallengeType::Dns01 } else { ChallengeType::Http01 }
}

async fn new_account(
    conversation: &Conversation,
    directory: &str,
    contact: &str,
    binding: Option<&ExternalAccountKey>,
) -> Result<Answer, Error> {
    let mail = format!("mailto:{contact}");
    let contacts = [mail.as_str()];
    let account = NewAccount {
        contact: if contact.is_empty() { &[] } else { &contacts },
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let create = async || {
        let builder = Account::builder_with_http(Box::new(conversation.clone()));
        builder.create(&account, directory.to_owned(), binding).await
    };
    let (account, credentials) = patient(create).await?;
    let credentials = SecretText::new(serde_json::to_string(&credentials)?);
    Ok(Answer::Account { url: account.id().to_owned(), credentials })
}

async fn restore(conversation: &Conversation, account: &AccountRef) -> Result<Account, Error> {
    let credentials: AccountCredentials = serde_json::from_str(account.credentials.reveal())?;
    let builder = Account::builder_with_http(Box::new(conversation.clone()));
    builder.from_credentials(credentials).await
}

async fn open(
    conversation: &Conversation,
    account: &AccountRef,
    order: &str,
) -> Result<Order, Error> {
    let account = restore(conversation, account).await?;
    patient(async || account.order(order.to_owned()).await).await
}

async fn new_order(
    conversation: &Conversation,
    account: &Account,
    domain: String,
    replaces: Option<String>,
) -> Result<Answer, Error> {
    let names = [Identifier::Dns(domain)];
    let id = replaces.as_deref().and_then(|id| id.split_once('.'));
    let ask = async || {
        let mut order = NewOrder::new(&names);
        if let Some((authority, serial)) = id {
            let authority_key_identifier = authority.into();
            let serial = serial.into();
            order = order.replaces(CertificateIdentifier { authority_key_identifier, serial });
        }
        account.new_order(&order).await
    };
    match patient(ask).await {
        Ok(order) => Ok(Answer::Order { url: order.url().to_owned() }),
        Err(error) => {
            // The client drops an order that does not repeat what it replaces; there it is.
            let seen = conversation.seen();
            match (seen.status, seen.location) {
                (201, Some(url)) => Ok(Answer::Order { url }),
                _ => Err(error),
            }
        }
    }
}

/// The challenge of an order's only name; with `tell` the authority may look from now on.
async fn challenge(order: &mut Order, by: ChallengeType, tell: bool) -> Result<Answer, Error> {
    if order.state().status == OrderStatus::Invalid {
        return why(order).await;
    }
    if order.state().status != OrderStatus::Pending {
        return Ok(Answer::Proven);
    }
    patient(async || match order.authorizations().next().await {
        Some(authorization) => authorization.map(|_| ()),
        None => Err(Error::Str("authorization")),
    })
    .await?;
    // It is known by now: nothing is asked.
    let mut authorizations = order.authorizations();
    let authorization = authorizations.next().await;
    let mut authorization = authorization.ok_or(Error::Str("authorization"))??;
    if authorization.status == AuthorizationStatus::Valid {
        return Ok(Answer::Proven);
    }
    let is_dns = by == ChallengeType::Dns01;
    let name = if is_dns { "DNS-01" } else { "HTTP-01" };
    let challenge = authorization.challenge(by);
    let mut challenge =
        challenge.ok_or_else(|| odd(format!("the authority offers no {name} challenge")))?;
    if !tell {
        let proof = challenge.key_authorization();
        let record = is_dns.then(|| proof.dns_value());
        let key_authorisation = proof.as_str().to_owned();
        let (url, token) = (challenge.url.clone(), challenge.token.clone());
        return Ok(Answer::Challenge { url, token, key_authorisation, record });
    }
    // A leader before may have told it already.
    if challenge.status == ChallengeStatus::Pending {
        patient(async || challenge.set_ready().await).await?;
    }
    Ok(Answer::Told)
}

/// Why an order is invalid: the order's own error, or that of its challenge.
async fn why(order: &mut Order) -> Result<Answer, Error> {
    let invalid =
        |problem: &Problem| Answer::Invalid { kind: kind(problem), detail: problem.to_string() };
    let own = order.state().error.as_ref().map(invalid);
    patient(async || order.authorizations().next().await.transpose().map(|_| ())).await?;
    let mut authorizations = order.authorizations();
    if let Some(authorization) = authorizations.next().await {
        let authorization = authorization?;
        let mut errors = authorization.challenges.iter().filter_map(|one| one.error.as_ref());
        if let Some(error) = errors.next() {
            return Ok(invalid(error));
        }
    }
    Ok(own.unwrap_or_else(|| {
        let detail = "the authority does not say why".to_owned();
        Answer::Invalid { kind: String::new(), detail }
    }))
}
