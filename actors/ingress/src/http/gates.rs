//! What can stop a request of a known route before it reaches a replica.

use super::answer::Refusal;
use super::loads::Known;
use super::pipeline::{Visit, contains, text};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Request, StatusCode};
use jaco_ingress_core::Route;
use jaco_ingress_core::request::{Who, fields, redirected};
use jaco_model::spec::{RateKey, TlsMode};
use std::sync::PoisonError;

impl Visit {
    /// To HTTPS, when there is a certificate.
    pub(super) fn secure(&self, route: &Route, request: &Request<Incoming>) -> Result<(), Refusal> {
        let (spec, options) = (&route.spec, &route.spec.options);
        if self.is_tls() || spec.tls == TlsMode::Off {
            return Ok(());
        }
        if !self.shared().certificates.has(&spec.domain) {
            if options.tls_pending_refuse {
                return Err(Refusal::unavailable("tls_pending", 5));
            }
            return Ok(());
        }
        if options.https_redirect {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            let to = format!("https://{}{path}", self.host);
            return Err(Refusal::redirect(StatusCode::PERMANENT_REDIRECT, &to));
        }
        Ok(())
    }

    /// Addresses, rate, password.
    pub(super) async fn admit(
        &self,
        route: &Route,
        known: &Known,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        let options = &route.spec.options;
        if !fields::admits(&options.ip_allow, &options.ip_deny, self.client) {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "denied"));
        }
        if let Some(limit) = &options.rate_limit {
            let who = match &limit.key {
                RateKey::Ip => Who::Address(self.client),
                RateKey::Header(name) => Who::Value(text(headers, name).into()),
                RateKey::Route => Who::All,
            };
            let now = self.shared().config.clock.mono();
            let mut buckets = known.meter.buckets.lock().unwrap_or_else(PoisonError::into_inner);
            let taken = buckets.take(limit, who, now);
            drop(buckets);
            if let Err(wait) = taken {
                let secs = wait.as_secs() + 1;
                let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited");
                return Err(refusal.with(RETRY_AFTER, secs.into()));
            }
        }
        if let Some(auth) = &options.basic_auth
            && !self.shared().passwords.pass(auth, headers).await
        {
            let realm = auth.realm.replace(['"', '\\'], "");
            let mut refusal = Refusal::new(StatusCode::UNAUTHORIZED, "auth");
            let value = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
            if let Ok(value) = HeaderValue::from_str(&value) {
                refusal = refusal.with(WWW_AUTHENTICATE, value);
            }
            return Err(refusal);
        }
        Ok(())
    }

    /// Maintenance, redirect, size.
    pub(super) fn divert(
        &self,
        route: &Route,
        request: &Request<Incoming>,
        path: &str,
    ) -> Result<(), Refusal> {
        let options = &route.spec.options;
        if let Some(maintenance) = &options.maintenance
            && !contains(&maintenance.allow, self.client)
        {
            let status = StatusCode::from_u16(maintenance.status);
            let status = status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            let wait = maintenance.retry_after.std().as_secs();
            let refusal = Refusal::new(status, "maintenance").with(RETRY_AFTER, wait.into());
            return Err(match &maintenance.body {
                Some(body) => refusal.saying(body.clone()),
                None => refusal,
            });
        }
        if let Some(redirect) = &options.redirect {
            let (here, paths) = ((self.scheme(), &*self.host), (&*route.spec.path, path));
            let to = redirected(redirect, here, paths, request.uri().query());
            let status = StatusCode::from_u16(redirect.status).unwrap_or(StatusCode::FOUND);
            return Err(Refusal::redirect(status, &to));
        }
        let length = text(request.headers(), CONTENT_LENGTH.as_str()).parse::<u64>().ok();
        if options.body_limit.zip(length).is_some_and(|(limit, length)| length > limit) {
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_limit"));
        }
        Ok(())
    }
}
