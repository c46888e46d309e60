//! One call: a conversation with the authority from its directory to the answer.

use super::certificate;
use super::http::{Conversation, Seen};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeStatus, ChallengeType, Error,
    Identifier, NewAccount, NewOrder, Order, OrderStatus, Problem,
};
use jaco_ingress_core::acme::{AccountRef, Answer, Call};
use jaco_model::spec::SecretText;

const URN: &str = "urn:ietf:params:acme:error:";

/// What an answer lacks.
fn odd(text: String) -> Error {
    Error::Other(text.into())
}

/// The last part of a problem's URN.
pub(super) fn kind(problem: &Problem) -> String {
    let urn = problem.r#type.as_deref().unwrap_or_default();
    urn.strip_prefix(URN).unwrap_or(urn).to_owned()
}

pub(super) async fn run(conversation: Conversation, call: &Call) -> Result<Answer, Error> {
    let seen = conversation.seen.clone();
    let retry_after = || seen.lock().map_or(Seen::default(), |seen| *seen).retry_after;
    match call {
        Call::NewKey => certificate::new_key().map(Answer::Key).map_err(odd),
        Call::NewAccount { directory, contact } => {
            new_account(conversation, directory, contact).await
        }
        Call::NewOrder { account, domain } => {
            let account = restore(conversation, account).await?;
            let names = [Identifier::Dns(domain.clone())];
            let order = account.new_order(&NewOrder::new(&names)).await?;
            Ok(Answer::Order { url: order.url().to_owned() })
        }
        Call::Challenge { account, order } => {
            let account = restore(conversation, account).await?;
            let mut order = account.order(order.clone()).await?;
            challenge(&mut order, false).await
        }
        Call::Tell { account, order } => {
            let account = restore(conversation, account).await?;
            let mut order = account.order(order.clone()).await?;
            challenge(&mut order, true).await
        }
        Call::Poll { account, order } => {
            let account = restore(conversation, account).await?;
            let mut order = account.order(order.clone()).await?;
            match order.state().status {
                OrderStatus::Ready | OrderStatus::Processing | OrderStatus::Valid => {
                    Ok(Answer::Proven)
                }
                OrderStatus::Pending => Ok(Answer::Waiting { retry_after: retry_after() }),
                OrderStatus::Invalid => Ok(Answer::Invalid { detail: why(&mut order).await? }),
            }
        }
        Call::Finalize { account, order, domain, key } => {
            let account = restore(conversation, account).await?;
            let mut order = account.order(order.clone()).await?;
            if order.state().status == OrderStatus::Ready {
                let request = certificate::request(domain, key).map_err(odd)?;
                order.finalize_csr(&request).await?;
            }
            match order.state().status {
                OrderStatus::Invalid => Ok(Answer::Invalid { detail: why(&mut order).await? }),
                OrderStatus::Valid => {
                    let chain = order.certificate().await?;
                    let chain = chain.ok_or(Error::Str("certificate"))?;
                    match certificate::checked(chain, domain, key) {
                        Ok(answer) => Ok(answer),
                        Err(detail) => Ok(Answer::Invalid { detail }),
                    }
                }
                _ => Ok(Answer::Waiting { retry_after: retry_after() }),
            }
        }
    }
}

async fn new_account(
    conversation: Conversation,
    directory: &str,
    contact: &str,
) -> Result<Answer, Error> {
    let mail = format!("mailto:{contact}");
    let contacts = [mail.as_str()];
    let account = NewAccount {
        contact: if contact.is_empty() { &[] } else { &contacts },
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let builder = Account::builder_with_http(Box::new(conversation));
    let (account, credentials) = builder.create(&account, directory.to_owned(), None).await?;
    let credentials = SecretText::new(serde_json::to_string(&credentials)?);
    Ok(Answer::Account { url: account.id().to_owned(), credentials })
}

async fn restore(conversation: Conversation, account: &AccountRef) -> Result<Account, Error> {
    let credentials: AccountCredentials = serde_json::from_str(account.credentials.reveal())?;
    let builder = Account::builder_with_http(Box::new(conversation));
    builder.from_credentials(credentials).await
}

/// The challenge of an order's only name; with `tell` the authority may look from now on.
async fn challenge(order: &mut Order, tell: bool) -> Result<Answer, Error> {
    if order.state().status == OrderStatus::Invalid {
        return Ok(Answer::Invalid { detail: why(order).await? });
    }
    if order.state().status != OrderStatus::Pending {
        return Ok(Answer::Proven);
    }
    let mut authorizations = order.authorizations();
    let authorization = authorizations.next().await;
    let mut authorization = authorization.ok_or(Error::Str("authorization"))??;
    if authorization.status == AuthorizationStatus::Valid {
        return Ok(Answer::Proven);
    }
    let challenge = authorization.challenge(ChallengeType::Http01);
    let mut challenge =
        challenge.ok_or_else(|| odd("the authority offers no HTTP-01 challenge".to_owned()))?;
    if !tell {
        let key_authorisation = challenge.key_authorization().as_str().to_owned();
        let (url, token) = (challenge.url.clone(), challenge.token.clone());
        return Ok(Answer::Challenge { url, token, key_authorisation });
    }
    // A leader before may have told it already.
    if challenge.status == ChallengeStatus::Pending {
        challenge.set_ready().await?;
    }
    Ok(Answer::Told)
}

/// Why an order is invalid: the order's own error, or that of its challenge.
async fn why(order: &mut Order) -> Result<String, Error> {
    let own = order.state().error.as_ref().map(ToString::to_string);
    let mut authorizations = order.authorizations();
    if let Some(authorization) = authorizations.next().await {
        let authorization = authorization?;
        let mut errors = authorization.challenges.iter().filter_map(|one| one.error.as_ref());
        if let Some(error) = errors.next() {
            return Ok(error.to_string());
        }
    }
    Ok(own.unwrap_or_else(|| "the authority does not say why".to_owned()))
}
