//! What the state keeps about automatic certificates, as entities.

use super::Entity;
use crate::State;
use imbl::OrdMap;
use jaco_model::entity::{AcmeAccount, AcmeOrder, AcmeStanding, Certificate, ChallengeToken};
use std::sync::Arc;

impl Entity for AcmeAccount {
    const TAG: u8 = 30;
    type Key = (String, String);

    fn key(&self) -> (String, String) {
        (self.directory.clone(), self.contact.clone())
    }
    fn map(state: &mut State) -> &mut OrdMap<(String, String), Arc<AcmeAccount>> {
        &mut state.acme_accounts
    }
}

impl Entity for AcmeOrder {
    const TAG: u8 = 31;
    type Key = String;

    fn key(&self) -> String {
        self.domain.clone()
    }
    fn map(state: &mut State) -> &mut OrdMap<String, Arc<AcmeOrder>> {
        &mut state.acme_orders
    }
}

impl Entity for ChallengeToken {
    const TAG: u8 = 32;
    type Key = (String, String);

    fn key(&self) -> (String, String) {
        (self.domain.clone(), self.token.clone())
    }
    fn map(state: &mut State) -> &mut OrdMap<(String, String), Arc<ChallengeToken>> {
        &mut state.challenge_tokens
    }
}

impl Entity for Certificate {
    const TAG: u8 = 33;
    type Key = String;

    fn key(&self) -> String {
        self.domain.clone()
    }
    fn map(state: &mut State) -> &mut OrdMap<String, Arc<Certificate>> {
        &mut state.certificates
    }
}

impl Entity for AcmeStanding {
    const TAG: u8 = 34;
    type Key = (String, String);

    fn key(&self) -> (String, String) {
        (self.directory.clone(), self.contact.clone())
    }
    fn map(state: &mut State) -> &mut OrdMap<(String, String), Arc<AcmeStanding>> {
        &mut state.acme_standings
    }
}
